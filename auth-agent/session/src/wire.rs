//! Between [`Message`] and the generated wire types.

mod leases;

use signet_proto::session::v1 as wire;
use signet_proto::session::v1::envelope::Message as Wire;
use signet_spiffe::{IdError, SpiffeId};

use crate::id::{HandshakeId, Instance, NodeNumber, Opener, Route};
use crate::message::{AbortCause, Detail, Hello, Message, Offer, Open};

/// A well-framed message that says something impossible. The peer's fault.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// No message, or one that this version does not know.
    #[error("message of an unknown kind")]
    UnknownKind,
    /// A field has the wrong length.
    #[error("{field} must have {want} bytes, has {got}")]
    Length {
        /// Its name.
        field: &'static str,
        /// Right length.
        want: usize,
        /// Actual length.
        got: usize,
    },
    /// A number is out of its range.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// A field that must say something is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// Not a SPIFFE ID.
    #[error("{field} is not a SPIFFE ID")]
    SpiffeId {
        /// Its name.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: IdError,
    },
}

impl TryFrom<wire::Envelope> for Message {
    type Error = WireError;

    fn try_from(envelope: wire::Envelope) -> Result<Self, WireError> {
        Ok(match envelope.message.ok_or(WireError::UnknownKind)? {
            Wire::Hello(hello) => Self::Hello(parse_hello(&hello)?),
            Wire::Ping(ping) => Self::Ping(ping.nonce),
            Wire::Pong(pong) => Self::Pong(pong.nonce),
            Wire::HandshakeOpen(open) => Self::Open(parse_open(open)?),
            Wire::HandshakeRecords(m) => Self::Records {
                route: route(m.id, m.from_responder),
                records: full("records", m.records)?,
            },
            Wire::HandshakeConfirm(m) => Self::Confirm {
                route: route(m.id, m.from_responder),
                mac: sized("mac", &m.mac)?,
            },
            Wire::HandshakeAbort(m) => Self::Abort {
                route: route(m.id, m.from_responder),
                cause: m.cause().into(),
                detail: Detail::new(&m.detail),
            },
            Wire::TransportOffer(offer) => Self::Offer(parse_offer(&offer)?),
            Wire::TransportReady(ready) => Self::Ready(ready.key_epoch),
            Wire::TransportRetire(retire) => Self::Retire(retire.key_epoch),
            Wire::LeaseAsk(ask) => Self::LeaseAsk(leases::parse_ask(&ask)?),
            Wire::LeaseTable(table) => Self::LeasePart(leases::parse_part(&table)?),
            Wire::LeaseDelta(delta) => Self::LeaseDelta(leases::parse_delta(&delta)?),
            Wire::LeaseGrant(grant) => Self::LeaseGrant(leases::parse_grant(&grant)?),
        })
    }
}

impl From<&Message> for wire::Envelope {
    fn from(message: &Message) -> Self {
        let message = match message {
            Message::Hello(hello) => Wire::Hello(wire::Hello {
                min_version: hello.min_version,
                max_version: hello.max_version,
                node_id: hello.node.get(),
                instance: hello.instance.0.to_vec(),
            }),
            Message::Ping(nonce) => Wire::Ping(wire::Ping { nonce: *nonce }),
            Message::Pong(nonce) => Wire::Pong(wire::Pong { nonce: *nonce }),
            Message::Open(open) => Wire::HandshakeOpen(wire::HandshakeOpen {
                id: open.route.id.0,
                initiator: open.initiator.as_str().to_owned(),
                responder: open.responder.as_str().to_owned(),
                records: open.records.clone(),
            }),
            Message::Records { route, records } => Wire::HandshakeRecords(wire::HandshakeRecords {
                id: route.id.0,
                from_responder: from_responder(*route),
                records: records.clone(),
            }),
            Message::Confirm { route, mac } => Wire::HandshakeConfirm(wire::HandshakeConfirm {
                id: route.id.0,
                from_responder: from_responder(*route),
                mac: mac.to_vec(),
            }),
            Message::Abort { route, cause, detail } => Wire::HandshakeAbort(wire::HandshakeAbort {
                id: route.id.0,
                from_responder: from_responder(*route),
                cause: wire::handshake_abort::Cause::from(*cause).into(),
                detail: detail.as_str().to_owned(),
            }),
            Message::Offer(offer) => Wire::TransportOffer(wire::TransportOffer {
                key_epoch: offer.key_epoch,
                public_key: offer.public_key.to_vec(),
                port: offer.port.into(),
            }),
            Message::Ready(key_epoch) => Wire::TransportReady(wire::TransportReady {
                key_epoch: *key_epoch,
            }),
            Message::Retire(key_epoch) => Wire::TransportRetire(wire::TransportRetire {
                key_epoch: *key_epoch,
            }),
            Message::LeaseAsk(ask) => Wire::LeaseAsk(leases::ask(ask)),
            Message::LeasePart(part) => Wire::LeaseTable(leases::part(part)),
            Message::LeaseDelta(delta) => Wire::LeaseDelta(leases::delta(delta)),
            Message::LeaseGrant(grant) => Wire::LeaseGrant(leases::grant(grant)),
        };
        Self {
            message: Some(message),
        }
    }
}

/// A received message of the responder is about a handshake that the receiver opened.
fn route(id: u64, from_responder: bool) -> Route {
    Route {
        opener: if from_responder { Opener::Us } else { Opener::Peer },
        id: HandshakeId(id),
    }
}

/// A message about a handshake that the peer opened is sent by its responder: us.
fn from_responder(route: Route) -> bool {
    match route.opener {
        Opener::Us => false,
        Opener::Peer => true,
    }
}

fn parse_hello(hello: &wire::Hello) -> Result<Hello, WireError> {
    if hello.min_version == 0 || hello.max_version < hello.min_version {
        return Err(WireError::Range("version"));
    }
    Ok(Hello {
        min_version: hello.min_version,
        max_version: hello.max_version,
        node: NodeNumber::new(hello.node_id).ok_or(WireError::Range("node number"))?,
        instance: Instance(sized("instance", &hello.instance)?),
    })
}

fn parse_open(open: wire::HandshakeOpen) -> Result<Open, WireError> {
    let id =
        |field, text: &str| SpiffeId::parse(text).map_err(|source| WireError::SpiffeId { field, source });
    Ok(Open {
        route: Route {
            opener: Opener::Peer,
            id: HandshakeId(open.id),
        },
        initiator: id("initiator", &open.initiator)?,
        responder: id("responder", &open.responder)?,
        records: full("records", open.records)?,
    })
}

fn parse_offer(offer: &wire::TransportOffer) -> Result<Offer, WireError> {
    let port = u16::try_from(offer.port)
        .ok()
        .filter(|port| *port != 0)
        .ok_or(WireError::Range("port"))?;
    Ok(Offer {
        key_epoch: offer.key_epoch,
        public_key: sized("public key", &offer.public_key)?,
        port,
    })
}

pub(super) fn sized<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], WireError> {
    bytes.try_into().map_err(|_| WireError::Length {
        field,
        want: N,
        got: bytes.len(),
    })
}

fn full(field: &'static str, bytes: Vec<u8>) -> Result<Vec<u8>, WireError> {
    if bytes.is_empty() {
        Err(WireError::Empty(field))
    } else {
        Ok(bytes)
    }
}

impl From<wire::handshake_abort::Cause> for AbortCause {
    fn from(cause: wire::handshake_abort::Cause) -> Self {
        match cause {
            wire::handshake_abort::Cause::Unspecified => Self::Unspecified,
            wire::handshake_abort::Cause::NoEndpoint => Self::NoEndpoint,
            wire::handshake_abort::Cause::NoSvid => Self::NoSvid,
            wire::handshake_abort::Cause::Busy => Self::Busy,
            wire::handshake_abort::Cause::Tls => Self::Tls,
            wire::handshake_abort::Cause::Binding => Self::Binding,
            wire::handshake_abort::Cause::Deadline => Self::Deadline,
            wire::handshake_abort::Cause::Yield => Self::Yield,
            wire::handshake_abort::Cause::UnknownIdentity => Self::UnknownIdentity,
        }
    }
}

impl From<AbortCause> for wire::handshake_abort::Cause {
    fn from(cause: AbortCause) -> Self {
        match cause {
            AbortCause::Unspecified => Self::Unspecified,
            AbortCause::NoEndpoint => Self::NoEndpoint,
            AbortCause::NoSvid => Self::NoSvid,
            AbortCause::Busy => Self::Busy,
            AbortCause::Tls => Self::Tls,
            AbortCause::Binding => Self::Binding,
            AbortCause::Deadline => Self::Deadline,
            AbortCause::Yield => Self::Yield,
            AbortCause::UnknownIdentity => Self::UnknownIdentity,
        }
    }
}
