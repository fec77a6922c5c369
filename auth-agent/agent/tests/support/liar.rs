//! A node with keys of its own, which says what a test wants.

use std::sync::Arc;

use signet_agent::svids::WorkloadSvid;
use signet_handshake::{Binding, Initiator, Party};
use signet_session::{Decoder, HandshakeId, Hello, Instance, Message, Open, Opener, Route, encode};
use signet_tls::FixedBundles;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::{Authority, PATIENCE, World, hello, send, workload};

/// A node with a session of its own making: it says what a test wants.
pub(crate) struct Liar {
    stream: TlsStream<TcpStream>,
    decoder: Decoder,
}

impl Liar {
    /// As node `node`, with node `to`.
    pub(crate) async fn new(world: &World, node: u32, to: u32) -> Self {
        Self::started(world, node, to, Instance([99; 16])).await
    }

    /// The same by an agent of this start.
    pub(crate) async fn started(world: &World, node: u32, to: u32, instance: Instance) -> Self {
        let stream = world.connect_as(node, to).await;
        let mut liar = Self {
            stream,
            decoder: Decoder::default(),
        };
        let Message::Hello(hello) = hello(node) else {
            panic!("a hello is one")
        };
        liar.say(&Message::Hello(Hello { instance, ..hello })).await;
        assert!(matches!(liar.hear().await, Message::Hello(_)));
        // The first word in a session is a question for leases.
        while !matches!(liar.hear().await, Message::LeaseAsk(_)) {}
        liar
    }

    pub(crate) async fn say(&mut self, message: &Message) {
        send(&mut self.stream, &encode(message).expect("encodes")).await;
    }

    pub(crate) async fn hear(&mut self) -> Message {
        loop {
            if let Some(message) = self.decoder.next_message().expect("well-formed") {
                return message;
            }
            let mut bytes = [0; 4096];
            let read = timeout(PATIENCE, self.stream.read(&mut bytes))
                .await
                .expect("in time");
            self.decoder.push(&bytes[..read.expect("reads")]);
        }
    }

    /// Opens a handshake of node `node`'s workload `initiator` with node `to`'s workload `responder`.
    pub(crate) async fn open(&mut self, id: u64, initiator: u32, responder: u32, records: Vec<u8>) -> Route {
        let route = Route {
            opener: Opener::Us,
            id: HandshakeId(id),
        };
        self.say(&Message::Open(Open {
            route,
            initiator: workload(initiator),
            responder: workload(responder),
            records,
        }))
        .await;
        route
    }

    /// What is said of a handshake that this node has opened.
    pub(crate) async fn hear_of(&mut self, route: Route) -> Message {
        loop {
            let message = self.hear().await;
            if let Message::Records { route: of, .. } | Message::Abort { route: of, .. } = &message
                && *of == route
            {
                return message;
            }
        }
    }
}

/// A workload's part in a handshake that is bound to no session.
pub(crate) fn party(ca: &Authority, own: u32, other: u32) -> Party {
    let id = workload(own);
    let svid = WorkloadSvid::new(ca.issue(&id), &id, &ca.bundles()).expect("an SVID");
    Party {
        local: svid.credentials,
        remote: workload(other),
        bundles: Arc::new(FixedBundles::new(ca.bundles())),
        binding: Binding::new([7; 32], id.clone(), id),
        limits: signet_handshake::Limits::default(),
    }
}

/// An honest handshake, and its first records.
pub(crate) fn begin(ca: &Authority, initiator: u32, responder: u32) -> (Initiator, Vec<u8>) {
    Initiator::start(party(ca, initiator, responder), signet_agent::clock::now()).expect("starts")
}
