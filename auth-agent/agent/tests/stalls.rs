//! A peer that stops at any stage of a handshake, or of the session around it, holds up nothing for longer than the deadline.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: what fails here is the test"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use signet_agent::clock::now;
use signet_handshake::{Progress, Responder};
use signet_session::{AbortCause, Decoder, Limits, Message, encode};
use signet_spiffe::SpiffeId;
use signet_tls::{ClientAuth, Expect, FixedBundles, server_config};
use support::liar::{Liar, begin, party};
use support::{Authority, Setup, World, hello, node_name};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

/// Where a peer that is dialed stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// The connection stands, and nothing else.
    Connected,
    /// TLS is done; there is no hello.
    Authenticated,
    /// The session is up; no handshake is answered.
    Met,
    /// Half of the frame with the answer is there.
    HalfAFrame,
    /// The inner TLS handshake is answered, and never confirmed.
    Answered,
}

impl Stage {
    const ALL: [Self; 5] = [
        Self::Connected,
        Self::Authenticated,
        Self::Met,
        Self::HalfAFrame,
        Self::Answered,
    ];
}

async fn say(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("sends");
    stream.flush().await.expect("sends");
}

/// Plays node 2 until `stage`, and then says nothing for ever.
async fn play(listener: TcpListener, ca: &Authority, stage: Stage) {
    let (stream, _) = listener.accept().await.expect("accepts");
    if stage == Stage::Connected {
        std::future::pending::<()>().await;
    }
    let svid = ca.issue(&SpiffeId::node(&ca.domain, &node_name(2)));
    let trusted = Arc::new(FixedBundles::new(ca.bundles()));
    let expect = Expect::AnyNode(ca.domain.clone());
    let config = server_config(&svid, trusted, expect, ClientAuth::Required).expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let mut stream = acceptor.accept(stream).await.expect("TLS");
    if stage > Stage::Authenticated {
        say(&mut stream, &encode(&hello(2)).expect("encodes")).await;
    }
    if stage <= Stage::Met {
        std::future::pending::<()>().await;
    }
    let mut decoder = Decoder::default();
    loop {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.expect("reads");
        decoder.push(&bytes[..read]);
        while let Some(message) = decoder.next_message().expect("well-formed") {
            let Message::Open(open) = message else { continue };
            let accepted = Responder::accept(party(ca, 400, 300), &open.records, now()).expect("accepts");
            let Progress::More { records, .. } = accepted else {
                panic!("the initiator has more to say")
            };
            let route = open.route;
            let answer = encode(&Message::Records { route, records }).expect("encodes");
            let cut = match stage {
                Stage::HalfAFrame => answer.len() / 2,
                Stage::Connected | Stage::Authenticated | Stage::Met | Stage::Answered => answer.len(),
            };
            say(&mut stream, answer.get(..cut).expect("shorter")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stops_at_any_stage_is_given_up_by_deadline() {
    let given_up = |stage: Stage| async move {
        let impatient = Setup {
            limits: Limits {
                hello: Duration::from_millis(300),
                ..Limits::default()
            },
            tls_deadline: Duration::from_millis(300),
            ..Setup::default()
        };
        let mut world = World::new(vec![impatient], &[(1, 300)]).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        world.cluster.nodes.push(listener.local_addr().expect("bound"));
        world.cluster.workloads.push((2, 400));
        world.push();
        let report = tokio::select! {
            report = world.node(1).prove(300, 400, 2) => report,
            () = play(listener, &world.ca, stage) => panic!("plays for ever"),
        };
        assert!(report.pair.proof.is_none(), "{stage:?}");
        assert!(
            report.pair.in_flight.is_none(),
            "{stage:?}: its place is not free"
        );
        let reason = report.pair.failure.expect("failed");
        assert!(reason.contains("in time"), "{stage:?}: {reason}");
    };
    futures::future::join_all(Stage::ALL.map(given_up)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_opens_a_handshake_and_stops_at_any_stage_of_it_is_given_up_by_deadline() {
    let world = World::two(&[(1, 300), (2, 400), (2, 401)]).await;
    let mut liar = Liar::new(&world, 2, 1).await;
    // One says nothing after its hello; the other goes through all of TLS, and never confirms.
    let (_, records) = begin(&world.ca, 400, 300);
    let silent = liar.open(1, 400, 300, records).await;
    let (initiator, records) = begin(&world.ca, 401, 300);
    let unconfirmed = liar.open(2, 401, 300, records).await;
    let mut initiator = Some(initiator);
    let mut ended = Vec::new();
    while ended.len() < 2 {
        match liar.hear().await {
            Message::Records { route, records } if route == unconfirmed => {
                let state = initiator.take().expect("answered once");
                let Progress::Complete { records, .. } = state.on_records(&records, now()).expect("answered")
                else {
                    panic!("there is nothing more to come")
                };
                liar.say(&Message::Records { route, records }).await;
            }
            Message::Abort { route, cause, .. } => {
                assert_eq!(cause, AbortCause::Deadline, "{route:?}");
                ended.push(route);
            }
            Message::Hello(_)
            | Message::Ping(_)
            | Message::Pong(_)
            | Message::Open(_)
            | Message::Records { .. }
            | Message::Confirm { .. }
            | Message::Offer(_)
            | Message::Ready(_)
            | Message::Retire(_)
            | Message::LeaseAsk(_)
            | Message::LeaseGrant(_)
            | Message::LeasePart(_)
            | Message::LeaseDelta(_) => {}
        }
    }
    assert!(
        ended.contains(&silent) && ended.contains(&unconfirmed),
        "{ended:?}"
    );
    // There is room for another one of the same pair.
    let (_, records) = begin(&world.ca, 400, 300);
    let again = liar.open(3, 400, 300, records).await;
    assert!(matches!(liar.hear_of(again).await, Message::Records { .. }));
}
