//! Lets itself be greeted by a server that has the SPIFFE ID on the command line, and nobody else.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::sync::Arc;

use anyhow::ensure;
use rustls::pki_types::ServerName;
use spiffe_rustls::{authorizer, mtls_client};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let only = authorizer::exact([mutual_tls::wanted_peer()?])?;
    let config = mtls_client(mutual_tls::identity().await?)
        .authorize(only)
        .build()?;
    let stream = TcpStream::connect(mutual_tls::ADDRESS).await?;
    // TLS wants a name; what counts is the SPIFFE ID.
    let name = ServerName::try_from("server")?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let server = mutual_tls::peer(stream.get_ref().1.peer_certificates())?;
    let mut greeting = String::new();
    stream.read_to_string(&mut greeting).await?;
    ensure!(!greeting.is_empty(), "{server} said nothing");
    println!("{server} says: {}", greeting.trim_end());
    Ok(())
}
