//! Packets that lack a lease alone, of rules that want their senders told. The owner's word of an address may just be on its way: so they
//! are held for a moment, and go on if it comes.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use signet_abi::{AuthKey, Direction, ETHERNET_HEADER, ParkingTicket};

/// How long a packet is held.
const WAIT: Duration = Duration::from_secs(1);
/// Most packets that are held. The kernel programs send few of each pair.
const MOST: usize = 256;
/// Most bytes of them.
const MOST_BYTES: usize = 512 * 1024;

/// What is held, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Lapsed {
    held: VecDeque<Held>,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    since: u64,
    pair: AuthKey,
    address: IpAddr,
    frame: Vec<u8>,
}

/// What a look has settled.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// The lease has come.
    pub(super) back: Vec<Vec<u8>>,
    /// None has.
    pub(super) refused: Vec<Vec<u8>>,
}

impl Lapsed {
    /// Holds a packet; gives it back where there is no room, or nobody could say what it waits for.
    pub(super) fn hold(&mut self, pair: AuthKey, frame: &[u8], now: u64) -> Option<Vec<u8>> {
        let has_room = self.held.len() < MOST && self.bytes + frame.len() <= MOST_BYTES;
        let Some(address) = remote(frame).filter(|_| has_room) else {
            return Some(frame.to_vec());
        };
        self.bytes += frame.len();
        self.held.push_back(Held {
            since: now,
            pair,
            address,
            frame: frame.to_vec(),
        });
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes out what has a lease now, and what has waited for long enough.
    pub(super) fn review(&mut self, now: u64, stands: impl Fn(&AuthKey, IpAddr) -> bool) -> Settled {
        let wait = u64::try_from(WAIT.as_nanos()).unwrap_or(u64::MAX);
        let mut settled = Settled::default();
        for held in std::mem::take(&mut self.held) {
            if stands(&held.pair, held.address) {
                settled.back.push(held.frame);
            } else if now.saturating_sub(held.since) >= wait {
                settled.refused.push(held.frame);
            } else {
                self.held.push_back(held);
            }
        }
        self.bytes = self.held.iter().map(|held| held.frame.len()).sum();
        settled
    }
}

/// The other side's address of a parked frame.
fn remote(parked: &[u8]) -> Option<IpAddr> {
    let left = ParkingTicket::read(parked)?.direction == Direction::Egress as u8;
    let frame = ParkingTicket::frame(parked)?;
    let ethertype = frame.get(ETHERNET_HEADER - 2..ETHERNET_HEADER)?;
    let packet = frame.get(ETHERNET_HEADER..)?;
    match ethertype {
        [0x08, 0x00] => {
            let address: [u8; 4] = *packet.get(if left { 16 } else { 12 }..)?.first_chunk()?;
            Some(Ipv4Addr::from(address).into())
        }
        [0x86, 0xdd] => {
            let address: [u8; 16] = *packet.get(if left { 24 } else { 8 }..)?.first_chunk()?;
            Some(Ipv6Addr::from(address).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use signet_abi::{NodeId, PARKING_PREFIX, SecurityIdentity};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn pair(remote: u32) -> AuthKey {
        AuthKey {
            local: SecurityIdentity(300),
            remote: SecurityIdentity(remote),
            node: NodeId(2),
        }
    }

    /// A parked packet from 10.0.0.`last` to 10.0.1.1.
    fn parked(last: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0; PARKING_PREFIX + ETHERNET_HEADER + 20 + length];
        let start = PARKING_PREFIX + ETHERNET_HEADER;
        frame[start - 2] = 8;
        frame[start + 12..start + 16].copy_from_slice(&[10, 0, 0, last]);
        frame[start + 16..start + 20].copy_from_slice(&[10, 0, 1, 1]);
        frame
    }

    #[test]
    fn who_gets_his_lease_in_time_goes_on_and_nobody_is_told() {
        let mut lapsed = Lapsed::default();
        assert_eq!(lapsed.hold(pair(400), &parked(1, 0), 5 * SECOND), None);
        assert_eq!(lapsed.hold(pair(401), &parked(2, 0), 5 * SECOND), None);
        let first =
            |pair: &AuthKey, address: IpAddr| pair.remote.0 == 400 && address == IpAddr::from([10, 0, 0, 1]);
        let settled = lapsed.review(5 * SECOND + 1, first);
        assert_eq!((settled.back, settled.refused), (vec![parked(1, 0)], vec![]));
        assert_eq!(lapsed.review(6 * SECOND - 1, |_, _| false), Settled::default());
        let settled = lapsed.review(6 * SECOND, |_, _| false);
        assert_eq!((settled.back, settled.refused), (vec![], vec![parked(2, 0)]));
        assert!(lapsed.is_empty());
    }

    #[test]
    fn the_other_side_is_the_source_of_what_arrives_and_the_destination_of_what_leaves() {
        let mut frame = parked(7, 0);
        assert_eq!(remote(&frame), Some(IpAddr::from([10, 0, 0, 7])));
        frame[ETHERNET_HEADER + 28] = Direction::Egress as u8;
        assert_eq!(remote(&frame), Some(IpAddr::from([10, 0, 1, 1])));
        for length in 0..frame.len() {
            // Cut anywhere it is nobody's, and nothing more.
            let _ = remote(&frame[..length]);
        }
        frame[PARKING_PREFIX + ETHERNET_HEADER - 2] = 9;
        assert_eq!(remote(&frame), None);
    }

    #[test]
    fn what_there_is_no_room_for_is_given_back_at_once() {
        let mut lapsed = Lapsed::default();
        for _ in 0..MOST {
            assert_eq!(lapsed.hold(pair(400), &parked(1, 0), 0), None);
        }
        assert_eq!(lapsed.hold(pair(400), &parked(1, 0), 0), Some(parked(1, 0)));
        let settled = lapsed.review(SECOND, |_, _| false);
        assert_eq!(settled.refused.len(), MOST);
        let large = parked(1, 60_000);
        let held = (0..20).filter(|_| lapsed.hold(pair(400), &large, 0).is_none());
        assert_eq!(held.count(), MOST_BYTES / large.len());
    }
}
