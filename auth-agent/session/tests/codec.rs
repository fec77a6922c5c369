//! Frames: what is accepted, and everything that is not.

#![expect(clippy::expect_used, reason = "helpers of tests: what fails here is the test")]

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use signet_proto::session::v1 as wire;
use signet_session::{
    AbortCause, CodecError, Decoder, Detail, Digest, Group, HandshakeId, Hello, Instance, LeaseAsk,
    LeaseDelta, LeaseGrant, LeasePart, MAX_FRAME, Message, NodeNumber, Offer, Open, Opener, Route, WireError,
    encode,
};
use signet_spiffe::SpiffeId;

/// As the receiver sees a message that the sender has addressed by its own view of the route.
fn received(message: Message) -> Message {
    let flip = |route: Route| Route {
        opener: match route.opener {
            Opener::Us => Opener::Peer,
            Opener::Peer => Opener::Us,
        },
        id: route.id,
    };
    match message {
        Message::Open(open) => Message::Open(Open {
            route: flip(open.route),
            ..open
        }),
        Message::Records { route, records } => Message::Records {
            route: flip(route),
            records,
        },
        Message::Confirm { route, mac } => Message::Confirm {
            route: flip(route),
            mac,
        },
        Message::Abort { route, cause, detail } => Message::Abort {
            route: flip(route),
            cause,
            detail,
        },
        same @ (Message::Hello(_)
        | Message::Ping(_)
        | Message::Pong(_)
        | Message::Offer(_)
        | Message::Ready(_)
        | Message::Retire(_)
        | Message::LeaseAsk(_)
        | Message::LeasePart(_)
        | Message::LeaseDelta(_)
        | Message::LeaseGrant(_)) => same,
    }
}

fn route() -> impl Strategy<Value = Route> {
    (any::<u64>(), any::<bool>()).prop_map(|(id, ours)| Route {
        opener: if ours { Opener::Us } else { Opener::Peer },
        id: HandshakeId(id),
    })
}

fn spiffe_id() -> impl Strategy<Value = SpiffeId> {
    "[a-z]{1,12}"
        .prop_map(|name| SpiffeId::parse(&format!("spiffe://t.example/ns/a/sa/{name}")).expect("valid"))
}

fn cause() -> impl Strategy<Value = AbortCause> {
    prop::sample::select(vec![
        AbortCause::Unspecified,
        AbortCause::NoEndpoint,
        AbortCause::NoSvid,
        AbortCause::Busy,
        AbortCause::Tls,
        AbortCause::Binding,
        AbortCause::Deadline,
        AbortCause::Yield,
        AbortCause::UnknownIdentity,
    ])
}

fn message() -> impl Strategy<Value = Message> {
    let records = || prop::collection::vec(any::<u8>(), 1..2000);
    prop_oneof![
        (1..9u32, 0..9u32, 1..=u32::MAX, any::<[u8; 16]>(),).prop_map(
            |(min_version, more, node, instance)| Message::Hello(Hello {
                min_version,
                max_version: min_version + more,
                node: NodeNumber::new(node).expect("not zero"),
                instance: Instance(instance),
            })
        ),
        any::<u64>().prop_map(Message::Ping),
        any::<u64>().prop_map(Message::Pong),
        (any::<u64>(), spiffe_id(), spiffe_id(), records()).prop_map(
            |(id, initiator, responder, records)| {
                let route = Route {
                    opener: Opener::Us,
                    id: HandshakeId(id),
                };
                Message::Open(Open {
                    route,
                    initiator,
                    responder,
                    records,
                })
            }
        ),
        (route(), records()).prop_map(|(route, records)| Message::Records { route, records }),
        (route(), any::<[u8; 32]>()).prop_map(|(route, mac)| Message::Confirm { route, mac }),
        (route(), cause(), "\\PC{0,80}").prop_map(|(route, cause, text)| Message::Abort {
            route,
            cause,
            detail: Detail::new(&text)
        }),
        (any::<u64>(), any::<[u8; 32]>(), 1..=u16::MAX).prop_map(|(key_epoch, public_key, port)| {
            Message::Offer(Offer {
                key_epoch,
                public_key,
                port,
            })
        }),
        any::<u64>().prop_map(Message::Ready),
        any::<u64>().prop_map(Message::Retire),
        (any::<u64>(), any::<u64>(), any::<Option<[u8; 32]>>()).prop_map(|(nonce, revision, digest)| {
            Message::LeaseAsk(LeaseAsk {
                nonce,
                revision,
                digest: digest.map(Digest),
            })
        }),
        (any::<u64>(), any::<[bool; 2]>(), groups()).prop_map(|(revision, [begin, end], groups)| {
            Message::LeasePart(LeasePart {
                revision,
                begin,
                end,
                groups,
            })
        }),
        (any::<u64>(), prop::collection::vec(address(), 0..40), groups()).prop_map(
            |(revision, withdrawn, added)| {
                Message::LeaseDelta(LeaseDelta {
                    revision,
                    withdrawn,
                    added,
                })
            }
        ),
        (any::<u64>(), any::<u64>(), 0..=10_000u64).prop_map(|(nonce, revision, ms)| {
            Message::LeaseGrant(LeaseGrant {
                nonce,
                revision,
                lasting: Duration::from_millis(ms),
            })
        }),
    ]
}

/// Never an IPv4 address in IPv6 form.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(|bytes| IpAddr::from(bytes).to_canonical()),
    ]
}

fn groups() -> impl Strategy<Value = Vec<Group>> {
    let group = (spiffe_id(), prop::collection::vec(address(), 1..20));
    prop::collection::vec(group.prop_map(|(id, addresses)| Group { id, addresses }), 0..8)
}

proptest! {
    #[test]
    fn any_messages_survive_any_fragmentation(
        messages in prop::collection::vec(message(), 1..8),
        cut in 1..4096usize,
    ) {
        let mut stream = Vec::new();
        for message in &messages {
            stream.extend(encode(message).expect("encodes"));
        }
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for piece in stream.chunks(cut) {
            decoder.push(piece);
            while let Some(message) = decoder.next_message().expect("decodes") {
                seen.push(message);
            }
        }
        prop_assert_eq!(decoder.pending(), 0);
        prop_assert_eq!(seen, messages.into_iter().map(received).collect::<Vec<_>>());
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_grow_the_buffer(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..40),
    ) {
        let mut decoder = Decoder::default();
        for piece in pieces {
            decoder.push(&piece);
            loop {
                match decoder.next_message() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return Ok(()),
                }
            }
            prop_assert!(decoder.pending() <= MAX_FRAME + 4);
        }
    }

    #[test]
    fn a_frame_with_bytes_flipped_decodes_or_is_refused_but_never_panics(
        message in message(), at in any::<prop::sample::Index>(), bit in 0..8u8,
    ) {
        let mut frame = encode(&message).expect("encodes");
        let at = at.index(frame.len());
        frame[at] ^= 1 << bit;
        let mut decoder = Decoder::default();
        decoder.push(&frame);
        let _ = decoder.next_message();
    }
}

fn decode(frame: &[u8]) -> Result<Option<Message>, CodecError> {
    let mut decoder = Decoder::default();
    decoder.push(frame);
    decoder.next_message()
}

fn framed(envelope: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(envelope.len())
        .expect("short")
        .to_be_bytes()
        .to_vec();
    frame.extend_from_slice(envelope);
    frame
}

#[test]
fn an_oversize_length_is_refused_before_its_bytes_arrive() {
    let length = u32::try_from(MAX_FRAME).expect("fits") + 1;
    assert!(matches!(
        decode(&length.to_be_bytes()),
        Err(CodecError::TooLong(_))
    ));
    assert!(matches!(
        decode(&u32::MAX.to_be_bytes()),
        Err(CodecError::TooLong(_))
    ));
}

#[test]
fn the_longest_frame_is_waited_for() {
    let length = u32::try_from(MAX_FRAME).expect("fits");
    assert!(matches!(decode(&length.to_be_bytes()), Ok(None)));
}

#[test]
fn a_message_longer_than_a_frame_is_not_encoded() {
    let route = Route {
        opener: Opener::Us,
        id: HandshakeId(1),
    };
    let message = Message::Records {
        route,
        records: vec![0; MAX_FRAME],
    };
    assert!(matches!(encode(&message), Err(CodecError::TooLong(_))));
}

#[test]
fn an_empty_frame_is_refused() {
    assert!(matches!(
        decode(&framed(&[])),
        Err(CodecError::Refused(WireError::UnknownKind))
    ));
}

#[test]
fn a_message_of_an_unknown_kind_is_refused() {
    // Field 15, wire type 2, two bytes.
    assert!(matches!(
        decode(&framed(&[0x7a, 2, 8, 1])),
        Err(CodecError::Refused(WireError::UnknownKind))
    ));
}

#[test]
fn text_is_malformed() {
    assert!(matches!(
        decode(&framed(b"GET / HTTP/1.1\r\n")),
        Err(CodecError::Malformed(_))
    ));
}

#[test]
fn lease_messages_that_say_something_impossible_are_refused() {
    let envelope = |message| {
        framed(&prost::Message::encode_to_vec(&wire::Envelope {
            message: Some(message),
        }))
    };
    let table = |addresses: Vec<Vec<u8>>| {
        wire::envelope::Message::LeaseTable(wire::LeaseTable {
            revision: 1,
            begin: true,
            end: true,
            groups: vec![wire::LeaseGroup {
                spiffe_id: "spiffe://t.example/a".to_owned(),
                addresses,
            }],
        })
    };
    decode(&envelope(table(vec![vec![10, 0, 0, 1]]))).expect("one address");
    let mapped = [[0; 10].as_slice(), &[0xff, 0xff, 10, 0, 0, 1]].concat();
    for wrong in [
        vec![],
        vec![vec![]],
        vec![vec![1; 5]],
        vec![vec![1; 17]],
        vec![mapped],
    ] {
        let result = decode(&envelope(table(wrong.clone())));
        assert!(
            matches!(result, Err(CodecError::Refused(_))),
            "{wrong:?}: {result:?}"
        );
    }
    let grant = |for_ms| {
        wire::envelope::Message::LeaseGrant(wire::LeaseGrant {
            nonce: 1,
            revision: 1,
            for_ms,
        })
    };
    decode(&envelope(grant(10_000))).expect("the longest");
    for too_long in [10_001, u32::MAX] {
        assert!(matches!(
            decode(&envelope(grant(too_long))),
            Err(CodecError::Refused(WireError::Range("time of a lease")))
        ));
    }
    let ask = wire::envelope::Message::LeaseAsk(wire::LeaseAsk {
        nonce: 1,
        revision: 0,
        digest: vec![1; 31],
    });
    assert!(matches!(
        decode(&envelope(ask)),
        Err(CodecError::Refused(WireError::Length { field: "digest", .. }))
    ));
}

#[test]
fn fields_of_the_wrong_length_are_refused() {
    // Hello with only versions and a node number.
    assert!(matches!(
        decode(&framed(&[0x0a, 6, 8, 1, 16, 1, 24, 7])),
        Err(CodecError::Refused(WireError::Length {
            field: "instance",
            ..
        }))
    ));
    // Hello of node 0.
    assert!(matches!(
        decode(&framed(&[0x0a, 4, 8, 1, 16, 1])),
        Err(CodecError::Refused(WireError::Range("node number")))
    ));
    // Confirm without a MAC.
    assert!(matches!(
        decode(&framed(&[0x32, 2, 8, 1])),
        Err(CodecError::Refused(WireError::Length { field: "mac", .. }))
    ));
    // Records without records.
    assert!(matches!(
        decode(&framed(&[0x2a, 2, 8, 1])),
        Err(CodecError::Refused(WireError::Empty("records")))
    ));
    // Open without SPIFFE IDs.
    assert!(matches!(
        decode(&framed(&[0x22, 2, 8, 1])),
        Err(CodecError::Refused(WireError::SpiffeId {
            field: "initiator",
            ..
        }))
    ));
    // Offer whose port does not fit.
    assert!(matches!(
        decode(&framed(&[0x42, 4, 0x18, 0xff, 0xff, 0x7f])),
        Err(CodecError::Refused(WireError::Range("port")))
    ));
}
