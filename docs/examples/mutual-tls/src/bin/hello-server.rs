//! Greets clients that have the SPIFFE ID on the command line, and nobody else.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::sync::Arc;

use spiffe_rustls::{authorizer, mtls_server};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let only = authorizer::exact([mutual_tls::wanted_peer()?])?;
    let config = mtls_server(mutual_tls::identity().await?)
        .authorize(only)
        .build()?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(mutual_tls::ADDRESS).await?;
    println!("hello-server listens on {}", mutual_tls::ADDRESS);
    loop {
        let (stream, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            if let Err(error) = greet(&acceptor, stream).await {
                println!("hello-server refused somebody: {error:#}");
            }
        });
    }
}

async fn greet(acceptor: &TlsAcceptor, stream: TcpStream) -> anyhow::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let client = mutual_tls::peer(stream.get_ref().1.peer_certificates())?;
    stream.write_all(format!("hello {client}\n").as_bytes()).await?;
    Ok(stream.shutdown().await?)
}
