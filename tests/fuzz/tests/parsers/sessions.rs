//! What comes over a node session, as far as it goes: whole conversations, inner handshakes; and what the node's own parts say.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message as _;
use signet_abi::{
    Address, Lease, LeaseEnd, LeaseEndKey, LeaseKey, NodeId, PARKING_PREFIX, ParkingTicket, SecurityIdentity,
};
use signet_agent::mesh::Endpoints;
use signet_fuzz::Refused;
use signet_handshake::{
    Binding, Credentials, HandshakeError, Initiator, Limits, Now, Party, Progress, Responder,
};
use signet_lease::{Book, Facts};
use signet_proto::mesh::v1 as mesh;
use signet_session::{
    ADDRESSES, Decoder, Established, Event, Group, Hello, Instance, LeaseDelta, LeaseGrant, LeasePart,
    LocalNode, Message, NodeNumber, Opening, PeerNode, encode,
};
use signet_simulation::authority::Authority;
use signet_simulation::names;
use signet_spiffe::{BundleSet, SpiffeId, UnixTime, X509Bundle};
use signet_tls::{BundleSource, FixedBundles};

use crate::fuzz;

/// Nodes 1 and 2, on which everybody is registered.
struct Everybody;

impl Facts for Everybody {
    fn is_member(&self, node: NodeNumber) -> bool {
        node.get() <= 2
    }

    fn registered(&self, _: NodeNumber, id: &SpiffeId) -> Option<SecurityIdentity> {
        (*id == names::workload(0)).then_some(names::identity(0))
    }

    fn has_address(&self, node: NodeNumber, address: IpAddr) -> bool {
        names::has_address(node, address)
    }

    fn spiffe_id(&self, identity: SecurityIdentity) -> Option<SpiffeId> {
        (identity == names::identity(0)).then(|| names::workload(0))
    }
}

fn group(slot: u8) -> Group {
    Group {
        id: names::workload(0),
        addresses: vec![names::own_address(names::node(2), slot)],
    }
}

/// What node 2 may say to node 1, which has asked once.
fn conversation() -> Vec<u8> {
    let part = |begin, end, slot| {
        Message::LeasePart(LeasePart {
            revision: 1,
            begin,
            end,
            groups: vec![group(slot)],
        })
    };
    let delta = Message::LeaseDelta(LeaseDelta {
        revision: 2,
        withdrawn: group(1).addresses,
        added: vec![group(3)],
    });
    let grant = Message::LeaseGrant(LeaseGrant {
        nonce: 1,
        revision: 2,
        lasting: Duration::from_secs(10),
    });
    let messages = [
        Message::Ping(1),
        part(true, false, 1),
        part(false, true, 2),
        delta,
        grant,
    ];
    messages
        .iter()
        .flat_map(|message| encode(message).unwrap())
        .collect()
}

fn opened(now: Instant) -> Established {
    let local = LocalNode {
        node: names::node(1),
        instance: Instance([1; 16]),
    };
    let peer = PeerNode { node: names::node(2) };
    let (opening, _) = Opening::new(local, peer, signet_session::Limits::default(), now);
    let hello = Message::Hello(Hello {
        min_version: signet_session::OLDEST_VERSION,
        max_version: signet_session::VERSION,
        node: names::node(2),
        instance: Instance([2; 16]),
    });
    opening.on_message(&hello, now).unwrap()
}

#[test]
fn fuzz_session_conversations() {
    let now = Instant::now();
    fuzz("session_conversations")
        .seed(conversation())
        .inputs(20_000)
        .memory(4 * 1024 * 1024)
        .run(|bytes| {
            let (mut session, mut book) = (opened(now), Book::default());
            let asked = 1_000;
            session.ask(None, asked).unwrap();
            book.open(names::node(2), 1);
            let from = (names::node(2), 1);
            let mut decoder = Decoder::default();
            decoder.push(bytes);
            while let Some(message) = decoder.next_message()? {
                match session.on_message(message, now)? {
                    Event::LeaseTable(groups) => {
                        book.table(from, groups, &Everybody, asked)?;
                    }
                    Event::LeaseChange { withdrawn, added } => {
                        book.change(from, &withdrawn, added, &Everybody, asked)?;
                    }
                    Event::LeaseGranted { asked, lasting } => {
                        assert!(lasting <= signet_session::LONGEST, "{lasting:?}");
                        let end = asked + u64::try_from(lasting.as_nanos()).unwrap();
                        book.grant(from, end, &Everybody, asked)?;
                    }
                    Event::Nothing
                    | Event::Reply(_)
                    | Event::Opened(_)
                    | Event::Handshake(..)
                    | Event::Offer(_)
                    | Event::Ready(_)
                    | Event::Retire(_)
                    | Event::LeaseAsked(_) => {}
                }
                // Whatever it says: its own addresses, as registered, and for ten seconds.
                assert!(book.written().count() <= ADDRESSES);
                for (key, lease) in book.written() {
                    assert_eq!((lease.node, lease.identity), (NodeId(2), names::identity(0)));
                    assert!(names::has_address(names::node(2), IpAddr::from(key.0)));
                }
                let longest = asked + u64::try_from(signet_session::LONGEST.as_nanos()).unwrap();
                assert!(book.ends().all(|(_, end)| end <= longest));
            }
            Ok::<_, Refused>(())
        });
}

struct Pair {
    bundles: Arc<dyn BundleSource>,
    credentials: [Arc<Credentials>; 2],
    now: Now,
}

impl Pair {
    fn new() -> Self {
        let authority = Authority::new(0);
        let bundle = X509Bundle::new(names::trust_domain(), vec![authority.certificate()]).unwrap();
        let bundles = BundleSet::single(bundle);
        let unix = UnixTime::now();
        let issue = |number| {
            let life = Duration::from_hours(24);
            Arc::new(authority.issue(&names::workload(number), &bundles, unix, life))
        };
        Self {
            credentials: [issue(0), issue(1)],
            now: Now {
                clock: Instant::now(),
                unix,
            },
            bundles: Arc::new(FixedBundles::new(bundles)),
        }
    }

    fn party(&self, own: usize) -> Party {
        let node = |number| names::node_id(names::node(number));
        Party {
            local: self.credentials[own].clone(),
            remote: self.credentials[1 - own].id().clone(),
            bundles: self.bundles.clone(),
            binding: Binding::new([7; 32], node(1), node(2)),
            limits: Limits::default(),
        }
    }

    fn start(&self) -> (Initiator, Vec<u8>) {
        Initiator::start(self.party(0), self.now).unwrap()
    }

    fn accept(&self, records: &[u8]) -> Result<Progress<Responder>, HandshakeError> {
        Responder::accept(self.party(1), records, self.now)
    }
}

#[test]
fn fuzz_pair_handshake_openings() {
    let pair = Pair::new();
    let (_, hello) = pair.start();
    fuzz("pair_handshake_openings")
        .seed(hello)
        .inputs(2_000)
        .memory(4 * 1024 * 1024)
        .run(|bytes| {
            // At most an answer: nobody has proven anything by an opening.
            assert!(!matches!(pair.accept(bytes)?, Progress::Complete { .. }));
            Ok::<_, Refused>(())
        });
}

#[test]
fn fuzz_pair_handshake_answers() {
    let pair = Pair::new();
    let (_, hello) = pair.start();
    let Ok(Progress::More { records, .. }) = pair.accept(&hello) else {
        panic!("no answer");
    };
    fuzz("pair_handshake_answers")
        .seed(records)
        .inputs(1_000)
        .memory(4 * 1024 * 1024)
        .run(|bytes| {
            // An answer to another opening, whatever is in it, completes nothing.
            let (initiator, _) = pair.start();
            let gone_on = initiator.on_records(bytes, pair.now);
            assert!(!matches!(gone_on, Ok(Progress::Complete { .. })));
            true
        });
}

#[test]
fn fuzz_endpoints() {
    let endpoint = mesh::LocalEndpoint {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        spiffe_id: "spiffe://td.test/ns/shop/sa/web".to_owned(),
        addresses: vec!["10.244.2.10".to_owned(), "::ffff:10.244.2.10".to_owned()],
        netns_inode: 7,
        ..mesh::LocalEndpoint::default()
    };
    let told = mesh::Endpoints {
        endpoints: vec![endpoint.clone(), endpoint],
        contested: vec![mesh::ContestedIdentity {
            spiffe_id: "spiffe://td.test/ns/shop/sa/twin".to_owned(),
            why: "address 10.244.2.11 is claimed by shop/twin, shop/web".to_owned(),
        }],
        ..mesh::Endpoints::default()
    };
    fuzz("endpoints")
        .seed(told.encode_to_vec())
        .inputs(10_000)
        .memory(1024 * 1024)
        .run(|bytes| {
            let told = mesh::Endpoints::decode(bytes)?;
            let endpoints = Endpoints::parse(&told);
            for (address, id) in endpoints.addresses() {
                assert_eq!(address.to_canonical(), *address);
                assert!(endpoints.has(id));
            }
            Ok::<_, Refused>(())
        });
}

#[derive(Debug)]
struct Short;

#[test]
fn fuzz_parking_tickets() {
    fuzz("parking_tickets")
        .seed([0_u8; PARKING_PREFIX + 20])
        .inputs(20_000)
        .run(|bytes| {
            let ticket = ParkingTicket::read(bytes).ok_or(Short);
            assert_eq!(ticket.is_ok(), bytes.len() >= PARKING_PREFIX);
            ticket?;
            Ok::<_, Refused>(())
        });
}

#[test]
fn fuzz_leases_left_in_the_kernel() {
    const ENTRY: usize = 28;
    let entry = |slot: u8| {
        let mut bytes = Address::from(names::own_address(names::node(2), slot)).0.to_vec();
        bytes.extend(names::identity(0).0.to_be_bytes());
        bytes.extend(2_u32.to_be_bytes());
        bytes.extend([0, 0, 0, 9]);
        bytes
    };
    fuzz("leases_left_in_the_kernel")
        .seed([entry(1), entry(2)].concat())
        .inputs(20_000)
        .memory(4 * 1024 * 1024)
        .run(|bytes| {
            let word = |at: &[u8]| u32::from_be_bytes(*at.first_chunk().unwrap());
            let (mut leases, mut ends) = (Vec::new(), Vec::new());
            for entry in bytes.chunks_exact(ENTRY) {
                let node = NodeId(word(&entry[20..]));
                let lease = Lease {
                    identity: SecurityIdentity(word(&entry[16..])),
                    node,
                };
                leases.push((LeaseKey(Address(*entry.first_chunk().unwrap())), lease));
                let not_after = u64::from(word(&entry[24..]));
                ends.push((LeaseEndKey(node), LeaseEnd { not_after }));
            }
            let mut book = Book::default();
            drop(book.adopt(&leases, &ends, &Everybody, 1));
            // What an earlier run has left is judged like any other claim, and counts for no longer than it did.
            for (key, lease) in book.written() {
                assert_eq!(lease.identity, names::identity(0));
                let node = NodeNumber::new(lease.node.0).unwrap();
                assert!(Everybody.is_member(node) && names::has_address(node, IpAddr::from(key.0)));
            }
            assert!(
                book.ends()
                    .all(|(_, end)| ends.iter().any(|(_, left)| left.not_after == end))
            );
            Ok::<_, Refused>(())
        });
}
