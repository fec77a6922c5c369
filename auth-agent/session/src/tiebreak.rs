//! One session per pair of nodes.

use crate::id::{Instance, NodeNumber};

/// Which side opened the TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialer {
    /// This node.
    Us,
    /// The peer.
    Peer,
}

/// One of two sessions with the same node.
#[derive(Clone, Copy, Debug)]
pub struct Contender {
    /// Who dialed.
    pub dialer: Dialer,
    /// The peer's start, from its hello.
    pub instance: Instance,
}

/// Which of the two lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The one that was there.
    Existing,
    /// The one that has just come.
    New,
}

/// Decides between two sessions with `peer`. Both nodes come to the same answer for a simultaneous open: the
/// connection dialed by the lower number wins. A peer that has restarted, or that dials once more, has lost the
/// existing one already.
pub fn keep(local: NodeNumber, peer: NodeNumber, existing: Contender, new: Contender) -> Keep {
    if existing.instance != new.instance || existing.dialer == new.dialer {
        return Keep::New;
    }
    let winner = if local < peer { Dialer::Us } else { Dialer::Peer };
    if new.dialer == winner {
        Keep::New
    } else {
        Keep::Existing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Instance = Instance([1; 16]);
    const B: Instance = Instance([2; 16]);

    fn node(number: u32) -> NodeNumber {
        NodeNumber::new(number).expect("not zero")
    }

    /// The two ends of a connection see its dialer the other way round.
    fn seen_by_peer(dialer: Dialer) -> Dialer {
        match dialer {
            Dialer::Us => Dialer::Peer,
            Dialer::Peer => Dialer::Us,
        }
    }

    #[test]
    fn both_nodes_keep_the_same_connection_of_a_simultaneous_open_in_every_order() {
        let (low, high) = (node(1), node(2));
        for low_first in [Dialer::Us, Dialer::Peer] {
            for high_first in [Dialer::Us, Dialer::Peer] {
                let kept = |local, peer, first: Dialer, instance| {
                    let second = seen_by_peer(first);
                    let existing = Contender {
                        dialer: first,
                        instance,
                    };
                    match keep(
                        local,
                        peer,
                        existing,
                        Contender {
                            dialer: second,
                            instance,
                        },
                    ) {
                        Keep::Existing => first,
                        Keep::New => second,
                    }
                };
                let at_low = kept(low, high, low_first, B);
                let at_high = kept(high, low, high_first, A);
                assert_eq!(at_low, Dialer::Us, "the lower number's connection wins");
                assert_eq!(at_low, seen_by_peer(at_high), "both keep the same one");
            }
        }
    }

    #[test]
    fn a_restarted_peer_replaces_its_old_session_even_if_the_old_one_would_win() {
        let existing = Contender {
            dialer: Dialer::Us,
            instance: A,
        };
        let new = Contender {
            dialer: Dialer::Peer,
            instance: B,
        };
        assert_eq!(keep(node(1), node(2), existing, new), Keep::New);
    }

    #[test]
    fn a_second_dial_of_the_same_side_replaces_the_first() {
        let contender = Contender {
            dialer: Dialer::Peer,
            instance: A,
        };
        assert_eq!(keep(node(1), node(2), contender, contender), Keep::New);
    }
}
