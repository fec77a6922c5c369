//! The life of one session, with time as an argument.

#![expect(clippy::expect_used, reason = "helpers of tests: what fails here is the test")]

use std::time::{Duration, Instant};

use signet_session::{
    AbortCause, Detail, Established, Event, HandshakeId, HandshakeStep, Hello, Instance, Limits, LocalNode,
    Message, NodeNumber, Offer, Open, OpenError, Opener, Opening, PeerNode, Route, RouteError, SessionError,
    VERSION,
};
use signet_spiffe::SpiffeId;

fn node(number: u32) -> NodeNumber {
    NodeNumber::new(number).expect("not zero")
}

fn local(number: u32) -> LocalNode {
    let byte = u8::try_from(number).expect("small");
    LocalNode {
        node: node(number),
        instance: Instance([byte; 16]),
    }
}

fn hello(number: u32) -> Hello {
    let local = local(number);
    Hello {
        min_version: VERSION,
        max_version: VERSION,
        node: local.node,
        instance: local.instance,
    }
}

fn opening(now: Instant) -> Opening {
    Opening::new(local(1), PeerNode { node: node(2) }, Limits::default(), now).0
}

fn established(now: Instant) -> Established {
    opening(now)
        .on_message(&Message::Hello(hello(2)), now)
        .expect("opens")
}

fn open(id: u64) -> Message {
    Message::Open(Open {
        route: Route {
            opener: Opener::Peer,
            id: HandshakeId(id),
        },
        initiator: SpiffeId::parse("spiffe://t.example/a").expect("valid"),
        responder: SpiffeId::parse("spiffe://t.example/b").expect("valid"),
        records: vec![1],
    })
}

#[test]
fn hellos_of_two_nodes_open_the_session_on_both_sides() {
    let now = Instant::now();
    let (one, hello_one) = Opening::new(local(1), PeerNode { node: node(2) }, Limits::default(), now);
    let (two, hello_two) = Opening::new(local(2), PeerNode { node: node(1) }, Limits::default(), now);
    assert_eq!(one.on_message(&hello_two, now).expect("opens").peer(), node(2));
    assert_eq!(two.on_message(&hello_one, now).expect("opens").peer(), node(1));
}

#[test]
fn a_hello_for_another_node_than_the_certificates_is_refused() {
    let now = Instant::now();
    let result = opening(now).on_message(&Message::Hello(hello(3)), now);
    assert!(matches!(result, Err(OpenError::Identity { .. })));
}

#[test]
fn no_common_version_is_refused() {
    let now = Instant::now();
    let newer = Hello {
        min_version: VERSION + 1,
        max_version: VERSION + 2,
        ..hello(2)
    };
    let result = opening(now).on_message(&Message::Hello(newer), now);
    assert!(matches!(result, Err(OpenError::Version { .. })));
    let wider = Hello {
        max_version: VERSION + 2,
        ..hello(2)
    };
    assert!(opening(now).on_message(&Message::Hello(wider), now).is_ok());
}

#[test]
fn anything_before_the_hello_and_a_late_hello_are_refused() {
    let now = Instant::now();
    assert!(matches!(
        opening(now).on_message(&Message::Ping(1), now),
        Err(OpenError::NotHello)
    ));
    let opening = opening(now);
    let late = opening.deadline();
    assert!(matches!(
        opening.on_message(&Message::Hello(hello(2)), late),
        Err(OpenError::Deadline)
    ));
}

#[test]
fn a_connection_to_ourselves_is_refused() {
    let now = Instant::now();
    let mirrored = Hello {
        instance: local(1).instance,
        ..hello(2)
    };
    assert!(matches!(
        opening(now).on_message(&Message::Hello(mirrored), now),
        Err(OpenError::Loop)
    ));
}

#[test]
fn a_second_hello_ends_the_session() {
    let now = Instant::now();
    assert_eq!(
        established(now).on_message(Message::Hello(hello(2)), now),
        Err(SessionError::SecondHello)
    );
}

#[test]
fn silence_is_pinged_and_then_the_peer_is_dead() {
    let now = Instant::now();
    let limits = Limits::default();
    let mut session = established(now);
    assert_eq!(session.deadline(), now + limits.ping_after);
    assert_eq!(session.on_tick(now), Ok(None));
    assert_eq!(
        session.on_tick(now + limits.ping_after),
        Ok(Some(Message::Ping(1)))
    );
    assert_eq!(
        session.on_tick(now + limits.ping_after),
        Ok(None),
        "one ping is enough"
    );
    assert_eq!(session.deadline(), now + limits.dead_after);
    assert_eq!(
        session.on_tick(now + limits.dead_after),
        Err(SessionError::Silent)
    );
}

#[test]
fn any_message_counts_as_a_sign_of_life() {
    let now = Instant::now();
    let limits = Limits::default();
    let mut session = established(now);
    let later = (now + limits.dead_after)
        .checked_sub(Duration::from_millis(1))
        .unwrap();
    assert_eq!(session.on_message(Message::Pong(7), later), Ok(Event::Nothing));
    assert_eq!(session.on_tick(now + limits.dead_after), Ok(None));
}

#[test]
fn a_ping_is_answered_and_a_flood_of_them_ends_the_session() {
    let now = Instant::now();
    let mut session = established(now);
    assert_eq!(
        session.on_message(Message::Ping(9), now),
        Ok(Event::Reply(Message::Pong(9)))
    );
    let flooded = (0..1000).find_map(|n| session.on_message(Message::Ping(n), now).err());
    assert_eq!(flooded, Some(SessionError::Flood));
}

#[test]
fn pings_at_an_honest_pace_go_on_for_ever() {
    let mut now = Instant::now();
    let mut session = established(now);
    for nonce in 0..1000 {
        now += Limits::default().ping_refill;
        assert!(session.on_message(Message::Ping(nonce), now).is_ok());
    }
}

#[test]
fn the_peers_handshakes_are_routed_until_they_are_closed() {
    let now = Instant::now();
    let mut session = established(now);
    let route = Route {
        opener: Opener::Peer,
        id: HandshakeId(1),
    };
    assert!(matches!(session.on_message(open(1), now), Ok(Event::Opened(_))));
    let records = || Message::Records {
        route,
        records: vec![2],
    };
    let step = Event::Handshake(route, HandshakeStep::Records(vec![2]));
    assert_eq!(session.on_message(records(), now), Ok(step));
    session.close(route);
    assert_eq!(session.on_message(records(), now), Ok(Event::Nothing));
}

#[test]
fn the_same_number_of_both_openers_names_two_handshakes() {
    let now = Instant::now();
    let mut session = established(now);
    let ours = session.open().expect("has room");
    assert_eq!(
        ours,
        Route {
            opener: Opener::Us,
            id: HandshakeId(1)
        }
    );
    assert!(matches!(session.on_message(open(1), now), Ok(Event::Opened(_))));
    session.close(ours);
    let theirs = Route {
        opener: Opener::Peer,
        id: HandshakeId(1),
    };
    let confirm = Message::Confirm {
        route: theirs,
        mac: [3; 32],
    };
    let step = Event::Handshake(theirs, HandshakeStep::Confirm([3; 32]));
    assert_eq!(session.on_message(confirm, now), Ok(step));
}

#[test]
fn a_replayed_open_ends_the_session() {
    let now = Instant::now();
    let mut session = established(now);
    assert!(session.on_message(open(5), now).is_ok());
    session.close(Route {
        opener: Opener::Peer,
        id: HandshakeId(5),
    });
    assert_eq!(
        session.on_message(open(5), now),
        Err(SessionError::ReusedHandshake)
    );
    assert_eq!(
        session.on_message(open(4), now),
        Err(SessionError::ReusedHandshake)
    );
}

#[test]
fn an_abort_frees_the_route() {
    let now = Instant::now();
    let mut session = established(now);
    let route = session.open().expect("has room");
    let abort = || Message::Abort {
        route,
        cause: AbortCause::NoSvid,
        detail: Detail::new("gone"),
    };
    let step = HandshakeStep::Abort(AbortCause::NoSvid, Detail::new("gone"));
    assert_eq!(
        session.on_message(abort(), now),
        Ok(Event::Handshake(route, step))
    );
    assert_eq!(session.on_message(abort(), now), Ok(Event::Nothing));
}

#[test]
fn both_sides_handshakes_are_bounded() {
    let now = Instant::now();
    let mut session = established(now);
    let limits = Limits::default();
    for id in 1..=limits.peer_handshakes as u64 {
        assert!(matches!(session.on_message(open(id), now), Ok(Event::Opened(_))));
    }
    let refused = session.on_message(open(1000), now);
    assert!(matches!(
        refused,
        Ok(Event::Reply(Message::Abort {
            cause: AbortCause::Busy,
            ..
        }))
    ));
    for _ in 0..limits.own_handshakes {
        session.open().expect("has room");
    }
    assert_eq!(session.open(), Err(RouteError::Full(limits.own_handshakes)));
}

#[test]
fn handshakes_that_the_peer_opens_one_after_the_other_are_bounded_in_time() {
    let now = Instant::now();
    let mut session = established(now);
    let limits = Limits::default();
    let mut ids = 1..;
    let mut opened = |now| {
        let id = ids.next().expect("endless");
        let event = session.on_message(open(id), now).expect("no reason to end");
        session.close(Route {
            opener: Opener::Peer,
            id: HandshakeId(id),
        });
        let refused = matches!(
            event,
            Event::Reply(Message::Abort {
                cause: AbortCause::Busy,
                ..
            })
        );
        assert!(refused || matches!(event, Event::Opened(_)), "{event:?}");
        !refused
    };
    let admitted = (0..10_000).filter(|_| opened(now)).count();
    assert_eq!(admitted, limits.open_burst as usize);
    assert!(opened(now + limits.open_refill), "an honest peer gets on");
    assert!(!opened(now + limits.open_refill));
}

#[test]
fn ready_counts_only_for_the_current_offer() {
    let now = Instant::now();
    let mut session = established(now);
    assert_eq!(
        session.on_message(Message::Ready(1), now),
        Ok(Event::Nothing),
        "nothing was offered"
    );
    let offer = |key_epoch| Offer {
        key_epoch,
        public_key: [1; 32],
        port: 51871,
    };
    assert_eq!(session.offer(offer(1)), Message::Offer(offer(1)));
    assert_eq!(session.on_message(Message::Ready(1), now), Ok(Event::Ready(1)));
    let _ = session.offer(offer(2));
    assert_eq!(
        session.on_message(Message::Ready(1), now),
        Ok(Event::Nothing),
        "late answer"
    );
    assert_eq!(session.on_message(Message::Ready(2), now), Ok(Event::Ready(2)));
}

#[test]
fn the_peers_offers_go_forward_only() {
    let now = Instant::now();
    let mut session = established(now);
    let offer = |key_epoch| {
        Message::Offer(Offer {
            key_epoch,
            public_key: [1; 32],
            port: 51871,
        })
    };
    assert!(matches!(session.on_message(offer(7), now), Ok(Event::Offer(_))));
    assert!(
        matches!(session.on_message(offer(7), now), Ok(Event::Offer(_))),
        "again is fine"
    );
    assert_eq!(
        session.on_message(offer(6), now),
        Err(SessionError::EpochWentBack)
    );
}

#[test]
fn a_flood_of_transport_messages_ends_the_session() {
    let now = Instant::now();
    let mut session = established(now);
    let flooded = (0..10_000).find_map(|n| session.on_message(Message::Retire(n), now).err());
    assert_eq!(flooded, Some(SessionError::Flood));
}
