//! Connections: who opened them, whether they still live, and the last verdict on them.
//!
//! IPv4 and IPv6 differ in their keys only ([`ConnectionKey`]).

use aya_ebpf::maps::LruHashMap;
use signet_abi::{Ct4Key, Ct6Key, CtValue, Direction, NodeId, Reason, SecurityIdentity, ct_flags};

use crate::maps::{CT4, CT6};
use crate::parse::{Kind, Tuple, protocol, tcp};
use crate::zero::zero;

const SECOND: u64 = 1_000_000_000;
/// TCP before the responder has answered.
const TCP_OPENING: u64 = 60 * SECOND;
/// TCP after it has. Longer than two hours, the usual keep-alive (RFC 9293 section 3.8.4).
const TCP_ESTABLISHED: u64 = 8_000 * SECOND;
/// TCP after one side's FIN.
const TCP_HALF_CLOSED: u64 = 120 * SECOND;
/// TCP after both FINs, or RST.
const TCP_CLOSED: u64 = 10 * SECOND;
/// ICMP echo.
const ICMP: u64 = 30 * SECOND;
/// Other protocols before the responder has answered.
const OTHER_OPENING: u64 = 30 * SECOND;
/// Other protocols after it has.
const OTHER_ESTABLISHED: u64 = 180 * SECOND;
/// An entry's expiry is not moved by less, so that most packets write nothing.
const GRANULE: u64 = SECOND;

/// The key of a family's map.
pub trait ConnectionKey: Copy + 'static {
    /// The key of the connection whose initiator sent `tuple`, or whose responder did if `reply`.
    fn new(tuple: &Tuple, reply: bool, opener: Direction) -> Self;
    /// The family's map.
    fn table() -> &'static LruHashMap<Self, CtValue>;
    /// Looks for a live connection in the family's map; see [`apart`].
    fn find(tuple: &Tuple, ask: u32, now: u64, value: &mut CtValue) -> u32;
}

macro_rules! connection_key {
    ($key:ident, $table:ident, $address:ident, $find:ident) => {
        impl ConnectionKey for $key {
            #[inline(always)]
            fn new(tuple: &Tuple, reply: bool, opener: Direction) -> Self {
                let sender = (&tuple.source, tuple.source_port);
                let receiver = (&tuple.destination, tuple.destination_port);
                let (initiator, responder) = if reply {
                    (receiver, sender)
                } else {
                    (sender, receiver)
                };
                Self {
                    source: initiator.0.$address(),
                    destination: responder.0.$address(),
                    source_port: initiator.1.to_ne_bytes(),
                    destination_port: responder.1.to_ne_bytes(),
                    protocol: tuple.protocol,
                    direction: opener as u8,
                    reserved: [0; 2],
                }
            }

            #[inline(always)]
            fn table() -> &'static LruHashMap<Self, CtValue> {
                &$table
            }

            #[inline(always)]
            fn find(tuple: &Tuple, ask: u32, now: u64, value: &mut CtValue) -> u32 {
                apart::$find(tuple, ask, now, value)
            }
        }
    };
}
connection_key!(Ct4Key, CT4, v4, signet_find4);
connection_key!(Ct6Key, CT6, bytes, signet_find6);

/// A live entry.
#[derive(Clone, Copy)]
pub struct Found {
    /// What it said when it was looked up.
    pub value: CtValue,
    /// The packet goes from initiator to responder.
    pub forward: bool,
}

/// What the packet meant for its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing worth telling.
    None,
    /// It is the first.
    Opened,
    /// It ends it.
    Closed,
}

/// The live connection that a packet with this tuple, seen going `direction`, belongs to.
#[inline(always)]
pub fn find<K: ConnectionKey>(tuple: &Tuple, kind: Kind, direction: Direction, now: u64) -> Option<Found> {
    let ends = match kind {
        // Judged anew: the ports may be used a second time.
        Kind::Opening | Kind::Discovery => return None,
        Kind::Forward => apart::FORWARD,
        Kind::Reply => apart::REPLY,
        Kind::Segment | Kind::Error => apart::EITHER,
    };
    let mut value = empty();
    let found = K::find(tuple, ends | direction as u32, now, &mut value);
    let forward = found == apart::FORWARD;
    if found == apart::NONE {
        return None;
    }
    Some(Found { value, forward })
}

/// Room for an entry that is looked for.
#[inline(always)]
fn empty() -> CtValue {
    let zero = zero();
    CtValue {
        expires: u64::from(zero),
        policy_epoch: zero,
        local: SecurityIdentity(zero),
        remote: SecurityIdentity(zero),
        node: NodeId(zero),
        rule: zero,
        ifindex: zero,
        authentication: 0,
        flags: 0,
        reserved: 0,
        room: zero,
    }
}

/// Look-ups, in functions that the verifier looks at once ("global" ones, as in `parse`).
mod apart {
    use signet_abi::{Ct4Key, Ct6Key, CtValue, Direction};

    use super::ConnectionKey;
    use crate::parse::Tuple;

    /// The packet may go from initiator to responder. As a result: it does.
    pub(super) const FORWARD: u32 = 2;
    /// The packet may go from responder to initiator. As a result: it does.
    pub(super) const REPLY: u32 = 4;
    /// It may go either way.
    pub(super) const EITHER: u32 = FORWARD | REPLY;
    /// There is no live connection.
    pub(super) const NONE: u32 = 0;

    #[expect(unsafe_code, reason = "a name that stays makes the function global")]
    #[unsafe(no_mangle)]
    #[inline(never)]
    pub(super) extern "C" fn signet_find4(
        tuple: *const Tuple,
        ask: u32,
        now: u64,
        value: *mut CtValue,
    ) -> u32 {
        find::<Ct4Key>(tuple, ask, now, value)
    }

    #[expect(unsafe_code, reason = "a name that stays makes the function global")]
    #[unsafe(no_mangle)]
    #[inline(never)]
    pub(super) extern "C" fn signet_find6(
        tuple: *const Tuple,
        ask: u32,
        now: u64,
        value: *mut CtValue,
    ) -> u32 {
        find::<Ct6Key>(tuple, ask, now, value)
    }

    /// `ask`: the ends in question, and the direction that the packet is seen going. Writes `value` if it finds one.
    #[inline(always)]
    fn find<K: ConnectionKey>(tuple: *const Tuple, ask: u32, now: u64, value: *mut CtValue) -> u32 {
        #[expect(unsafe_code, reason = "the verifier asks for pointers that may be null")]
        // SAFETY: `super::find` is the only caller and passes references to different objects.
        let (Some(tuple), Some(value)) = (unsafe { (tuple.as_ref(), value.as_mut()) }) else {
            return NONE;
        };
        let direction = if ask & 1 == Direction::Ingress as u32 {
            Direction::Ingress
        } else {
            Direction::Egress
        };
        // Servers mostly have the lower port: a good guess saves a look-up.
        let reply_first = ask & FORWARD == 0
            || (ask & REPLY != 0 && u16::from_be(tuple.source_port) < u16::from_be(tuple.destination_port));
        if look_up::<K>(tuple, reply_first, direction, now, value) {
            return result(reply_first);
        }
        if ask & EITHER == EITHER && look_up::<K>(tuple, !reply_first, direction, now, value) {
            return result(!reply_first);
        }
        NONE
    }

    #[inline(always)]
    fn result(reply: bool) -> u32 {
        if reply { REPLY } else { FORWARD }
    }

    #[inline(always)]
    fn look_up<K: ConnectionKey>(
        tuple: &Tuple,
        reply: bool,
        direction: Direction,
        now: u64,
        value: &mut CtValue,
    ) -> bool {
        let opener = if reply { direction.opposite() } else { direction };
        let key = K::new(tuple, reply, opener);
        #[expect(unsafe_code, reason = "map values are shared with other processors")]
        // SAFETY: the kernel keeps the memory valid while the program runs, and any bits are a value. The map may give
        // it to another connection meanwhile (it is an LRU), though hardly in the few instructions of this copy: then
        // this one packet, of a connection that was allowed once, is judged by that one's verdict and proof.
        let Some(entry) = (unsafe { K::table().get(&key) }) else {
            return false;
        };
        // Not as a whole: see `zero`.
        value.expires = entry.expires;
        value.policy_epoch = entry.policy_epoch;
        value.local = entry.local;
        value.remote = entry.remote;
        value.node = entry.node;
        value.rule = entry.rule;
        value.ifindex = entry.ifindex;
        value.authentication = entry.authentication;
        value.flags = entry.flags;
        now < value.expires
    }
}

/// Notes a further packet of a connection whose cached verdict holds, as `find` found it for the same arguments.
#[inline(always)]
pub fn refresh<K: ConnectionKey>(
    tuple: &Tuple,
    direction: Direction,
    found: &Found,
    tcp_flags: u8,
    now: u64,
) -> Change {
    let flags = advance(found.value.flags, found.forward, tcp_flags);
    let expires = now + lifetime(tuple.protocol, flags);
    let due = expires >= found.value.expires + GRANULE || expires + GRANULE <= found.value.expires;
    if flags == found.value.flags && !due {
        return Change::None;
    }
    let key = K::new(tuple, !found.forward, opener(direction, found.forward));
    if let Some(entry) = K::table().get_ptr_mut(&key) {
        #[expect(unsafe_code, reason = "map values are raw pointers")]
        // SAFETY: the kernel keeps the memory valid while the program runs; a byte and an aligned word are written in
        // one piece each. Should the map give the entry to another connection meanwhile, that one's life is set wrong
        // until its next packet; who opened it and its verdict stay its own.
        unsafe {
            (*entry).flags = flags;
            (*entry).expires = expires;
        }
    }
    if is_closed(flags) && !is_closed(found.value.flags) {
        Change::Closed
    } else {
        Change::None
    }
}

#[inline(always)]
fn opener(direction: Direction, forward: bool) -> Direction {
    if forward { direction } else { direction.opposite() }
}

/// Writes the entry of a connection that has just been judged, as one piece.
#[inline(always)]
pub fn remember<K: ConnectionKey>(
    tuple: &Tuple,
    direction: Direction,
    found: Option<&Found>,
    tcp_flags: u8,
    now: u64,
    mut value: CtValue,
) -> Result<Change, Reason> {
    let forward = found.is_none_or(|found| found.forward);
    let before = found.map_or(0, |found| found.value.flags);
    value.flags = advance(before, forward, tcp_flags);
    value.expires = now + lifetime(tuple.protocol, value.flags);
    let key = K::new(tuple, !forward, opener(direction, forward));
    K::table()
        .insert(&key, &value, 0)
        .map_err(|_| Reason::CtCreateFailed)?;
    Ok(match found {
        None => Change::Opened,
        Some(_) if is_closed(value.flags) && !is_closed(before) => Change::Closed,
        Some(_) => Change::None,
    })
}

#[inline(always)]
fn advance(mut flags: u8, forward: bool, tcp_flags: u8) -> u8 {
    if !forward {
        flags |= ct_flags::SEEN_REPLY;
    }
    if tcp_flags & tcp::FIN != 0 {
        flags |= if forward {
            ct_flags::FIN_FORWARD
        } else {
            ct_flags::FIN_REPLY
        };
    }
    if tcp_flags & tcp::RST != 0 {
        flags |= ct_flags::RST;
    }
    flags
}

#[inline(always)]
const fn is_closed(flags: u8) -> bool {
    const BOTH: u8 = ct_flags::FIN_FORWARD | ct_flags::FIN_REPLY;
    flags & ct_flags::RST != 0 || flags & BOTH == BOTH
}

#[inline(always)]
const fn lifetime(protocol: u8, flags: u8) -> u64 {
    let answered = flags & ct_flags::SEEN_REPLY != 0;
    match protocol {
        protocol::TCP if is_closed(flags) => TCP_CLOSED,
        protocol::TCP if flags & (ct_flags::FIN_FORWARD | ct_flags::FIN_REPLY) != 0 => TCP_HALF_CLOSED,
        protocol::TCP if answered => TCP_ESTABLISHED,
        protocol::TCP => TCP_OPENING,
        protocol::ICMP | protocol::ICMPV6 => ICMP,
        _ if answered => OTHER_ESTABLISHED,
        _ => OTHER_OPENING,
    }
}
