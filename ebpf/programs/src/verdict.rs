//! The order of judgement at the two workload hooks, and the table from reasons to actions.

use aya_ebpf::bindings::{BPF_F_INGRESS, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, bpf_redirect};
use aya_ebpf::programs::TcContext;
use signet_abi::{
    ABI_VERSION, AuthKey, Authentication, CtValue, Direction, NodeId, Reason, SecurityIdentity, flow_hooks,
    node_flags, ticket_flags,
};

use crate::address::Words;
use crate::conntrack::{self, Change, ConnectionKey, Found};
use crate::events::{self, Judged, Trace};
use crate::maps::{CONFIG, NODES};
use crate::parse::{self, Kind, Packet, Tuple, protocol};
use crate::proof::Claim;
use crate::{fragment, identity, mark, parking, policy, proof};

/// Where and when a packet is judged, and under which settings.
#[derive(Clone, Copy)]
pub struct Scene {
    pub now: u64,
    pub ifindex: u32,
    pub parking_ifindex: u32,
    pub node: NodeId,
    pub parking_secret: u64,
    policy_epoch: u32,
}

impl Scene {
    /// The settings, if there are any that this program understands.
    #[inline(always)]
    pub fn open(ctx: &TcContext) -> Result<Self, Reason> {
        let index = 0;
        let config = CONFIG.get(index).ok_or(Reason::NoConfig)?;
        if config.abi_version != ABI_VERSION || config.policy_epoch == 0 {
            return Err(Reason::NoConfig);
        }
        Ok(Self {
            now: now(),
            ifindex: parse::ifindex(ctx),
            parking_ifindex: config.parking_ifindex,
            parking_secret: config.parking_secret,
            policy_epoch: config.policy_epoch,
            node: config.node,
        })
    }

    /// Whether the packet comes back from the parking device, into which signet-agent alone can write.
    #[inline(always)]
    pub fn has_waited(&self, ctx: &TcContext) -> bool {
        self.parking_ifindex != 0 && parse::received_by(ctx) == self.parking_ifindex
    }

    /// The same for a packet that has waited once: without a proof it is dropped now, and not parked for ever.
    #[inline(always)]
    pub fn without_parking(self) -> Self {
        Self {
            parking_ifindex: 0,
            ..self
        }
    }
}

/// `CLOCK_BOOTTIME`, ns.
#[inline(always)]
pub fn now() -> u64 {
    #[expect(unsafe_code, reason = "kernel helper")]
    // SAFETY: takes nothing, returns a number.
    unsafe {
        bpf_ktime_get_boot_ns()
    }
}

/// Judges a packet of a local endpoint, going `direction` as the endpoint sees it.
///
/// 1. Which connection it belongs to (for an ICMP error: the one that it is about).
/// 2. If that connection was allowed under the present policy: the proof and the lease alone.
/// 3. Else: whose address is it, who is the other side, what does the rule for the opener's direction say, is there a
///    proof, and does the other side's owner stand by its address. Only then is the connection remembered.
#[inline(always)]
pub fn judge<K: ConnectionKey>(
    ctx: &TcContext,
    scene: &Scene,
    direction: Direction,
    packet: &Packet,
    trace: &mut Trace,
) -> Result<Change, Reason> {
    let error;
    let about = if packet.kind == Kind::Error {
        error = related(ctx, direction, packet);
        error.as_ref()
    } else {
        Some(&packet.tuple)
    };
    let is_error = packet.kind == Kind::Error;
    let mut case = Case {
        tuple: &packet.tuple,
        going: direction,
        hook: direction,
        packet,
    };
    let found = about.and_then(|tuple| {
        let going = if is_error { direction.opposite() } else { direction };
        let found = conntrack::find::<K>(tuple, packet.kind, going, scene.now)?;
        (case.tuple, case.going) = (tuple, going);
        Some(found)
    });
    decide::<K>(scene, &case, found.as_ref(), trace)
}

/// What is judged: for an ICMP error it is the connection that the error is about.
struct Case<'a> {
    tuple: &'a Tuple,
    /// Which way a packet with this tuple goes.
    going: Direction,
    /// Which way the packet at hand goes.
    hook: Direction,
    packet: &'a Packet,
}

impl Case<'_> {
    /// The other side's address.
    #[inline(always)]
    fn remote(&self) -> &Words {
        match self.going {
            Direction::Ingress => &self.tuple.source,
            Direction::Egress => &self.tuple.destination,
        }
    }

    /// What has to be proven.
    #[inline(always)]
    fn claim<'b>(&'b self, pair: &'b AuthKey) -> Claim<'b> {
        Claim {
            pair,
            remote: self.remote(),
            hook: self.hook,
            family: self.packet.family,
            forwarded: self.packet.forwarded != 0,
        }
    }

    /// Whether the packet opens a connection or keeps it alive. An error does neither.
    #[inline(always)]
    fn is_tracked(&self) -> bool {
        self.packet.kind != Kind::Error
    }
}

#[inline(always)]
fn decide<K: ConnectionKey>(
    scene: &Scene,
    case: &Case<'_>,
    found: Option<&Found>,
    trace: &mut Trace,
) -> Result<Change, Reason> {
    if let Some(found) = found
        && holds(&found.value, scene)
    {
        let value = &found.value;
        let pair = AuthKey {
            local: value.local,
            remote: value.remote,
            node: value.node,
        };
        note(trace, case.hook, &pair, value.rule);
        let authentication = policy::authentication(value.authentication);
        trace.ticket = ticket(authentication);
        let _proven = match proof::demand(authentication, &case.claim(&pair), scene) {
            Ok(proven) => proven,
            Err(reason) => return Err(lapsed(reason, case, &pair, scene, trace)),
        };
        if !case.is_tracked() {
            return Ok(Change::None);
        }
        return Ok(conntrack::refresh::<K>(
            case.tuple,
            case.going,
            found,
            case.packet.tcp_flags,
            scene.now,
        ));
    }
    let (local, remote, unknown) = match case.going {
        Direction::Ingress => (
            &case.tuple.destination,
            &case.tuple.source,
            Reason::EndpointNotReady,
        ),
        Direction::Egress => (
            &case.tuple.source,
            &case.tuple.destination,
            Reason::InvalidSourceIp,
        ),
    };
    let endpoint = identity::local(local, scene.ifindex, unknown)?;
    let other = identity::remote(remote, scene.node)?;
    let pair = AuthKey {
        local: endpoint.identity,
        remote: other.identity,
        node: other.node,
    };
    note(trace, case.hook, &pair, 0);
    let forward = found.is_none_or(|found| found.forward);
    let opener = if forward {
        case.going
    } else {
        case.going.opposite()
    };
    let port = policy::port(case.tuple, forward);
    let rule = policy::judge(
        &endpoint,
        other.identity,
        opener,
        case.tuple.protocol,
        port,
        &mut trace.rule,
    )?;
    trace.ticket = ticket(rule.authentication());
    if rule.authentication().asks_for_proof() && identity::is_contested(remote) {
        return Err(told(
            Reason::SeveralIdentities,
            ticket_flags::REFUSED,
            &pair,
            scene,
            trace,
        ));
    }
    // Another node lends its address to whom it masquerades: who opens a connection from there need not be a process of the node's.
    if opener == Direction::Ingress
        && other.identity == SecurityIdentity::REMOTE_NODE
        && rule.authentication().asks_for_proof()
    {
        return Err(told(
            Reason::SharedNodeAddress,
            ticket_flags::REFUSED,
            &pair,
            scene,
            trace,
        ));
    }
    let _proven = match proof::demand(rule.authentication(), &case.claim(&pair), scene) {
        Ok(proven) => proven,
        Err(reason) => return Err(lapsed(reason, case, &pair, scene, trace)),
    };
    if !case.is_tracked() {
        return Ok(Change::None);
    }
    let value = CtValue {
        expires: 0,
        policy_epoch: scene.policy_epoch,
        local: pair.local,
        remote: pair.remote,
        node: pair.node,
        rule: rule.number(),
        ifindex: scene.ifindex,
        authentication: rule.authentication() as u8,
        flags: 0,
        reserved: 0,
        room: 0,
    };
    conntrack::remember::<K>(
        case.tuple,
        case.going,
        found,
        case.packet.tcp_flags,
        scene.now,
        value,
    )
}

/// A packet that is refused for good, and whose rule wants its sender told, goes by way of signet-agent: that one tells the sender and
/// gives the packet back, to be dropped for what it is. A few of each pair: the others are dropped at once.
#[inline(always)]
fn told(reason: Reason, flag: u8, pair: &AuthKey, scene: &Scene, trace: &mut Trace) -> Reason {
    let wanted = trace.ticket & u32::from(ticket_flags::TELL) != 0;
    if wanted && scene.parking_ifindex != 0 && events::may_tell(pair, scene.now) {
        trace.ticket |= u32::from(flag);
        return Reason::Parked;
    }
    reason
}

/// The same for what lacks a lease alone. A lapse ends by itself, and connections outlive it: only who opens one is told.
#[inline(always)]
fn lapsed(reason: Reason, case: &Case<'_>, pair: &AuthKey, scene: &Scene, trace: &mut Trace) -> Reason {
    let packet = case.packet;
    let opens = packet.tuple.protocol != protocol::TCP || packet.kind == Kind::Opening;
    if reason == Reason::LeaseExpired && opens {
        told(reason, ticket_flags::LAPSED, pair, scene, trace)
    } else {
        reason
    }
}

/// What signet-agent has to know of a packet, should it be parked.
#[inline(always)]
fn ticket(authentication: Authentication) -> u32 {
    match authentication {
        Authentication::RequiredOrRejected => u32::from(ticket_flags::TELL),
        Authentication::Disabled | Authentication::Required | Authentication::AlwaysFail => 0,
    }
}

/// Whether a cached verdict still says what the maps say.
#[inline(always)]
fn holds(value: &CtValue, scene: &Scene) -> bool {
    value.policy_epoch == scene.policy_epoch && value.ifindex == scene.ifindex
}

/// What an ICMP error is about, if the error goes to whoever sent that packet (RFC 792, RFC 4443 section 2.2) and comes
/// from where it may: the packet's destination or, towards an endpoint, also a router, which no workload is. If that is
/// no live connection, the error is judged like any other message; nothing is remembered of it.
#[inline(always)]
fn related(ctx: &TcContext, direction: Direction, packet: &Packet) -> Option<Tuple> {
    let tuple = packet.embedded(ctx)?;
    if tuple.source != packet.tuple.destination {
        return None;
    }
    let source = &packet.tuple.source;
    let fits = tuple.destination == *source
        || direction == Direction::Ingress
            && !identity::known(source).is_some_and(|known| known.identity.is_workload());
    fits.then_some(tuple)
}

#[inline(always)]
pub fn note(trace: &mut Trace, hook: Direction, pair: &AuthKey, rule: u32) {
    (trace.source, trace.destination) = match hook {
        Direction::Ingress => (pair.remote, pair.local),
        Direction::Egress => (pair.local, pair.remote),
    };
    trace.node = pair.node;
    trace.rule = rule;
}

/// Counts and reports a judged packet, and says what the kernel is to do with it.
#[inline(always)]
pub fn conclude(
    ctx: &TcContext,
    direction: Direction,
    packet: &Packet,
    trace: &Trace,
    scene: Option<&Scene>,
    outcome: Result<Change, Reason>,
) -> i32 {
    if let Some(scene) = scene {
        fragment::remember(packet, scene, direction, &outcome);
    }
    let (reason, worth_telling) = match outcome {
        Ok(Change::None) => (Reason::Forwarded, false),
        Ok(Change::Opened | Change::Closed) => (Reason::Forwarded, true),
        // Counted alone: that nobody hears of groups is no news.
        Err(Reason::UnknownL4) if packet.is_group_message() => (Reason::UnknownL4, false),
        Err(reason) => (reason, true),
    };
    // Before the packet grows.
    let length = ctx.len();
    let reason = match (reason, scene) {
        (Reason::Parked, Some(scene)) => parking::stamp(ctx, direction, trace, scene),
        (reason, _) => reason,
    };
    events::count(reason, direction, length);
    if worth_telling {
        let hook = match direction {
            Direction::Ingress => flow_hooks::TO_CONTAINER,
            Direction::Egress => flow_hooks::FROM_CONTAINER,
        };
        let (at, ifindex) = match scene {
            Some(scene) => (scene.now, scene.ifindex),
            None => (now(), parse::ifindex(ctx)),
        };
        let told = match reason {
            Reason::Forwarded => over_the_wire(ctx, direction, trace),
            reason => reason,
        };
        let judged = Judged::new(at, ifindex, length, told, hook, direction);
        events::flow(packet, trace, &judged);
    }
    action(reason, scene.map_or(0, |scene| scene.parking_ifindex))
}

/// How a packet that passes goes to the other node, or has come from there, for its flow event. One that leaves meets the
/// same entry of `NODES` once more, in `to_netdev`; one that arrives bears the tunnel's mark. The counters count what
/// those programs do.
#[inline(always)]
fn over_the_wire(ctx: &TcContext, direction: Direction, trace: &Trace) -> Reason {
    match direction {
        Direction::Ingress if mark::is_decrypted(ctx) => Reason::Decrypted,
        // No tunnel leads to a node itself.
        Direction::Egress if trace.destination == SecurityIdentity::REMOTE_NODE => Reason::Forwarded,
        Direction::Egress => {
            let peer = trace.node;
            #[expect(unsafe_code, reason = "map values are shared with user space")]
            // SAFETY: two aligned words are read.
            let state = unsafe { NODES.get(&peer) };
            match state {
                Some(state) if state.flags & node_flags::SEND_ENCRYPTED != 0 && state.tunnel_ifindex != 0 => {
                    Reason::Encrypted
                }
                Some(_) | None => Reason::Forwarded,
            }
        }
        Direction::Ingress => Reason::Forwarded,
    }
}

/// The table. What passes goes on to the programs behind ours (`TC_ACT_UNSPEC`), so that others may still refuse it.
#[inline(always)]
fn action(reason: Reason, parking_ifindex: u32) -> i32 {
    match reason {
        Reason::Forwarded | Reason::Encrypted | Reason::Decrypted | Reason::Rejected => TC_ACT_UNSPEC,
        Reason::Parked => redirect(parking_ifindex),
        Reason::InvalidSourceIp
        | Reason::PolicyDenied
        | Reason::InvalidPacket
        | Reason::UnknownL3
        | Reason::UnknownL4
        | Reason::CtCreateFailed
        | Reason::InvalidExtensionHeader
        | Reason::FragmentNotSupported
        | Reason::NoConfig
        | Reason::InvalidIdentity
        | Reason::FragmentNotFound
        | Reason::PolicyDeny
        | Reason::AuthenticationRequired
        | Reason::Unencrypted
        | Reason::EndpointNotReady
        | Reason::AuthenticationAlwaysFails
        | Reason::LeaseExpired
        | Reason::NotRegistered
        | Reason::SharedNodeAddress
        | Reason::SeveralIdentities => TC_ACT_SHOT as i32,
    }
}

/// Sends the packet out of another device; the kernel drops it if there is none.
#[inline(always)]
pub fn redirect(ifindex: u32) -> i32 {
    const EGRESS: u64 = 0;
    redirect_by(ifindex, EGRESS)
}

/// Lets another device receive the packet; the kernel drops it if there is none.
#[inline(always)]
pub fn redirect_into(ifindex: u32) -> i32 {
    redirect_by(ifindex, u64::from(BPF_F_INGRESS))
}

#[inline(always)]
fn redirect_by(ifindex: u32, flags: u64) -> i32 {
    #[expect(unsafe_code, reason = "kernel helper")]
    // SAFETY: takes two numbers and notes them for the action that it returns.
    let action = unsafe { bpf_redirect(ifindex, flags) };
    action as i32
}
