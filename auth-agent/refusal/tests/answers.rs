//! Who is told what, and who is told nothing.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects")]

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use signet_refusal::answer;

const SENDER: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// What a test makes of a TCP header.
type Change = fn(&mut etherparse::TcpHeader);

const V4: [[u8; 4]; 2] = [[10, 244, 1, 10], [10, 244, 2, 10]];

fn v6(last: u8) -> [u8; 16] {
    let mut address = [0xfd, 0, 2, 0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    address[15] = last;
    address
}

fn ethernet() -> etherparse::PacketBuilderStep<etherparse::Ethernet2Header> {
    PacketBuilder::ethernet2(SENDER, OTHER)
}

fn written(size: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = Vec::with_capacity(size);
    write(&mut frame);
    frame
}

fn tcp(is_v4: bool, change: impl FnOnce(&mut etherparse::TcpHeader), data: &[u8]) -> Vec<u8> {
    let mut header = etherparse::TcpHeader::new(40_000, 8_080, 1_000, 1_024);
    change(&mut header);
    written(128, |frame| {
        let ip = ethernet();
        let step = if is_v4 {
            ip.ipv4(V4[0], V4[1], 64)
        } else {
            ip.ipv6(v6(1), v6(2), 64)
        };
        step.tcp_header(header).write(frame, data).unwrap();
    })
}

fn udp(is_v4: bool, data: &[u8]) -> Vec<u8> {
    written(128, |frame| {
        let ip = ethernet();
        let step = if is_v4 {
            ip.ipv4(V4[0], V4[1], 64)
        } else {
            ip.ipv6(v6(1), v6(2), 64)
        };
        step.udp(40_000, 53).write(frame, data).unwrap();
    })
}

/// The answer goes back the way the question came, and its checksums are right.
fn turned(frame: &[u8]) -> SlicedPacket<'_> {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(etherparse::LinkSlice::Ethernet2(link)) = &packet.link else {
        panic!("no Ethernet");
    };
    assert_eq!((link.source(), link.destination()), (OTHER, SENDER));
    match packet.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            assert_eq!([header.destination(), header.source()], V4);
            assert_eq!(
                header.header_checksum(),
                header.to_header().calc_header_checksum()
            );
        }
        NetSlice::Ipv6(ip) => {
            assert_eq!([ip.header().destination(), ip.header().source()], [v6(1), v6(2)]);
        }
        NetSlice::Arp(_) => panic!("ARP"),
    }
    packet
}

#[test]
fn a_tcp_sender_hears_that_its_connection_does_not_exist() {
    for is_v4 in [true, false] {
        let rows: [(_, Change, &[u8], _); 3] = [
            ("opening", |tcp| tcp.syn = true, b"", (0, Some(1_001))),
            (
                "established",
                |tcp| (tcp.ack, tcp.acknowledgment_number) = (true, 77),
                b"data",
                (77, None),
            ),
            ("neither", |tcp| tcp.fin = true, b"data", (0, Some(1_005))),
        ];
        for (what, change, data, (sequence, acknowledgment)) in rows {
            let answer = answer(&tcp(is_v4, change, data)).unwrap();
            let packet = turned(&answer);
            let Some(TransportSlice::Tcp(reset)) = &packet.transport else {
                panic!("{what}: no TCP");
            };
            assert!(reset.rst() && !reset.syn() && !reset.fin(), "{what}");
            assert_eq!((reset.source_port(), reset.destination_port()), (8_080, 40_000));
            assert_eq!(reset.sequence_number(), sequence, "{what}");
            assert_eq!(
                reset.ack().then(|| reset.acknowledgment_number()),
                acknowledgment,
                "{what}"
            );
            let sum = if is_v4 {
                reset.calc_checksum_ipv4(V4[1], V4[0]).unwrap()
            } else {
                reset.calc_checksum_ipv6(v6(2), v6(1)).unwrap()
            };
            assert_eq!(reset.checksum(), sum, "{what}");
        }
    }
}

#[test]
fn others_hear_that_it_is_prohibited_and_which_packet_of_theirs() {
    let question = udp(true, b"who?");
    let told = answer(&question).unwrap();
    let packet = turned(&told);
    let Some(TransportSlice::Icmpv4(icmp)) = &packet.transport else {
        panic!("no ICMP");
    };
    assert_eq!((icmp.type_u8(), icmp.code_u8()), (3, 13));
    assert_eq!(icmp.payload(), &question[14..]);
    let mut again = icmp.header();
    again.update_checksum(icmp.payload());
    assert_eq!(again.checksum, icmp.checksum());

    let question = udp(false, b"who?");
    let told = answer(&question).unwrap();
    let packet = turned(&told);
    let Some(TransportSlice::Icmpv6(icmp)) = &packet.transport else {
        panic!("no ICMPv6");
    };
    assert_eq!((icmp.type_u8(), icmp.code_u8()), (1, 1));
    assert_eq!(icmp.payload(), &question[14..]);
    assert!(icmp.is_checksum_valid(v6(2), v6(1)));
}

#[test]
fn an_answer_is_never_much_larger_than_what_it_answers() {
    for length in [0, 100, 1_400, 8_000] {
        for is_v4 in [true, false] {
            let question = udp(is_v4, &vec![7; length]);
            let told = answer(&question).unwrap();
            assert!(told.len() <= question.len() + 48, "{length}");
            assert!(told.len() <= 14 + if is_v4 { 576 } else { 1_280 }, "{length}");
            turned(&told);
        }
    }
}

#[test]
fn an_echo_request_is_answered_and_errors_and_resets_are_not() {
    let ping = written(64, |frame| {
        let step = ethernet().ipv4(V4[0], V4[1], 64).icmpv4_echo_request(1, 2);
        step.write(frame, b"ping").unwrap();
    });
    assert!(answer(&ping).is_some());
    for kind in [3, 4, 5, 11, 12] {
        let error = written(64, |frame| {
            let step = ethernet().ipv4(V4[0], V4[1], 64).icmpv4_raw(kind, 0, [0; 4]);
            step.write(frame, &[0; 28]).unwrap();
        });
        assert_eq!(answer(&error), None, "ICMP {kind}");
    }
    for kind in [1, 2, 3, 4, 127, 130, 131, 132, 133, 134, 135, 136, 137, 143] {
        let message = written(64, |frame| {
            let step = ethernet().ipv6(v6(1), v6(2), 64).icmpv6_raw(kind, 0, [0; 4]);
            step.write(frame, &[0; 48]).unwrap();
        });
        assert_eq!(answer(&message), None, "ICMPv6 {kind}");
    }
    for is_v4 in [true, false] {
        assert_eq!(answer(&tcp(is_v4, |tcp| tcp.rst = true, b"")), None);
    }
    // Not even our own.
    for question in [
        udp(true, b""),
        udp(false, b""),
        tcp(true, |tcp| tcp.syn = true, b""),
    ] {
        let told = answer(&question).unwrap();
        assert_eq!(answer(&told), None);
    }
}

#[test]
fn groups_broadcasts_and_nobody_are_not_written_to() {
    let udp4 = udp(true, b"x");
    let udp6 = udp(false, b"x");
    let with = |frame: &[u8], at: usize, bytes: &[u8]| {
        let mut frame = frame.to_vec();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let (source4, destination4, source6, destination6) = (26, 30, 22, 38);
    for address in [[224, 0, 0, 1], [255; 4], [0; 4], [127, 0, 0, 1], [240, 0, 0, 1]] {
        for at in [source4, destination4] {
            assert_eq!(answer(&with(&udp4, at, &address)), None, "{address:?} at {at}");
        }
    }
    let mut group = [0; 16];
    group[..2].copy_from_slice(&[0xff, 2]);
    let mut own = [0; 16];
    own[15] = 1;
    for address in [group, [0; 16], own] {
        for at in [source6, destination6] {
            assert_eq!(answer(&with(&udp6, at, &address)), None, "{address:?} at {at}");
        }
    }
    for frame in [&udp4, &udp6] {
        assert_eq!(answer(&with(frame, 0, &[0xff; 6])), None, "broadcast");
        assert_eq!(answer(&with(frame, 0, &[1, 0, 0x5e, 0, 0, 1])), None, "group");
        assert_eq!(
            answer(&with(frame, 6, &[1, 0, 0x5e, 0, 0, 1])),
            None,
            "from a group"
        );
    }
}

#[test]
fn the_first_fragment_is_answered_and_no_later_one() {
    let whole = udp(true, &[7; 64]);
    let piece = |flags: [u8; 2]| {
        let mut frame = whole.clone();
        frame[20..22].copy_from_slice(&flags);
        frame
    };
    assert!(answer(&piece([0x20, 0])).is_some());
    assert_eq!(answer(&piece([0x20, 1])), None);
    assert_eq!(answer(&piece([0, 8])), None);

    let whole = udp(false, &[7; 64]);
    let piece = |place: u16| {
        let mut frame = whole[..54].to_vec();
        frame[20] = 44;
        let length = u16::from_be_bytes([frame[18], frame[19]]) + 8;
        frame[18..20].copy_from_slice(&length.to_be_bytes());
        frame.extend([17, 0]);
        frame.extend(place.to_be_bytes());
        frame.extend([0, 0, 0, 9]);
        frame.extend(&whole[54..]);
        frame
    };
    assert!(answer(&piece(1)).is_some());
    assert_eq!(answer(&piece(8 | 1)), None);
    assert_eq!(answer(&piece(64)), None);
}

#[test]
fn no_bytes_make_it_fail() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for original in [
        udp(true, b"abc"),
        udp(false, b"abc"),
        tcp(true, |tcp| tcp.syn = true, b""),
        tcp(false, |_| {}, b"z"),
    ] {
        for _ in 0..20_000 {
            let mut frame = original.clone();
            for _ in 0..=random() % 4 {
                let at = usize::try_from(random()).unwrap() % frame.len();
                frame[at] = random().to_le_bytes()[0];
            }
            frame.truncate(usize::try_from(random()).unwrap() % (frame.len() + 1));
            if let Some(told) = answer(&frame) {
                assert!(told.len() <= frame.len() + 48);
                assert_eq!(answer(&told), None);
            }
        }
    }
}
