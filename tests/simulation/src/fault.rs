//! What goes wrong, and changes, in a simulated cluster.

use std::net::IpAddr;
use std::time::Duration;

use signet_session::NodeNumber;

use crate::agenda::nanos;
use crate::dice::Dice;
use crate::names::{node, own_address, shared_address};
use crate::rules::Rule;

/// One of them. Numbers of workloads are those of [`crate::names::workload`].
#[derive(Clone, Debug)]
pub enum Fault {
    /// An agent dies, and is started anew.
    Crash(NodeNumber),
    /// A node is without power, and boots.
    Reboot(NodeNumber),
    /// Nothing gets through between these nodes and all others.
    Partition(Vec<NodeNumber>),
    /// The network breaks all connections between two nodes.
    Reset(NodeNumber, NodeNumber),
    /// A node's signet-meshd is away, or hangs: its agent hears nothing, and is told nothing of that.
    MeshAway(NodeNumber),
    /// A node hears nothing from the CA.
    CaAway(NodeNumber),
    /// A node's control plane tells it of no address.
    Stale(NodeNumber),
    /// An address becomes a workload's on a node, or nobody's.
    Move(IpAddr, Option<(NodeNumber, u32)>),
    /// An address gets into other hands, in a cluster that is told of nothing: no node hears of any address, and the agent of the node
    /// that had it is dead, or does not see its own endpoints.
    Reuse {
        /// The node that had it.
        on: NodeNumber,
        /// Which of the addresses that it shares with its neighbour.
        slot: u8,
        /// Whose it becomes.
        owner: (NodeNumber, u32),
        /// Whether the agent is dead, or blind.
        dead: bool,
    },
    /// A workload is not registered on a node.
    Deregister(NodeNumber, u32),
    /// What a node was given for a workload is revoked.
    Revoke(NodeNumber, u32),
    /// A node gets new SVIDs.
    Renew(NodeNumber),
    /// A node shows the key that another node was given for a workload, and claims to be where it lives.
    Steal(NodeNumber, NodeNumber, u32),
    /// A node is banned, for good.
    Ban(NodeNumber),
    /// The CA signs with a new key.
    NewAuthority,
    /// What the CA signed with any but its newest key is revoked.
    RevokeOld,
    /// A policy says something else of the packets of one workload to another one.
    Rule(u32, u32, Rule),
    /// A node's wall clock is turned by so many seconds, and back.
    Step(NodeNumber, i64),
}

/// A fault, when, and for how long.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Simulated ns.
    pub at: u64,
    /// When it is over.
    pub until: u64,
    /// Which.
    pub fault: Fault,
}

/// So many faults within this time, in a cluster of so many nodes and workloads.
pub fn plan(dice: &mut Dice, count: usize, time: Duration, nodes: u32, workloads: u32) -> Vec<Planned> {
    let mut plan = Vec::new();
    for _ in 0..count {
        let at = dice.between(0, nanos(time));
        let lasting = dice.between(nanos(Duration::from_millis(100)), nanos(Duration::from_secs(25)));
        let planned = Planned {
            at,
            until: at + lasting,
            fault: any(dice, nodes, workloads),
        };
        if let Fault::Revoke(..) = planned.fault {
            // While what the first of them took away is being proven anew.
            for _ in 0..dice.between(0, 4) {
                let at = at + dice.between(0, nanos(Duration::from_secs(1)));
                plan.push(Planned {
                    at,
                    until: at,
                    ..planned.clone()
                });
            }
        }
        plan.push(planned);
    }
    plan.sort_by_key(|planned| planned.at);
    plan
}

fn any(dice: &mut Dice, nodes: u32, workloads: u32) -> Fault {
    let one = |dice: &mut Dice| node(small(dice.between(1, u64::from(nodes))));
    let work = |dice: &mut Dice| small(dice.between(0, u64::from(workloads) - 1));
    match dice.between(0, 119) {
        0..=11 => Fault::Crash(one(dice)),
        12..=16 => Fault::Reboot(one(dice)),
        17..=30 => {
            let size = dice.between(1, u64::from(nodes / 2).max(1));
            Fault::Partition((0..size).map(|_| one(dice)).collect())
        }
        31..=40 => {
            let (a, b) = (one(dice), one(dice));
            Fault::Reset(a, b)
        }
        41..=46 => Fault::MeshAway(one(dice)),
        47..=52 => Fault::CaAway(one(dice)),
        53..=58 => Fault::Stale(one(dice)),
        59..=66 => {
            let on = one(dice);
            // Its neighbour by number has the same block.
            let other = node((on.get() ^ 1).clamp(1, nodes));
            let to = if dice.chance(50) { on } else { other };
            Fault::Reuse {
                on,
                slot: 0,
                owner: (to, work(dice)),
                dead: dice.chance(50),
            }
        }
        67..=77 => {
            let on = one(dice);
            let slot = u8::try_from(dice.between(0, 1)).unwrap_or(0);
            let address = if dice.chance(50) {
                own_address(on, slot)
            } else {
                shared_address(on, slot)
            };
            let owner = dice.chance(80).then(|| (on, work(dice)));
            Fault::Move(address, owner)
        }
        78..=81 => Fault::Deregister(one(dice), work(dice)),
        82..=86 => Fault::Revoke(one(dice), work(dice)),
        87..=90 => Fault::Renew(one(dice)),
        91..=94 => {
            let (from, to) = (one(dice), one(dice));
            Fault::Steal(from, to, work(dice))
        }
        95 => Fault::Ban(one(dice)),
        96..=97 => Fault::NewAuthority,
        98..=99 => Fault::RevokeOld,
        100..=109 => {
            let (from, to) = (work(dice), work(dice));
            let rules = [
                Rule::Open,
                Rule::Required,
                Rule::Rejecting,
                Rule::Rejecting,
                Rule::Denied,
            ];
            Fault::Rule(from, to, dice.pick(&rules).copied().unwrap_or_default())
        }
        _ => {
            let on = one(dice);
            // Minutes and hours, as after a night in suspension or a wrong battery.
            let step = dice.pick(&[20, 300, 3_600, 21_600]).copied().unwrap_or(20);
            Fault::Step(on, if dice.chance(50) { step } else { -step })
        }
    }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
