//! Carries records between two rustls connections without a socket.

use std::io::Cursor;
use std::sync::Arc;

use rustls::pki_types::{DnsName, ServerName};
use rustls::{ClientConfig, ClientConnection, ConnectionCommon, Error, ServerConfig, ServerConnection};

pub(crate) type Outcome = Result<(ClientConnection, ServerConnection), Box<Refused>>;

/// What each side said to a failed handshake.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) client: Option<Error>,
    pub(crate) server: Option<Error>,
}

/// Runs a handshake until both are done and silent, or one of them fails and the other has heard of it.
pub(crate) fn handshake(client: ClientConfig, server: ServerConfig) -> Outcome {
    handshake_with("signet.invalid".try_into().unwrap(), client, server)
}

/// The same with a server's name.
pub(crate) fn handshake_with(name: DnsName<'static>, client: ClientConfig, server: ServerConfig) -> Outcome {
    let name = ServerName::DnsName(name);
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let mut refused = Refused {
        client: None,
        server: None,
    };
    for _ in 0..10 {
        refused.server = refused.server.or(carry(&mut client, &mut server).err());
        refused.client = refused.client.or(carry(&mut server, &mut client).err());
    }
    if refused.client.is_some() || refused.server.is_some() {
        return Err(Box::new(refused));
    }
    assert!(
        !client.is_handshaking() && !server.is_handshaking(),
        "the handshake stalled"
    );
    Ok((client, server))
}

fn carry<A, B>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) -> Result<(), Error> {
    let mut records = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut records).unwrap();
    }
    let mut records = Cursor::new(records);
    while usize::try_from(records.position()).unwrap() < records.get_ref().len() {
        to.read_tls(&mut records).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}
