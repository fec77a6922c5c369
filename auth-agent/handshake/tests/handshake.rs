//! The pair handshake between honest sides and against dishonest ones.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use signet_handshake::{Credentials, HandshakeError, Initiator, Limits, Now, Party, Progress, Responder};
use signet_spiffe::{BundleSet, Revocations, SerialNumber, SpiffeId, Subject, SvidError, UnixTime};
use signet_tls::{BundleSource, ClientAuth, Expect, FixedBundles, PeerError, server_config};
use support::{Authority, Refusal, binding, id, meet, meet_over, now, party};

struct World {
    ca: Authority,
    client: SpiffeId,
    server: SpiffeId,
    client_svid: Arc<Credentials>,
    server_svid: Arc<Credentials>,
}

impl World {
    fn new() -> Self {
        let ca = Authority::new("t.example");
        let (client, server) = (
            id("spiffe://t.example/ns/a/sa/client"),
            id("spiffe://t.example/ns/a/sa/server"),
        );
        let (client_svid, server_svid) = (ca.issue(&client, 600), ca.issue(&server, 900));
        Self {
            ca,
            client,
            server,
            client_svid,
            server_svid,
        }
    }

    fn initiator(&self) -> Party {
        party(&self.ca, &self.client_svid, &self.server)
    }

    fn responder(&self) -> Party {
        party(&self.ca, &self.server_svid, &self.client)
    }
}

#[test]
fn both_sides_get_a_proof_that_ends_with_the_shorter_svid() {
    let world = World::new();
    let (initiator, responder) = meet(world.initiator(), world.responder())
        .expect("complete")
        .confirm();
    let (initiator, responder) = (initiator.expect("proof"), responder.expect("proof"));
    assert_eq!(
        (initiator.local(), initiator.remote()),
        (&world.client, &world.server)
    );
    assert_eq!(
        (responder.local(), responder.remote()),
        (&world.server, &world.client)
    );
    assert_eq!(initiator.not_after(), world.client_svid.not_after());
    assert_eq!(responder.not_after(), world.client_svid.not_after());
}

#[test]
fn an_identity_may_prove_itself_to_itself_on_another_node() {
    let world = World::new();
    let twin = party(&world.ca, &world.server_svid, &world.server);
    let other = party(&world.ca, &world.server_svid, &world.server);
    let (initiator, responder) = meet(twin, other).expect("complete").confirm();
    assert!(initiator.is_ok() && responder.is_ok());
}

#[test]
fn a_responder_with_another_identity_is_refused() {
    let world = World::new();
    let impostor = world.ca.issue(&id("spiffe://t.example/ns/a/sa/impostor"), 600);
    // It answers to the wanted name, but its certificate says who it is.
    let hello = Initiator::start(world.initiator(), now()).expect("starts").1;
    let refused = Responder::accept(party(&world.ca, &impostor, &world.client), &hello, now());
    assert!(
        matches!(refused, Err(HandshakeError::WrongServerName)),
        "{refused:?}"
    );
    // The other way round: the initiator wants somebody else than who answers.
    let misled = party(&world.ca, &world.client_svid, impostor.id());
    let answer = party(&world.ca, &world.server_svid, &world.client);
    assert!(matches!(
        meet(misled, answer),
        Err(Refusal::Responder(HandshakeError::WrongServerName))
    ));
}

#[test]
fn a_responder_that_answers_to_any_name_is_refused_by_the_initiator() {
    let world = World::new();
    let impostor = world.ca.issue(&id("spiffe://t.example/ns/a/sa/impostor"), 600);
    let anyone = Expect::AnyInTrustDomain(world.client.trust_domain().clone());
    let config = server_config(
        impostor.key_pair(),
        world.ca.bundles(),
        anyone,
        ClientAuth::Required,
    );
    let mut server =
        rustls::ServerConnection::new(Arc::new(config.expect("a configuration"))).expect("a server");
    let (initiator, hello) = Initiator::start(world.initiator(), now()).expect("starts");
    server.read_tls(&mut hello.as_slice()).expect("reads");
    server.process_new_packets().expect("takes any name");
    let mut flight = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut flight).expect("writes");
    }
    assert!(matches!(
        initiator.on_records(&flight, now()),
        Err(HandshakeError::PeerSvid(_))
    ));
}

#[test]
fn an_initiator_with_another_identity_than_it_claimed_is_refused() {
    let world = World::new();
    let impostor = world.ca.issue(&id("spiffe://t.example/ns/a/sa/impostor"), 600);
    let result = meet(party(&world.ca, &impostor, &world.server), world.responder());
    assert!(
        matches!(result, Err(Refusal::Responder(HandshakeError::PeerSvid(_)))),
        "{:?}",
        result.err()
    );
}

#[test]
fn a_victims_certificate_appended_to_the_attackers_leaf_proves_nothing() {
    let world = World::new();
    let mut pair = world.ca.leaf(
        &id("spiffe://t.example/ns/a/sa/impostor"),
        SystemTime::now() + Duration::from_mins(10),
    );
    pair.chain.push(world.client_svid.key_pair().chain[0].clone());
    let attacker = Arc::new(world.ca.credentials(pair, UnixTime::now()));
    let result = meet(party(&world.ca, &attacker, &world.server), world.responder());
    assert!(
        matches!(result, Err(Refusal::Responder(HandshakeError::PeerSvid(_)))),
        "{:?}",
        result.err()
    );
}

#[test]
fn a_victims_certificate_with_the_attackers_key_proves_nothing() {
    let world = World::new();
    let mut pair = world
        .ca
        .leaf(&world.client, SystemTime::now() + Duration::from_mins(10));
    pair.chain = world.client_svid.key_pair().chain.clone();
    let attacker = Arc::new(world.ca.credentials(pair, UnixTime::now()));
    let result = meet(party(&world.ca, &attacker, &world.server), world.responder());
    assert!(result.is_err());
}

#[test]
fn a_foreign_trust_domain_is_refused_on_either_side() {
    let world = World::new();
    let foreign = Authority::new("evil.example");
    let stranger = foreign.issue(&id("spiffe://evil.example/ns/a/sa/client"), 600);
    let result = meet(party(&foreign, &stranger, &world.server), world.responder());
    match result {
        Err(Refusal::Initiator(error) | Refusal::Responder(error)) => {
            assert!(matches!(error, HandshakeError::PeerSvid(_)), "{error:?}");
        }
        Ok(_) => panic!("a stranger was believed"),
    }
    // The same trust domain's name under another root.
    let twin = Authority::new("t.example");
    let forged = twin.issue(&world.client, 600);
    let mut credulous = party(&twin, &forged, &world.server);
    credulous.bundles = world.ca.bundles();
    let result = meet(credulous, world.responder());
    assert!(
        matches!(result, Err(Refusal::Responder(HandshakeError::PeerSvid(_)))),
        "{:?}",
        result.err()
    );
}

#[test]
fn an_expired_svid_is_refused_by_the_peer_and_not_even_shown_by_its_owner() {
    let world = World::new();
    let expired = world.ca.issue_expired(&world.client);
    let started = Initiator::start(party(&world.ca, &expired, &world.server), now());
    assert!(matches!(started, Err(HandshakeError::LocalExpired(_))));
    // An attacker does not look at its own clock.
    let past = Now {
        unix: support::an_hour_ago(),
        ..now()
    };
    let (attacker, hello) =
        Initiator::start(party(&world.ca, &expired, &world.server), past).expect("starts");
    let Ok(Progress::More {
        state: responder,
        records,
    }) = Responder::accept(world.responder(), &hello, now())
    else {
        panic!("no answer")
    };
    let Ok(Progress::Complete { records, .. }) = attacker.on_records(&records, past) else {
        panic!("incomplete")
    };
    assert!(matches!(
        responder.on_records(&records, now()),
        Err(HandshakeError::Tls(_))
    ));
}

#[test]
fn a_handshake_spliced_between_two_sessions_is_refused_by_both() {
    let world = World::new();
    let mut elsewhere = world.responder();
    elsewhere.binding = binding(8);
    let (initiator, responder) = meet(world.initiator(), elsewhere).expect("complete").confirm();
    assert!(matches!(initiator, Err(HandshakeError::Binding)));
    assert!(matches!(responder, Err(HandshakeError::Binding)));
}

#[test]
fn a_handshake_relayed_by_a_third_node_is_refused_by_both() {
    let world = World::new();
    let mut relayed = world.responder();
    relayed.binding = signet_handshake::Binding::new(
        [7; 32],
        id("spiffe://t.example/signet/node/relay"),
        id("spiffe://t.example/signet/node/b"),
    );
    let (initiator, responder) = meet(world.initiator(), relayed).expect("complete").confirm();
    assert!(matches!(initiator, Err(HandshakeError::Binding)));
    assert!(matches!(responder, Err(HandshakeError::Binding)));
}

#[test]
fn a_confirmation_sent_back_to_its_author_is_refused() {
    let world = World::new();
    let meeting = meet(world.initiator(), world.responder()).expect("complete");
    let reflected = meeting.initiator.on_confirm(&meeting.initiator_mac, now());
    assert!(matches!(reflected, Err(HandshakeError::Binding)));
    let reflected = meeting.responder.on_confirm(&meeting.responder_mac, now());
    assert!(matches!(reflected, Err(HandshakeError::Binding)));
}

#[test]
fn a_confirmation_of_an_earlier_handshake_is_refused() {
    let world = World::new();
    let earlier = meet(world.initiator(), world.responder()).expect("complete");
    let later = meet(world.initiator(), world.responder()).expect("complete");
    let replayed = later.responder.on_confirm(&earlier.initiator_mac, now());
    assert!(matches!(replayed, Err(HandshakeError::Binding)));
}

#[test]
fn one_wrong_bit_in_a_confirmation_is_refused() {
    let world = World::new();
    for bit in [0, 7, 100, 255] {
        let meeting = meet(world.initiator(), world.responder()).expect("complete");
        let mut mac = meeting.initiator_mac;
        mac[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(
            meeting.responder.on_confirm(&mac, now()),
            Err(HandshakeError::Binding)
        ));
    }
}

#[test]
fn garbled_records_never_lead_to_a_proof() {
    let world = World::new();
    for message in 0..3 {
        for at in [0, 5, 43, 200, 511] {
            let mut seen = 0;
            let garble = |records: &mut Vec<u8>| {
                if seen == message {
                    let at = at % records.len();
                    records[at] ^= 0x55;
                }
                seen += 1;
            };
            let Ok(meeting) = meet_over(world.initiator(), world.responder(), garble) else {
                continue;
            };
            let (initiator, responder) = meeting.confirm();
            assert!(
                initiator.is_err() && responder.is_err(),
                "message {message}, byte {at}"
            );
        }
    }
}

#[test]
fn truncated_records_leave_the_handshake_waiting() {
    let world = World::new();
    for message in 0..3 {
        let mut seen = 0;
        let cut = |records: &mut Vec<u8>| {
            if seen == message {
                records.truncate(records.len() - 1);
            }
            seen += 1;
        };
        assert!(
            meet_over(world.initiator(), world.responder(), cut).is_err(),
            "message {message}"
        );
    }
}

#[test]
fn records_may_arrive_in_pieces() {
    let world = World::new();
    let (_, hello) = Initiator::start(world.initiator(), now()).expect("starts");
    let (first, rest) = hello.split_at(20);
    let Ok(Progress::More { state, records }) = Responder::accept(world.responder(), first, now()) else {
        panic!("refused")
    };
    assert!(records.is_empty());
    assert!(
        matches!(state.on_records(rest, now()), Ok(Progress::More { records, .. }) if !records.is_empty())
    );
}

#[test]
fn garbage_instead_of_tls_is_refused() {
    let world = World::new();
    let refused = Responder::accept(world.responder(), b"GET / HTTP/1.1\r\n\r\n", now());
    assert!(matches!(refused, Err(HandshakeError::Tls(_))));
}

#[test]
fn a_plain_tls_1_2_hello_is_refused() {
    let world = World::new();
    // A minimal TLS 1.2 ClientHello without supported_versions.
    let mut body = vec![3, 3];
    body.extend([9; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let mut handshake = vec![1, 0, 0, u8::try_from(body.len()).expect("short")];
    handshake.extend(body);
    let mut record = vec![22, 3, 1, 0, u8::try_from(handshake.len()).expect("short")];
    record.extend(handshake);
    assert!(matches!(
        Responder::accept(world.responder(), &record, now()),
        Err(HandshakeError::Tls(_))
    ));
}

#[test]
fn bytes_and_messages_are_bounded() {
    let world = World::new();
    let mut small = world.responder();
    small.limits = Limits {
        bytes: 100,
        ..Limits::default()
    };
    let (_, hello) = Initiator::start(world.initiator(), now()).expect("starts");
    assert!(matches!(
        Responder::accept(small, &hello, now()),
        Err(HandshakeError::TooLarge(100))
    ));

    let mut chatty = world.responder();
    chatty.limits = Limits {
        messages: 3,
        ..Limits::default()
    };
    let mut result = Responder::accept(chatty, &hello[..1], now());
    for at in 1..10 {
        result = match result {
            Ok(Progress::More { state, .. }) => state.on_records(&hello[at..=at], now()),
            end => end,
        };
    }
    assert!(matches!(result, Err(HandshakeError::TooManyMessages(3))));
}

#[test]
fn every_step_has_the_same_deadline() {
    let world = World::new();
    let (initiator, hello) = Initiator::start(world.initiator(), now()).expect("starts");
    let late = Now {
        clock: initiator.deadline(),
        ..now()
    };
    let Ok(Progress::More { records, .. }) = Responder::accept(world.responder(), &hello, now()) else {
        panic!("no answer")
    };
    assert!(matches!(
        initiator.on_records(&records, late),
        Err(HandshakeError::Deadline)
    ));

    let meeting = meet(world.initiator(), world.responder()).expect("complete");
    let late = Now {
        clock: meeting.initiator.deadline(),
        ..now()
    };
    assert!(matches!(
        meeting.initiator.on_confirm(&meeting.responder_mac, late),
        Err(HandshakeError::Deadline)
    ));
}

#[test]
fn a_revoked_svid_proves_nothing_on_either_side_and_is_not_even_shown_by_its_own_node() {
    let world = World::new();
    let revoke = |credentials: &Credentials| {
        let mut revocations = Revocations::default();
        let serial = SerialNumber::new(credentials.svid().serial()).expect("has one");
        revocations.insert(Subject::Serial(serial), "leaked".into());
        let bundles = world.ca.set().with_revocations(Arc::new(revocations));
        let bundles: Arc<dyn BundleSource> = Arc::new(FixedBundles::new(bundles));
        bundles
    };
    let knowing = |party: Party, bundles: &Arc<dyn BundleSource>| Party {
        bundles: bundles.clone(),
        ..party
    };
    let client_revoked = revoke(&world.client_svid);
    let result = meet(world.initiator(), knowing(world.responder(), &client_revoked));
    let Err(Refusal::Responder(HandshakeError::PeerSvid(reason))) = result else {
        panic!("{:?}", result.err())
    };
    assert!(reason.to_string().contains("leaked"), "{reason}");
    let server_revoked = revoke(&world.server_svid);
    let result = meet(knowing(world.initiator(), &server_revoked), world.responder());
    assert!(
        matches!(
            result,
            Err(Refusal::Initiator(HandshakeError::PeerSvid(PeerError::Svid(
                SvidError::Revoked(_)
            ))))
        ),
        "{:?}",
        result.err()
    );
    let shown = Initiator::start(knowing(world.initiator(), &client_revoked), now());
    assert!(matches!(shown, Err(HandshakeError::LocalRevoked(_))));
    // The other one's revocation is nobody else's.
    let result = meet(
        knowing(world.initiator(), &revoke(&world.ca.issue(&world.client, 600))),
        world.responder(),
    );
    assert!(result.is_ok());
}

/// Says one thing, and from then on another.
#[derive(Debug)]
struct Changing {
    before: Arc<BundleSet>,
    after: Arc<BundleSet>,
    asked: AtomicUsize,
    /// How often the first is given.
    times: usize,
}

impl BundleSource for Changing {
    fn bundles(&self) -> Arc<BundleSet> {
        if self.asked.fetch_add(1, Ordering::SeqCst) < self.times {
            Arc::clone(&self.before)
        } else {
            Arc::clone(&self.after)
        }
    }
}

#[test]
fn what_is_revoked_between_the_signature_and_the_confirmation_proves_nothing() {
    let world = World::new();
    let changing = |revoked: &Credentials, times| {
        let mut revocations = Revocations::default();
        let serial = SerialNumber::new(revoked.svid().serial()).expect("a serial");
        revocations.insert(Subject::Serial(serial), "leaked".into());
        Arc::new(Changing {
            before: Arc::new(world.ca.set()),
            after: Arc::new(world.ca.set().with_revocations(Arc::new(revocations))),
            asked: AtomicUsize::new(0),
            times,
        })
    };
    // Asked for the own SVID, by the verifier of the chain, and when all records are there.
    let bundles = changing(&world.server_svid, 2);
    let initiator = Party {
        bundles: bundles.clone(),
        ..world.initiator()
    };
    let result = meet(initiator, world.responder());
    assert!(
        matches!(
            &result,
            Err(Refusal::Initiator(HandshakeError::PeerSvid(PeerError::Svid(
                SvidError::Revoked(_)
            ))))
        ),
        "{:?}",
        result.map(drop)
    );
    assert_eq!(
        bundles.asked.load(Ordering::SeqCst),
        3,
        "the chain itself was good"
    );
    let bundles = changing(&world.client_svid, 2);
    let responder = Party {
        bundles: bundles.clone(),
        ..world.responder()
    };
    let result = meet(world.initiator(), responder);
    assert!(
        matches!(
            &result,
            Err(Refusal::Responder(HandshakeError::PeerSvid(PeerError::Svid(
                SvidError::Revoked(_)
            ))))
        ),
        "{:?}",
        result.map(drop)
    );
    assert_eq!(bundles.asked.load(Ordering::SeqCst), 3);
}
