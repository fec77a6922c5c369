//! What comes in on port 4250 and should not have.

#![expect(clippy::expect_used, reason = "helpers of tests: what fails here is the test")]

mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use signet_agent::sessions::Gate;
use signet_session::{AbortCause, Detail, Limits, MAX_FRAME, Message, Offer, encode};
use signet_spiffe::SpiffeId;
use signet_tls::{Expect, FixedBundles};
use support::liar::{Liar, begin};
use support::{Authority, PATIENCE, Setup, World, connect, hello, key, node_name, send, workload};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Short deadlines: a test waits for them to pass, not for a time of its own.
fn impatient() -> Setup {
    let limits = Limits {
        hello: Duration::from_millis(300),
        ..Limits::default()
    };
    Setup {
        limits,
        tls_deadline: Duration::from_millis(300),
        ..Setup::default()
    }
}

async fn world() -> World {
    World::new(vec![Setup::default(), Setup::default()], &[(1, 300), (2, 400)]).await
}

/// Reads until the other side has closed; how many bytes it had said.
async fn closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> usize {
    let mut said = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut said))
        .await
        .expect("is closed");
    // A reset is a way of closing.
    drop(read);
    said.len()
}

/// Whatever happened to node 1, it still proves pairs with node 2.
async fn still_works(world: &World) {
    let report = world.node(1).prove(300, 400, 2).await;
    assert_eq!(report.pair.failure, None);
    assert!(world.node(1).auth.get(&key(300, 400, 2)).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_text_is_closed_without_a_session() {
    let world = world().await;
    let mut stream = TcpStream::connect(world.node(1).address).await.expect("connects");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("sends");
    closed(&mut stream).await;
    assert_eq!(world.node(1).sessions.count(), 0);
    still_works(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_frames_end_the_session_and_nothing_else() {
    let too_long = u32::try_from(MAX_FRAME + 1).expect("fits").to_be_bytes().to_vec();
    let garbage = [&20_u32.to_be_bytes()[..], &[0xff; 20]].concat();
    let empty = 0_u32.to_be_bytes().to_vec();
    let unknown_kind = [&4_u32.to_be_bytes()[..], &[0x7a, 2, 8, 1]].concat();
    let second_hello = encode(&hello(2)).expect("encodes");
    for bad in [too_long, garbage, empty, unknown_kind, second_hello] {
        let world = world().await;
        let mut stream = world.connect_as(2, 1).await;
        send(&mut stream, &encode(&hello(2)).expect("encodes")).await;
        support::eventually("the session is up", || world.node(1).sessions.count() == 1).await;
        send(&mut stream, &bad).await;
        closed(&mut stream).await;
        support::eventually("the session is down", || world.node(1).sessions.count() == 0).await;
        still_works(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_instead_of_a_hello_is_closed() {
    let world = world().await;
    let mut stream = world.connect_as(2, 1).await;
    send(&mut stream, &[&8_u32.to_be_bytes()[..], &[0xff; 8]].concat()).await;
    closed(&mut stream).await;
    let mut stream = world.connect_as(2, 1).await;
    send(&mut stream, &encode(&Message::Ping(1)).expect("encodes")).await;
    closed(&mut stream).await;
    assert_eq!(world.node(1).sessions.count(), 0);
    still_works(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_claims_another_ones_number_is_refused() {
    let world = World::new(
        vec![Setup::default(), Setup::default(), Setup::default()],
        &[(1, 300), (2, 400)],
    )
    .await;
    let mut stream = world.connect_as(2, 1).await;
    send(&mut stream, &encode(&hello(3)).expect("encodes")).await;
    closed(&mut stream).await;
    assert_eq!(world.node(1).sessions.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_foreign_trust_domain_is_refused() {
    let world = world().await;
    let foreign = Authority::new("evil.example");
    // It has the right name in the wrong trust domain, and the right name under the wrong root.
    let twin = Authority::new("t.example");
    for authority in [&foreign, &twin] {
        let svid = authority.issue(&SpiffeId::node(&authority.domain, &node_name(2)));
        // The client side of TLS 1.3 is done before the server has judged: the refusal comes with the first read.
        if let Ok(mut stream) = connect(&world.ca, world.node(1).address, &svid).await {
            let _ = stream.write_all(&encode(&hello(2)).expect("encodes")).await;
            assert_eq!(closed(&mut stream).await, 0, "not even a hello for a stranger");
        }
    }
    assert_eq!(world.node(1).sessions.count(), 0);
    still_works(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_ca_of_the_trust_domain_s_node_of_the_same_name_is_no_node_here() {
    let world = world().await;
    let below = world.ca.below();
    let twin = below.issue(&SpiffeId::node(&below.domain, &node_name(2)));
    // Its certificate is good, its name and its number are those of a node of the view.
    if let Ok(mut stream) = connect(&world.ca, world.node(1).address, &twin).await {
        let _ = stream.write_all(&encode(&hello(2)).expect("encodes")).await;
        assert_eq!(closed(&mut stream).await, 0, "not even a hello");
    }
    assert_eq!(world.node(1).sessions.count(), 0);
    still_works(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_svid_has_expired_or_is_not_valid_yet_is_refused() {
    let world = world().await;
    let id = SpiffeId::node(&world.ca.domain, &node_name(2));
    let (now, hour) = (SystemTime::now(), Duration::from_hours(1));
    for (from, to) in [(now - 2 * hour, now - hour), (now + hour, now + 2 * hour)] {
        let svid = world.ca.issue_for(&id, from, to);
        if let Ok(mut stream) = connect(&world.ca, world.node(1).address, &svid).await {
            let _ = stream.write_all(&encode(&hello(2)).expect("encodes")).await;
            assert_eq!(closed(&mut stream).await, 0, "not even a hello for it");
        }
    }
    assert_eq!(world.node(1).sessions.count(), 0);
    still_works(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workloads_svid_and_a_node_outside_the_view_open_no_session() {
    let world = world().await;
    let stranger = SpiffeId::node(&world.ca.domain, &node_name(77));
    for id in [workload(400), stranger] {
        let svid = world.ca.issue(&id);
        if let Ok(mut stream) = connect(&world.ca, world.node(1).address, &svid).await {
            let _ = stream.write_all(&encode(&hello(2)).expect("encodes")).await;
            assert_eq!(closed(&mut stream).await, 0, "not even a hello for {id}");
        }
    }
    assert_eq!(world.node(1).sessions.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_peers_are_cut_by_deadline_and_hold_up_nobody() {
    let world = World::new(vec![impatient(), Setup::default()], &[(1, 300), (2, 400)]).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(world.node(1).address).await.expect("connects"));
    }
    // It gets through TLS, and then says nothing.
    let mut authenticated = world.connect_as(2, 1).await;
    still_works(&world).await;
    for stream in &mut silent {
        closed(stream).await;
    }
    closed(&mut authenticated).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_a_hello_are_bounded_per_address_and_places_come_back() {
    let gated = Setup {
        gate: Gate::new(100, 3),
        ..Setup::default()
    };
    let world = World::new(vec![gated, Setup::default()], &[(1, 300), (2, 400)]).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(world.node(1).address).await.expect("connects"));
    }
    // The accept queue is served in order: once this one is closed, the three have their places.
    let mut refused = TcpStream::connect(world.node(1).address).await.expect("connects");
    assert_eq!(closed(&mut refused).await, 0);
    drop(held);
    let svid = world.ca.issue(&SpiffeId::node(&world.ca.domain, &node_name(2)));
    let came_back = async {
        while connect(&world.ca, world.node(1).address, &svid).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, came_back).await.expect("a place is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_takes_the_hello_and_never_answers_a_handshake_fails_it_by_deadline() {
    // Node 2 of the view is a listener that speaks TLS and hello, and nothing more.
    let mut world = World::new(vec![Setup::default()], &[(1, 300)]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    world.cluster.nodes.push(listener.local_addr().expect("bound"));
    world.cluster.workloads.push((2, 400));
    world.push();
    let svid = world.ca.issue(&SpiffeId::node(&world.ca.domain, &node_name(2)));
    let trusted = Arc::new(FixedBundles::new(world.ca.bundles()));
    let expect = Expect::AnyNode(world.ca.domain.clone());
    let config = signet_tls::server_config(&svid, trusted, expect, signet_tls::ClientAuth::Required)
        .expect("a configuration");
    let mute = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accepts");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let mut stream = acceptor.accept(stream).await.expect("TLS");
        stream
            .write_all(&encode(&hello(2)).expect("encodes"))
            .await
            .expect("sends");
        stream.flush().await.expect("sends");
        std::future::pending::<()>().await;
    });
    let report = world.node(1).prove(300, 400, 2).await;
    assert!(report.pair.proof.is_none());
    assert!(report.pair.failure.expect("failed").contains("no proof in time"));
    mute.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_handshake_of_a_pair_is_refused_and_the_first_goes_on() {
    let world = world().await;
    let mut liar = Liar::new(&world, 2, 1).await;
    let records = begin(&world.ca, 400, 300).1;
    let first = liar.open(1, 400, 300, records.clone()).await;
    assert!(matches!(liar.hear_of(first).await, Message::Records { .. }));
    let second = liar.open(2, 400, 300, records).await;
    let answer = liar.hear_of(second).await;
    assert!(
        matches!(
            answer,
            Message::Abort {
                cause: AbortCause::Busy,
                ..
            }
        ),
        "{answer:?}"
    );
    // The first is still judged: what comes now is a fault of it, not a stray.
    liar.say(&Message::Confirm {
        route: first,
        mac: [0; 32],
    })
    .await;
    let answer = liar.hear_of(first).await;
    assert!(matches!(answer, Message::Abort { .. }), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_peers_handshake_learns_that_it_was_given_up() {
    let world = world().await;
    let mut liar = Liar::new(&world, 2, 1).await;
    let route = liar.open(1, 400, 300, begin(&world.ca, 400, 300).1).await;
    assert!(matches!(liar.hear_of(route).await, Message::Records { .. }));
    let waiting = world.node(1).prove(300, 400, 2);
    let giving_up = async {
        // Long enough for the waiter to be there; whoever comes later opens a handshake of its own, which is given up too.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut route = route;
        loop {
            liar.say(&Message::Abort {
                route,
                cause: AbortCause::NoSvid,
                detail: Detail::new("given up"),
            })
            .await;
            route = loop {
                if let Message::Open(open) = liar.hear().await {
                    break open.route;
                }
            };
        }
    };
    let report = tokio::select! {
        report = waiting => report,
        () = giving_up => unreachable!("it goes on for ever"),
    };
    let reason = report.pair.failure.expect("failed");
    assert!(reason.contains("given up"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_yields_to_a_peers_handshake_learns_that_it_was_refused() {
    let world = world().await;
    // The lower node's handshake goes first.
    let mut liar = Liar::new(&world, 1, 2).await;
    let waiting = world.node(2).prove(400, 300, 1);
    let yielding = async {
        while !matches!(liar.hear().await, Message::Open(_)) {}
        liar.open(1, 300, 400, vec![0x99; 16]).await;
    };
    let (report, ()) = tokio::join!(waiting, yielding);
    let reason = report.pair.failure.expect("failed");
    assert!(reason.contains("inner TLS handshake failed"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_control_messages_ends_the_session() {
    let world = world().await;
    let mut stream = world.connect_as(2, 1).await;
    send(&mut stream, &encode(&hello(2)).expect("encodes")).await;
    let offer = Offer {
        key_epoch: 1,
        public_key: [1; 32],
        port: 51871,
    };
    let flood = encode(&Message::Offer(offer)).expect("encodes").repeat(500);
    let _ = stream.write_all(&flood).await;
    closed(&mut stream).await;
    support::eventually("the session is down", || world.node(1).sessions.count() == 0).await;
}
