use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use rustls::CommonState;
use rustls::pki_types::ServerName;
use spiffe::X509Source;
use spiffe_rustls::{authorizer, mtls_client, mtls_server};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::event;
use crate::peer::Certificate;

pub(crate) async fn serve(source: X509Source, port: u16, peer_id: &str) -> anyhow::Result<()> {
    let config = mtls_server(source)
        .authorize(authorizer::exact([peer_id])?)
        .build()?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    event(&format!("listening {}", listener.local_addr()?))?;
    loop {
        let (stream, _) = listener.accept().await?;
        if let Err(error) = answer(&acceptor, stream).await {
            event(&format!("refused {error:#}"))?;
        }
    }
}

/// Reads a line, and writes one that says whom it came from.
async fn answer(acceptor: &TlsAcceptor, stream: TcpStream) -> anyhow::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let peer = peer(stream.get_ref().1)?;
    let mut line = String::new();
    BufReader::new(&mut stream).read_line(&mut line).await?;
    event(&format!("peer {} {}", peer.id, peer.serial))?;
    stream
        .write_all(format!("hello {}\n", peer.id).as_bytes())
        .await?;
    Ok(stream.shutdown().await?)
}

pub(crate) async fn dial(source: X509Source, addr: SocketAddr, peer_id: &str) -> anyhow::Result<()> {
    let config = mtls_client(source)
        .authorize(authorizer::exact([peer_id])?)
        .build()?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::IpAddress(addr.ip().into());
    let mut stream = connector.connect(name, stream).await?;
    let peer = peer(stream.get_ref().1)?;
    event(&format!("peer {} {}", peer.id, peer.serial))?;
    stream.write_all(b"hello\n").await?;
    let mut line = String::new();
    BufReader::new(&mut stream).read_line(&mut line).await?;
    anyhow::ensure!(!line.is_empty(), "the server closed without an answer");
    event(&format!("reply {}", line.trim_end()))
}

fn peer(connection: &CommonState) -> anyhow::Result<Certificate> {
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    Certificate::parse(leaf.context("the peer has no certificate")?)
}
