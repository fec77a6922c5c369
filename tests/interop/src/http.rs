use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Asks once, on a connection of its own: the body of a 200, or what else came.
///
/// # Errors
/// Anything but a whole answer with status 200, in words.
pub fn ask(address: SocketAddr, patience: Duration) -> Result<String, String> {
    let exchange = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: server\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer: std::io::Result<String> = exchange();
    let answer = answer.map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no whole answer")?;
    if head.starts_with("HTTP/1.1 200 ") {
        return Ok(body.to_owned());
    }
    Err(format!("{} {body}", head.lines().next().unwrap_or_default()))
}

/// A service that tells each caller what the Envoy before it says of who calls. Ends with the process.
pub fn tell_who_calls(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(&stream));
        }
    });
}

fn answer(stream: &TcpStream) -> Option<()> {
    let mut caller = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line.ok()?;
        if let Some(value) = line.strip_prefix("x-forwarded-client-cert: ") {
            value.clone_into(&mut caller);
        }
        if line.is_empty() {
            let length = caller.len();
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
            let mut stream = stream;
            return stream.write_all([head, caller].concat().as_bytes()).ok();
        }
    }
    None
}
