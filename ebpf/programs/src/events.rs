//! Tells user space: counters, flows, signals. Nothing is lost without being counted.

use signet_abi::{
    AuthKey, Direction, Flow, Metric, NodeId, Reason, SecurityIdentity, Signal, SignalCause, metrics_index,
};

use crate::maps::{FLOWS, METRICS, SIGNALLED, SIGNALS};
use crate::parse::{Family, Packet};
use crate::proof::Claim;
use crate::zero::zero;

/// Least time between two signals of a pair, ns.
const SIGNAL_INTERVAL: u64 = 200_000_000;
/// In the node of a pair in `SIGNALLED`: the time is that of a packet whose sender was to be told. No node's number has it.
const TOLD: u32 = 1 << 31;

/// What came to light about a packet, for its flow event.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Trace {
    pub source: SecurityIdentity,
    pub destination: SecurityIdentity,
    pub node: NodeId,
    pub rule: u32,
    /// [`signet_abi::ticket_flags`] of the packet, should it be parked.
    pub ticket: u32,
}

impl Trace {
    /// Nothing yet.
    #[inline(always)]
    pub fn empty() -> Self {
        let zero = zero();
        Self {
            source: SecurityIdentity(zero),
            destination: SecurityIdentity(zero),
            node: NodeId(zero),
            rule: zero,
            ticket: zero,
        }
    }
}

/// Counts a packet by its reason.
#[inline(always)]
pub fn count(reason: Reason, direction: Direction, length: u32) {
    add(reason as u8, direction, u64::from(length));
}

#[inline(always)]
fn add(number: u8, direction: Direction, bytes: u64) {
    let Some(counter) = METRICS.get_ptr_mut(metrics_index(number, direction)) else {
        return;
    };
    #[expect(unsafe_code, reason = "map values are raw pointers")]
    // SAFETY: this CPU's own slot of a per-CPU array; programs are not preempted by one another on it.
    let [packets, sum] = unsafe { &mut *counter };
    *packets = packets.wrapping_add(1);
    *sum = sum.wrapping_add(bytes);
}

/// Where and how a packet was judged. Without padding: it is handed to a function of its own.
#[repr(C)]
pub struct Judged {
    at: u64,
    ifindex: u32,
    length: u32,
    reason: Reason,
    hook: u8,
    direction: Direction,
    reserved: u8,
    room: u32,
}

impl Judged {
    /// `hook` is one of [`signet_abi::flow_hooks`].
    #[inline(always)]
    pub fn new(at: u64, ifindex: u32, length: u32, reason: Reason, hook: u8, direction: Direction) -> Self {
        Self {
            at,
            ifindex,
            length,
            reason,
            hook,
            direction,
            reserved: 0,
            room: zero(),
        }
    }
}

/// Reports a packet.
#[inline(always)]
pub fn flow(packet: &Packet, trace: &Trace, judged: &Judged) {
    let _ = signet_flow(packet, trace, judged);
}

/// A function that the verifier looks at once, as in `parse`. It has a stack of its own, of which the hooks have little
/// left.
#[expect(unsafe_code, reason = "a name that stays makes the function global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn signet_flow(packet: *const Packet, trace: *const Trace, judged: *const Judged) -> u32 {
    #[expect(unsafe_code, reason = "the verifier asks for pointers that may be null")]
    // SAFETY: `flow` is the only caller and passes references.
    let (Some(packet), Some(trace), Some(judged)) =
        (unsafe { (packet.as_ref(), trace.as_ref(), judged.as_ref()) })
    else {
        return 1;
    };
    let Some(mut entry) = FLOWS.reserve::<Flow>(0) else {
        add(Metric::FlowLost as u8, judged.direction, 0);
        return 1;
    };
    entry.write(Flow {
        at: judged.at,
        source: packet.tuple.source.abi(),
        destination: packet.tuple.destination.abi(),
        source_identity: trace.source,
        destination_identity: trace.destination,
        node: trace.node,
        rule: trace.rule,
        ifindex: judged.ifindex,
        length: judged.length,
        source_port: packet.tuple.source_port.to_ne_bytes(),
        destination_port: packet.tuple.destination_port.to_ne_bytes(),
        protocol: packet.tuple.protocol,
        reason: judged.reason as u8,
        hook: judged.hook,
        tcp_flags: packet.tcp_flags,
    });
    entry.submit(0);
    0
}

/// Asks for what the pair lacks, unless that was done a moment ago.
#[inline(always)]
pub fn signal(claim: &Claim<'_>, cause: SignalCause, now: u64) {
    let (pair, direction, family) = (claim.pair, claim.hook, claim.family);
    #[expect(unsafe_code, reason = "map values are shared between CPUs")]
    // SAFETY: one aligned word is read.
    let last = unsafe { SIGNALLED.get(pair).copied() };
    if last.is_some_and(|last| now.wrapping_sub(last) < SIGNAL_INTERVAL) {
        add(Metric::SignalSuppressed as u8, direction, 0);
        return;
    }
    let Some(mut entry) = SIGNALS.reserve::<Signal>(0) else {
        // Not noted as signalled, so that the next packet tries again.
        add(Metric::SignalLost as u8, direction, 0);
        return;
    };
    entry.write(Signal {
        local: pair.local,
        remote: pair.remote,
        node: pair.node,
        family: if matches!(family, Family::V4) { 4 } else { 6 },
        cause: cause as u8,
        reserved: [0; 2],
        at: now,
    });
    entry.submit(0);
    add(Metric::SignalSent as u8, direction, 0);
    // If there is no room the pair is merely signalled again.
    let _ = SIGNALLED.insert(pair, &now, 0);
}

/// Whether the sender of a refused packet of this pair may be told: not so often that to refuse becomes dear.
#[inline(always)]
pub fn may_tell(pair: &AuthKey, now: u64) -> bool {
    signet_may_tell(pair, now) != 0
}

/// A function that the verifier looks at once, as in `parse`. It has a stack of its own, of which the hooks have little left.
#[expect(unsafe_code, reason = "a name that stays makes the function global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn signet_may_tell(pair: *const AuthKey, now: u64) -> u32 {
    #[expect(unsafe_code, reason = "the verifier asks for a pointer that may be null")]
    // SAFETY: `may_tell` is the only caller and passes a reference.
    let Some(pair) = (unsafe { pair.as_ref() }) else {
        return 0;
    };
    let key = AuthKey {
        node: NodeId(pair.node.0 | TOLD),
        ..*pair
    };
    #[expect(unsafe_code, reason = "map values are shared between CPUs")]
    // SAFETY: one aligned word is read.
    let last = unsafe { SIGNALLED.get(&key).copied() };
    if last.is_some_and(|last| now.wrapping_sub(last) < SIGNAL_INTERVAL) {
        return 0;
    }
    u32::from(SIGNALLED.insert(&key, &now, 0).is_ok())
}
