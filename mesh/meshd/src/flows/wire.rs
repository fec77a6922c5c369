//! Flow events as the operator sees them. Pure.

use std::net::IpAddr;

use signet_abi::{AuthKey, AuthValue, Flow, Reason, SecurityIdentity, flow_hooks};
use signet_policy::{Identities, Protocol};
use signet_proto::mesh::v1::FlowEvent;

use crate::known::Known;

/// The wall clock and the kernel programs' clock, read at one instant, ns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Since 1970, UTC.
    pub(crate) wall: i64,
    /// `CLOCK_BOOTTIME`.
    pub(crate) boot: u64,
}

impl Clock {
    fn wall_time(self, boot: u64) -> i64 {
        let ago = i64::try_from(self.boot.saturating_sub(boot)).unwrap_or(i64::MAX);
        self.wall.saturating_sub(ago)
    }
}

/// Whether the packet was dropped. An unknown reason is none to let a packet pass.
pub(crate) fn is_drop(flow: &Flow) -> bool {
    !Reason::from_u8(flow.reason).is_some_and(|reason| reason.passed() || reason == Reason::Parked)
}

fn verdict(flow: &Flow) -> &'static str {
    match Reason::from_u8(flow.reason) {
        Some(Reason::Parked) => "parked",
        Some(Reason::Rejected) => "rejected",
        _ if is_drop(flow) => "dropped",
        _ => "allowed",
    }
}

/// Which proof a packet at a workload's interface may have needed.
pub(crate) fn pair(flow: &Flow) -> Option<AuthKey> {
    let (local, remote) = match flow.hook {
        flow_hooks::FROM_CONTAINER => (flow.source_identity, flow.destination_identity),
        flow_hooks::TO_CONTAINER => (flow.destination_identity, flow.source_identity),
        _ => return None,
    };
    let key = AuthKey {
        local,
        remote,
        node: flow.node,
    };
    (local.is_workload() && remote.is_workload()).then_some(key)
}

/// How many seconds before `boot` a proof was made that counts then.
fn age(proof: Option<AuthValue>, boot: u64) -> Option<u32> {
    const SECOND: u64 = 1_000_000_000;
    let proof = proof.filter(|proof| proof.made != 0 && proof.not_after > boot)?;
    let since = (boot / SECOND).saturating_sub(proof.made.into());
    Some(u32::try_from(since).unwrap_or(u32::MAX))
}

/// An event with the names of what it speaks of. `proof` is that of its [`pair`], as it is now.
pub(crate) fn event(
    flow: &Flow,
    lost: u64,
    proof: Option<AuthValue>,
    known: &Known,
    clock: Clock,
) -> FlowEvent {
    let reason = Reason::from_u8(flow.reason);
    let none = Identities::default();
    let identities = known.view.as_ref().map_or(&none, |view| &view.identities);
    let name = |identity: SecurityIdentity| identities.name(identity);
    FlowEvent {
        at: clock.wall_time(flow.at),
        source: IpAddr::from(flow.source).to_string(),
        destination: IpAddr::from(flow.destination).to_string(),
        source_port: u16::from_be_bytes(flow.source_port).into(),
        destination_port: u16::from_be_bytes(flow.destination_port).into(),
        protocol: protocol(flow.protocol),
        source_identity: flow.source_identity.0,
        destination_identity: flow.destination_identity.0,
        source_name: name(flow.source_identity),
        destination_name: name(flow.destination_identity),
        verdict: verdict(flow).to_owned(),
        reason: flow.reason.into(),
        reason_text: reason.map_or("unknown reason", Reason::name).to_owned(),
        rule: known.rule_name(flow.rule),
        hook: hook(flow.hook).to_owned(),
        node: known.node.to_string(),
        length: flow.length,
        lost,
        event: happened(flow).to_owned(),
        encrypted: matches!(reason, Some(Reason::Encrypted | Reason::Decrypted)),
        proof_age: age(proof, clock.boot),
    }
}

/// What a packet that passed did to its connection: the kernel tells of the first one and of the one that ends it, and
/// only a TCP packet with FIN or RST ends one.
fn happened(flow: &Flow) -> &'static str {
    const FIN_OR_RST: u8 = 1 | 4;
    let is_tcp = flow.protocol == Protocol::Tcp.number();
    match (
        verdict(flow) != "allowed",
        is_tcp && flow.tcp_flags & FIN_OR_RST != 0,
    ) {
        (true, _) => "",
        (false, true) => "closed",
        (false, false) => "opened",
    }
}

fn protocol(number: u8) -> String {
    Protocol::from_number(number).map_or_else(
        || format!("ip-{number}"),
        |protocol| protocol.name().to_ascii_lowercase(),
    )
}

fn hook(number: u8) -> &'static str {
    match number {
        flow_hooks::FROM_CONTAINER => "from-container",
        flow_hooks::TO_CONTAINER => "to-container",
        flow_hooks::FROM_NETDEV => "from-netdev",
        flow_hooks::TO_NETDEV => "to-netdev",
        flow_hooks::FROM_TUNNEL => "from-tunnel",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use signet_abi::{Address, MeshConfig};
    use signet_spiffe::NodeName;

    use super::*;

    #[test]
    fn an_event_names_addresses_ports_identities_and_reason() {
        let known = Known::nothing(NodeName::parse("n1").unwrap(), false, MeshConfig::default());
        let flow = Flow {
            at: 900,
            source: Address::from_v4([10, 0, 0, 1]),
            destination: Address::from("fd00::2".parse::<IpAddr>().unwrap()),
            source_identity: SecurityIdentity::WORLD,
            destination_identity: SecurityIdentity(256),
            source_port: 40000_u16.to_be_bytes(),
            destination_port: 80_u16.to_be_bytes(),
            protocol: 6,
            reason: Reason::AuthenticationRequired as u8,
            hook: flow_hooks::TO_CONTAINER,
            rule: 77,
            ..Flow::default()
        };
        let event = event(
            &flow,
            3,
            None,
            &known,
            Clock {
                wall: 5_000,
                boot: 1_000,
            },
        );
        assert_eq!(event.at, 4_900);
        assert_eq!(
            (event.source.as_str(), event.destination.as_str()),
            ("10.0.0.1", "fd00::2")
        );
        assert_eq!((event.source_port, event.destination_port), (40000, 80));
        assert_eq!(
            (event.source_name.as_str(), event.destination_name.as_str()),
            ("world", "identity 256")
        );
        assert_eq!((event.verdict.as_str(), event.reason), ("dropped", 189));
        assert_eq!(
            (event.protocol.as_str(), event.hook.as_str()),
            ("tcp", "to-container")
        );
        assert_eq!((event.rule.as_str(), event.lost), ("a rule that is gone", 3));
        assert_eq!(event.node, "n1");
    }

    #[test]
    fn an_event_says_whether_it_opened_or_closed_a_connection_and_whether_it_was_encrypted() {
        let known = Known::nothing(NodeName::parse("n1").unwrap(), false, MeshConfig::default());
        let told = |reason: Reason, protocol, tcp_flags| {
            let flow = Flow {
                reason: reason as u8,
                protocol,
                tcp_flags,
                ..Flow::default()
            };
            let event = event(&flow, 0, None, &known, Clock { wall: 0, boot: 0 });
            (event.event, event.encrypted)
        };
        assert_eq!(told(Reason::Forwarded, 6, 2), ("opened".into(), false));
        assert_eq!(told(Reason::Encrypted, 6, 2), ("opened".into(), true));
        assert_eq!(told(Reason::Decrypted, 6, 17), ("closed".into(), true));
        assert_eq!(told(Reason::Forwarded, 6, 4), ("closed".into(), false));
        assert_eq!(told(Reason::Forwarded, 17, 0), ("opened".into(), false));
        assert_eq!(told(Reason::PolicyDenied, 6, 2), (String::new(), false));
    }

    #[test]
    fn the_age_of_a_proof_is_told_while_it_counts_and_is_that_of_the_right_pair() {
        let at = |seconds: u64| seconds * 1_000_000_000;
        let proof = AuthValue {
            not_after: at(100),
            epoch: 1,
            made: 40,
            used: 0,
        };
        assert_eq!(age(Some(proof), at(52)), Some(12));
        assert_eq!(age(Some(proof), at(100)), None);
        assert_eq!(age(Some(AuthValue { made: 0, ..proof }), at(52)), None);
        let flow = |hook, source, destination| Flow {
            hook,
            source_identity: SecurityIdentity(source),
            destination_identity: SecurityIdentity(destination),
            ..Flow::default()
        };
        let local = |flow| pair(&flow).map(|pair| (pair.local.0, pair.remote.0));
        assert_eq!(
            local(flow(flow_hooks::FROM_CONTAINER, 300, 400)),
            Some((300, 400))
        );
        assert_eq!(local(flow(flow_hooks::TO_CONTAINER, 300, 400)), Some((400, 300)));
        assert_eq!(local(flow(flow_hooks::TO_CONTAINER, 2, 400)), None);
        assert_eq!(local(flow(flow_hooks::TO_NETDEV, 300, 400)), None);
    }

    #[test]
    fn an_unknown_reason_counts_as_a_drop() {
        assert!(is_drop(&Flow {
            reason: 99,
            ..Flow::default()
        }));
        assert!(!is_drop(&Flow {
            reason: Reason::Forwarded as u8,
            ..Flow::default()
        }));
    }
}
