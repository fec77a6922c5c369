//! Why traffic passes at this node, or not. Pure, over what the daemon knows and what the kernel maps say.
//!
//! Steps: source → destination → policy of each end that lives here → proof → lease → encryption. What the other node judges
//! is left to the other node.

mod answer;
mod judgement;
mod lease;
mod question;
mod side;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use signet_abi::{
    AuthKey, AuthValue, Direction, IpcacheValue, Lease, NodeId, NodeState, Reason, SecurityIdentity,
    node_flags,
};
use signet_proto::mesh::v1::ExplainResponse;

pub(crate) use question::Question;

use self::answer::{Answer, Verdict};
use self::side::Side;
use crate::known::Known;

/// What the kernel maps say.
pub(crate) trait Maps {
    /// `IPCACHE`, longest prefix.
    fn place(&self, address: IpAddr) -> Option<IpcacheValue>;
    /// `AUTH`.
    fn proof(&self, pair: &AuthKey) -> Option<AuthValue>;
    /// `LEASES`.
    fn lease(&self, address: IpAddr) -> Option<Lease>;
    /// `LEASE_ENDS`; 0: none.
    fn lease_end(&self, node: NodeId) -> u64;
    /// `ENDPOINTS`.
    fn endpoint(&self, address: IpAddr) -> Option<SecurityIdentity>;
    /// `NODES`.
    fn node(&self, id: NodeId) -> Option<NodeState>;
    /// `CLOCK_BOOTTIME`, ns.
    fn now(&self) -> u64;
}

/// Explains what this node makes of a first packet.
pub(crate) fn explain(question: &Question, known: &Known, maps: &impl Maps) -> ExplainResponse {
    let mut answer = Answer::default();
    if !known.complete {
        let why = known.all_errors().into_iter().next();
        let why =
            why.unwrap_or_else(|| "configuration, signet-agent or interfaces are not known yet".to_owned());
        answer.info("daemon", format!("{} is not complete: {why}", known.node));
    }
    match question.sides(known, maps) {
        Ok((source, destination)) => between(question, known, maps, &source, &destination, &mut answer),
        Err(why) => {
            answer.missing("addresses", &why);
            answer.conclude(
                Verdict::Unknown,
                None,
                "`signet identity list` shows the workloads and their addresses",
            );
        }
    }
    answer.into_wire()
}

fn between(
    question: &Question,
    known: &Known,
    maps: &impl Maps,
    source: &Side<'_>,
    destination: &Side<'_>,
    answer: &mut Answer,
) {
    source.describe("source", known, answer);
    destination.describe("destination", known, answer);
    // As in the kernel: such an address is no endpoint, so nothing leaves from it, or gets to it, here.
    if [source, destination]
        .iter()
        .any(|side| side.is_contested_here(known))
    {
        return judgement::contested(answer);
    }
    if !source.is_local() && !destination.is_local() {
        let homes: Vec<String> = [source, destination]
            .iter()
            .map(|side| known.node_name(side.node))
            .filter(|name| !name.is_empty())
            .collect();
        let next = match homes.first() {
            Some(home) => format!("ask there: signet --node {home} explain …"),
            None => "neither is a workload of this mesh: its policies do not speak of them".to_owned(),
        };
        answer.info(
            "node",
            format!(
                "neither lives on {}, which judges nothing between them",
                known.node
            ),
        );
        return answer.conclude(Verdict::Unknown, None, &next);
    }
    for (direction, local, remote) in [
        (Direction::Egress, source, destination),
        (Direction::Ingress, destination, source),
    ] {
        match local.report.filter(|report| report.local) {
            Some(report) => judgement::judge(question, known, maps, direction, report, local, remote, answer),
            None => elsewhere(known, direction, local, answer),
        }
    }
    encryption(known, maps, source, destination, answer);
}

/// The half that another node judges, or nobody.
fn elsewhere(known: &Known, direction: Direction, side: &Side<'_>, answer: &mut Answer) {
    let title = judgement::title(direction);
    match &side.report {
        Some(report) => {
            let enforced = match direction {
                Direction::Ingress => report.ingress_enforced,
                Direction::Egress => report.egress_enforced,
            };
            let says = if enforced {
                "a policy selects it there"
            } else {
                "no policy selects it"
            };
            // Its node may be kept out of the view, or not have joined.
            let home = known
                .workload(&report.workload)
                .map(|workload| workload.node.to_string());
            let home = home.unwrap_or_else(|| known.node_name(side.node));
            answer.info(title, format!("judged on {home}; {says}"));
        }
        None => answer.info(
            title,
            "no policy speaks of it: it is not a workload of this mesh".to_owned(),
        ),
    }
}

fn encryption(
    known: &Known,
    maps: &impl Maps,
    source: &Side<'_>,
    destination: &Side<'_>,
    answer: &mut Answer,
) {
    let title = "encryption";
    let own = known.config.node;
    if destination.node == NodeId::NONE || source.node == NodeId::NONE {
        return answer.info(
            title,
            "one end is outside the mesh: the wire between is plain".to_owned(),
        );
    }
    if source.node == destination.node {
        return answer.info(
            title,
            "both ends are on one node: nothing goes over a wire".to_owned(),
        );
    }
    if source.node != own {
        let says = if known.view.as_ref().is_some_and(|view| view.encrypted) {
            "on"
        } else {
            "off"
        };
        let sender = known.node_name(source.node);
        return answer.info(
            title,
            format!("{sender} decides on the way here; encryption of the cluster is {says}"),
        );
    }
    let peer = known.node_name(destination.node);
    match maps.node(destination.node) {
        Some(state) if state.flags & node_flags::SEND_ENCRYPTED != 0 && state.tunnel_ifindex != 0 => {
            answer.ok(title, format!("goes to {peer} through the tunnel"));
        }
        Some(state) if state.flags & node_flags::SEND_ENCRYPTED != 0 => {
            answer.refused(
                title,
                format!("{peer} takes only what is encrypted, and there is no tunnel device"),
            );
            let next = "see `signet encryption status`, and whether signet-keyd runs";
            answer.conclude(Verdict::Refused, Some(Reason::Unencrypted), next);
        }
        Some(_) | None => answer.info(
            title,
            format!("goes to {peer} in plaintext: `signet encryption set wireguard`"),
        ),
    }
}
