use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a TPM takes commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A device of the kernel's: `/dev/tpmrm0`, which shares the TPM between programs.
    Device(PathBuf),
    /// A Unix socket of swtpm's (`--server type=unixio`).
    Unix(PathBuf),
    /// A TCP socket of swtpm's (`--server type=tcp`).
    Tcp(SocketAddr),
}

/// Not where a TPM may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a TPM is at the path of a device (/dev/tpmrm0), unix:<path of a socket> or tcp:<address>:<port>")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return path
                .starts_with('/')
                .then(|| Self::Unix(path.into()))
                .ok_or(AddressError);
        }
        if let Some(address) = text.strip_prefix("tcp:") {
            return address.parse().map(Self::Tcp).map_err(|_| AddressError);
        }
        text.starts_with('/')
            .then(|| Self::Device(text.into()))
            .ok_or(AddressError)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) => write!(f, "{}", path.display()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_itself_and_nothing_else_is_one() {
        for good in ["/dev/tpmrm0", "unix:/run/tpm.sock", "tcp:127.0.0.1:2321"] {
            assert_eq!(
                good.parse().map(|address: Address| address.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "",
            "tpm0",
            "unix:tpm.sock",
            "tcp:localhost:2321",
            "udp:127.0.0.1:1",
        ] {
            assert_eq!(bad.parse::<Address>(), Err(AddressError), "{bad}");
        }
    }
}
