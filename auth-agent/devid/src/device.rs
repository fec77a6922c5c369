use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use signet_tpm::{MAX_RESPONSE_BYTES, announced_size};

use crate::Address;

/// Until a socket answers: some TPMs take most of a minute to make an RSA key.
const PATIENCE: Duration = Duration::from_mins(2);

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// An open TPM.
pub(crate) struct Device(Box<dyn Stream>);

impl Device {
    pub(crate) fn open(address: &Address) -> io::Result<Self> {
        Ok(Self(match address {
            Address::Device(path) => Box::new(OpenOptions::new().read(true).write(true).open(path)?),
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, Duration::from_secs(5))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        }))
    }

    /// Sends a command and reads its answer. In one piece: the kernel's device takes and gives no halves.
    pub(crate) fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        self.0.flush()?;
        let mut answer = vec![0; MAX_RESPONSE_BYTES];
        let mut length = 0;
        while length < 10 || length < size(&answer[..length])? {
            let read = self.0.read(&mut answer[length..])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            length += read;
        }
        answer.truncate(length);
        Ok(answer)
    }
}

fn size(beginning: &[u8]) -> io::Result<usize> {
    announced_size(beginning).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
