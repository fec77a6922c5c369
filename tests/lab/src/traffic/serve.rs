//! A small server. A line is answered with a line, an HTTP request with a page, `STREAM` turns the connection into an
//! echo, and a datagram comes back with the server's name before it.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Longest line that is read, bytes.
const LINE: u64 = 4096;
/// Connections served at once.
const CONNECTIONS: usize = 256;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_mins(5);

/// What to serve.
#[derive(Debug, Clone, Default)]
pub struct ServeOptions {
    /// Stands in every answer.
    pub name: String,
    /// TCP ports.
    pub tcp: Vec<u16>,
    /// UDP ports.
    pub udp: Vec<u16>,
}

/// Serves IPv4 and IPv6 until an error.
pub async fn serve(options: &ServeOptions) -> io::Result<()> {
    let name: Arc<str> = options.name.as_str().into();
    let mut tasks = JoinSet::new();
    for port in &options.tcp {
        let listener = TcpListener::bind(any(*port)).await?;
        tasks.spawn(serve_tcp(listener, Arc::clone(&name)));
    }
    for port in &options.udp {
        let socket = UdpSocket::bind(any(*port)).await?;
        tasks.spawn(serve_udp(socket, Arc::clone(&name)));
    }
    match tasks.join_next().await {
        Some(ended) => ended.map_err(io::Error::other)?,
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "nothing to serve: give --tcp or --udp",
        )),
    }
}

/// Linux takes IPv4 connections on it too.
fn any(port: u16) -> SocketAddr {
    (Ipv6Addr::UNSPECIFIED, port).into()
}

async fn serve_tcp(listener: TcpListener, name: Arc<str>) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = Arc::clone(&room)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (connection, _) = listener.accept().await?;
        let name = Arc::clone(&name);
        tokio::spawn(async move {
            // The other side went away: its business.
            let _ = talk(connection, &name).await;
            drop(permit);
        });
    }
}

async fn talk(mut connection: TcpStream, name: &str) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let (reader, mut writer) = connection.split();
    let mut reader = BufReader::new(reader);
    while let Some(line) = next_line(&mut reader).await? {
        if line == "STREAM" {
            tokio::io::copy_buf(&mut reader, &mut writer).await?;
            return Ok(());
        }
        if let Some(path) = line.strip_prefix("GET ") {
            let body = format!("{name}: {}\n", path.split(' ').next().unwrap_or_default());
            let head = format!(
                "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            // The request's header ends with an empty line; an answer before that could be lost to a reset.
            while next_line(&mut reader).await?.is_some_and(|line| !line.is_empty()) {}
            writer.write_all((head + &body).as_bytes()).await?;
            return writer.shutdown().await;
        }
        writer.write_all(format!("{name}: {line}\n").as_bytes()).await?;
    }
    Ok(())
}

/// A line without its end; `None` at the end of the connection, or when it is silent for too long.
async fn next_line<R: AsyncRead + Unpin>(reader: &mut BufReader<R>) -> io::Result<Option<String>> {
    let mut line = String::new();
    let mut bounded = reader.take(LINE);
    match timeout(IDLE, bounded.read_line(&mut line)).await {
        Ok(Ok(0)) | Err(_) => Ok(None),
        Ok(Ok(_)) => Ok(Some(line.trim_end().to_owned())),
        Ok(Err(error)) => Err(error),
    }
}

async fn serve_udp(socket: UdpSocket, name: Arc<str>) -> io::Result<()> {
    let mut buffer = vec![0_u8; 65_536];
    loop {
        // An ICMP error of an earlier answer ends up here; it concerns nobody else.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let answer = [name.as_bytes(), b": ", buffer.get(..length).unwrap_or_default()].concat();
        let _ = socket.send_to(&answer, from).await;
    }
}
