//! What nobody thought of: random packets, and valid ones with random bytes changed, the same in every run.

use signet_abi::{Authentication, Direction, Verdict};

use crate::support::node::Node;
use crate::support::packet::{self, ETHERNET};
use crate::support::scene::{BOTH_ENFORCED, DROP, Family, PASS, REMOTE, Transport, ends, exact, hook};

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// Changes one byte, or a few; sometimes cuts the end off.
    fn damage(&mut self, packet: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            // The MAC addresses mean nothing to the programs.
            let at = 12 + self.below(packet.len() - 12);
            packet[at] = match self.below(3) {
                0 => packet[at] ^ 1 << self.below(8),
                1 => self.byte(),
                _ => [0, 1, 4, 6, 17, 43, 44, 50, 58, 59, 60, 128, 135, 255][self.below(14)],
            };
        }
        if self.below(8) == 0 {
            packet.truncate(ETHERNET + 1 + self.below(packet.len() - ETHERNET));
        }
    }
}

/// The kernel runs programs on nothing that has no whole IP header.
fn is_runnable(packet: &[u8]) -> bool {
    match packet[12..14] {
        [0x08, 0x00] => packet.len() >= ETHERNET + 20,
        [0x86, 0xdd] => packet.len() >= ETHERNET + 40,
        _ => packet.len() > ETHERNET,
    }
}

/// ARP and neighbour discovery need no rule.
fn needs_no_rule(packet: &[u8]) -> bool {
    let discovery = || {
        // Behind extension headers too: what is walked has the protocol in the packet somewhere.
        packet[ETHERNET + 7] == 255
            && packet[ETHERNET + 6..]
                .iter()
                .any(|byte| (133..=136).contains(byte))
    };
    match packet[12..14] {
        [0x08, 0x06] => true,
        [0x86, 0xdd] => packet.len() > ETHERNET + 40 && discovery(),
        _ => false,
    }
}

#[test]
fn random_bytes_never_reach_or_leave_a_workload_without_a_rule() {
    let mut node = Node::new();
    node.enforce(BOTH_ENFORCED);
    let mut random = Random(1);
    for round in 0..6_000 {
        let mut packet: Vec<u8> = (0..ETHERNET + 40 + random.below(100))
            .map(|_| random.byte())
            .collect();
        let ethertype = [[0x08, 0x00], [0x86, 0xdd], [0x81, 0x00]][random.below(3)];
        packet[12..14].copy_from_slice(&ethertype);
        if random.below(2) == 0 {
            packet[ETHERNET] = if ethertype == [0x08, 0x00] { 0x45 } else { 0x60 };
        }
        for direction in DIRECTIONS {
            let action = node.act(hook(direction), &packet, 0).0;
            assert!(
                action == DROP || needs_no_rule(&packet),
                "round {round}, {direction:?}: {packet:02x?}"
            );
        }
    }
    assert_eq!(node.connections.entries().unwrap(), []);
}

/// Every shape of packet that has a row of its own.
fn shapes(family: Family, direction: Direction) -> Vec<Vec<u8>> {
    let (from, to) = ends(family, direction);
    let mut shapes = Vec::new();
    for transport in Transport::ALL {
        shapes.push(transport.opening(family, direction));
        shapes.push(transport.answer(family, direction.opposite()));
        let about = transport.opening(family, direction.opposite());
        shapes.push(packet::unreachable(from, to, &about));
    }
    let tcp = Transport::Tcp.opening(family, direction);
    shapes.push(match family {
        Family::V4 => packet::with_options(&tcp, &[7, 7, 4, 0, 0, 0, 0, 0]),
        Family::V6 => packet::extended(&tcp, &[0, 60, 60]),
    });
    shapes
}

#[test]
fn damaged_packets_never_reach_or_leave_a_workload_without_a_rule() {
    let mut node = Node::new();
    node.enforce(BOTH_ENFORCED);
    let mut random = Random(2);
    for family in Family::BOTH {
        for direction in DIRECTIONS {
            for shape in shapes(family, direction) {
                for round in 0..200 {
                    let mut packet = shape.clone();
                    random.damage(&mut packet);
                    if !is_runnable(&packet) {
                        continue;
                    }
                    let action = node.act(hook(direction), &packet, 0).0;
                    assert!(
                        action == DROP || needs_no_rule(&packet),
                        "round {round}, {direction:?}: {packet:02x?}"
                    );
                }
            }
        }
    }
    assert_eq!(node.connections.entries().unwrap(), []);
}

#[test]
fn what_passes_under_a_rule_for_one_port_is_for_that_port_and_between_that_pair() {
    let mut random = Random(3);
    let mut node = Node::new();
    for direction in DIRECTIONS {
        node.reset();
        node.enforce(BOTH_ENFORCED);
        let rule = exact(REMOTE, direction, packet::TCP, Transport::SERVER_PORT);
        node.rule_at(&rule, Verdict::Allow as u8, Authentication::Disabled as u8);
        let mut passed = 0;
        let whole = Transport::Tcp.opening(Family::V4, direction);
        let shapes = [
            whole.clone(),
            packet::with_options(&whole, &[1; 8]),
            packet::with_options(&whole, &[7, 7, 4, 0, 0, 0, 0, 0]),
        ];
        for round in 0..6_000 {
            let mut packet = shapes[round % shapes.len()].clone();
            random.damage(&mut packet);
            if !is_runnable(&packet)
                || node.act(hook(direction), &packet, 0).0 != PASS
                || packet[12..14] == [0x08, 0x06]
            {
                continue;
            }
            passed += 1;
            assert_eq!(packet[12..14], [0x08, 0x00], "{packet:02x?}");
            assert_eq!(packet[ETHERNET] >> 4, 4, "{packet:02x?}");
            assert_eq!(packet[ETHERNET + 9], packet::TCP, "{packet:02x?}");
            assert_eq!(
                packet[ETHERNET + 12..ETHERNET + 20],
                whole[ETHERNET + 12..ETHERNET + 20],
                "{packet:02x?}"
            );
            // A later fragment has no ports: it passes behind a first one that has these.
            if u16::from_be_bytes([packet[ETHERNET + 6], packet[ETHERNET + 7]]) & 0x1fff != 0 {
                continue;
            }
            let tcp = ETHERNET + usize::from(packet[ETHERNET] & 0xf) * 4;
            assert_eq!(
                packet[tcp + 2..tcp + 4],
                Transport::SERVER_PORT.to_be_bytes(),
                "{packet:02x?}"
            );
        }
        assert!(
            passed > 100,
            "{passed}: the damage leaves some packets as they have to be"
        );
    }
}
