//! What the policies of one end say, and whether what they ask for is there.

use std::time::Duration;

use signet_abi::{AuthKey, NodeId, Reason, SecurityIdentity};
use signet_endpoints::{EndpointReport, EndpointState};
use signet_policy::{
    Authentication, Direction, Identities, Judgement, Packet, Peer, RuleNumber, Selection,
    judge as judge_packet, select,
};

use super::answer::{Answer, Verdict};
use super::side::Side;
use super::{Maps, Question, lease};
use crate::known::Known;

pub(super) const fn title(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress policy",
        Direction::Egress => "egress policy",
    }
}

/// Judges the half of `local`, whose report is `report`.
#[expect(
    clippy::too_many_arguments,
    reason = "all of them make up one half of one connection"
)]
pub(super) fn judge(
    question: &Question,
    known: &Known,
    maps: &impl Maps,
    direction: Direction,
    report: &EndpointReport,
    local: &Side<'_>,
    remote: &Side<'_>,
    answer: &mut Answer,
) {
    if !is_set_up(&report.state) || report.ifindex.is_none() {
        answer.refused(
            "endpoint",
            format!("{} is not set up: {}", report.workload, report.state),
        );
        let next = format!("see `signet status` for what is wrong with {}", report.workload);
        answer.conclude(Verdict::Refused, Some(Reason::EndpointNotReady), &next);
    }
    let Some((set, workload)) = known.set().zip(known.workload(&report.workload)) else {
        return;
    };
    let selection = select(
        set.policies(),
        set.table(),
        &workload.name.namespace,
        &workload.labels,
    );
    let none = Identities::default();
    let identities = known.view.as_ref().map_or(&none, |view| &view.identities);
    let protocol = question.protocol(local.address);
    let packet = Packet {
        direction,
        peer: remote.identity,
        protocol,
        port: question.port,
    };
    let step = title(direction);
    let names = selection
        .policies
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let rule = |number: RuleNumber| known.rule_name(number.get());
    match judge_packet(&selection, identities, packet) {
        Judgement::NotSelected => answer.ok(
            step,
            format!("no policy selects {}: all is allowed", report.workload),
        ),
        Judgement::NoRule => {
            let detail = format!(
                "no rule of {names} lets {} and {} talk",
                remote.name(),
                question.traffic()
            );
            answer.refused(step, detail);
            let next = suggestion(question, known, identities, &selection, packet, remote, &names);
            answer.conclude(Verdict::Refused, Some(Reason::PolicyDenied), &next);
        }
        Judgement::Deny { rule: number } => {
            answer.refused(step, format!("{} denies it", rule(number)));
            let next = format!("change or remove {} if it should be allowed", rule(number));
            answer.conclude(Verdict::Refused, Some(Reason::PolicyDeny), &next);
        }
        Judgement::Allow {
            authentication: Authentication::Disabled,
            rule: number,
        } => {
            answer.ok(step, format!("{} allows it", rule(number)));
        }
        Judgement::Allow {
            authentication: Authentication::AlwaysFail,
            rule: number,
        } => {
            answer.refused(
                step,
                format!("{} allows it with `authentication: always-fail`", rule(number)),
            );
            let next = format!(
                "write `authentication: required` in {} if it should be allowed",
                rule(number)
            );
            answer.conclude(Verdict::Refused, Some(Reason::AuthenticationAlwaysFails), &next);
        }
        Judgement::Allow {
            authentication: mode @ (Authentication::RequiredOrRejected | Authentication::Required),
            rule: number,
        } => {
            answer.ok(step, allows(&rule(number), mode));
            if remote.contest.is_some() {
                return contested(answer);
            }
            if packet.direction == Direction::Ingress && remote.identity == SecurityIdentity::REMOTE_NODE {
                return shared_address(remote, answer);
            }
            proof(known, maps, mode, [local, remote], answer);
        }
    }
}

fn allows(rule: &str, mode: Authentication) -> String {
    let others = match mode {
        Authentication::RequiredOrRejected => "; others are told that they are refused (`onFailure: reject`)",
        Authentication::Disabled | Authentication::Required | Authentication::AlwaysFail => "",
    };
    format!("{rule} allows it to whom is proven{others}")
}

const fn is_set_up(state: &EndpointState) -> bool {
    match state {
        EndpointState::Ready | EndpointState::SomeAddresses | EndpointState::NodeUnknown(_) => true,
        EndpointState::WaitingForInterface(_)
        | EndpointState::InterfaceConflict(_)
        | EndpointState::NoAddress => false,
    }
}

/// What would let a packet pass that no rule matches.
fn suggestion(
    question: &Question,
    known: &Known,
    identities: &Identities,
    selection: &Selection<'_>,
    packet: Packet,
    remote: &Side<'_>,
    names: &str,
) -> String {
    if let Some(register) = remote.registration(known)
        && is_meant(selection, identities, packet, remote)
    {
        if let Some(bar) = remote.bar(known) {
            return format!("a rule allows it, but {}; {}", bar.what, bar.next);
        }
        return format!("a rule allows its SPIFFE ID, which is not registered there: {register}");
    }
    let peer = match (
        packet.peer,
        remote.report.and_then(|report| report.spiffe_id.as_ref()),
    ) {
        (SecurityIdentity::UNMANAGED, _) => "`entity: unmanaged`".to_owned(),
        (SecurityIdentity::HOST, _) => "`entity: host`".to_owned(),
        (SecurityIdentity::REMOTE_NODE, _) => "`entity: remote-node`".to_owned(),
        (_, Some(id)) => format!("`spiffeId: {id}`"),
        (_, None) => "`entity: world`".to_owned(),
    };
    format!(
        "add a rule to {names} that names {peer} and {}",
        question.traffic()
    )
}

/// Whether a rule names the SPIFFE ID that the other side would have, if it were registered.
fn is_meant(selection: &Selection<'_>, identities: &Identities, packet: Packet, remote: &Side<'_>) -> bool {
    let Some(wanted) = remote.report.and_then(|report| report.spiffe_id.as_ref()) else {
        return false;
    };
    let names = |peer: &Peer| match peer {
        Peer::SpiffeId(id) => id == wanted,
        Peer::Workload {
            namespace,
            service_account,
        } => identities.workload(namespace, service_account).as_ref() == Some(wanted),
        Peer::Entity(_) => false,
    };
    let rules = selection.rules(packet.direction).unwrap_or_default();
    rules.iter().any(|selected| {
        selected.rule.covers(packet.protocol, packet.port) && selected.rule.peers().iter().any(names)
    })
}

/// Nobody can tell which of several SPIFFE IDs it is.
pub(super) fn contested(answer: &mut Answer) {
    let next = "give each of the workloads an address of its own, or take the address from all but one of them: it is that one's at once";
    answer.conclude(Verdict::Refused, Some(Reason::SeveralIdentities), next);
}

/// As in the kernel: whom another node masquerades looks like its processes.
fn shared_address(remote: &Side<'_>, answer: &mut Answer) {
    let what = format!(
        "{} is another node's own address, which that node lends to others: its processes cannot be told from them",
        remote.name()
    );
    answer.missing("proof", &what);
    let next = "let a workload with a registration ask instead, or drop `authentication: required` for `entity: remote-node`";
    answer.conclude(Verdict::Refused, Some(Reason::SharedNodeAddress), next);
}

/// Workloads, and nodes themselves by their own SVIDs.
fn can_prove(identity: SecurityIdentity) -> bool {
    identity.is_workload() || [SecurityIdentity::HOST, SecurityIdentity::REMOTE_NODE].contains(&identity)
}

fn proof(
    known: &Known,
    maps: &impl Maps,
    mode: Authentication,
    [local, remote]: [&Side<'_>; 2],
    answer: &mut Answer,
) {
    let title = "proof";
    let unmanaged = |side: &&Side<'_>| side.identity == SecurityIdentity::UNMANAGED;
    // As in the kernel: whichever side it is; and one whose sender is to be told goes the way of the others.
    let reason = if mode == Authentication::Required && [local, remote].iter().any(unmanaged) {
        Some(Reason::NotRegistered)
    } else {
        Some(Reason::AuthenticationRequired)
    };
    for side in [local, remote] {
        if can_prove(side.identity) {
            continue;
        }
        answer.missing(
            title,
            &format!("{} has no identity, and so nothing to prove", side.name()),
        );
        let next = match (side.bar(known), side.registration(known)) {
            (Some(bar), _) => bar.next,
            (None, Some(register)) => register,
            (None, None) => format!(
                "{} is no workload with a registration: drop `authentication: required` for it",
                side.name()
            ),
        };
        return answer.conclude(Verdict::Refused, reason, &next);
    }
    if remote.node == NodeId::NONE {
        if let Some(bar) = remote.bar(known) {
            answer.refused(title, format!("there can be none: {}", bar.what));
            return answer.conclude(Verdict::Refused, reason, &bar.next);
        }
        answer.missing(title, &format!("the node of {} has not joined", remote.name()));
        return answer.conclude(
            Verdict::Refused,
            reason,
            "start signet-agent on that node, with a join token",
        );
    }
    let pair = AuthKey {
        local: local.identity,
        remote: remote.identity,
        node: remote.node,
    };
    answer.asks(pair);
    let now = maps.now();
    match maps.proof(&pair) {
        Some(proof) if now < proof.not_after => {
            let left = Duration::from_nanos(proof.not_after - now).as_secs();
            answer.ok(
                title,
                format!("handshake {} of the pair holds for {left} s", proof.epoch),
            );
            lease::check(known, maps, remote, answer);
        }
        found => {
            if let Some(bar) = local.bar(known).or_else(|| remote.bar(known)) {
                answer.refused(title, format!("there can be none: {}", bar.what));
                return answer.conclude(Verdict::Refused, reason, &bar.next);
            }
            let gone = if found.is_some() {
                "the last one has expired"
            } else {
                "there is none yet"
            };
            answer.missing(title, &format!("{gone}; the first packet asks for one"));
            let next = "send a packet; if none comes, `signet auth list` says why the handshake fails";
            answer.conclude(Verdict::Waiting, reason, next);
        }
    }
}
