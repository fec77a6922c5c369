//! Which rule speaks of a connection, and what it says.

use aya_ebpf::maps::lpm_trie::Key;
use signet_abi::{
    Authentication, Direction, Endpoint, PolicyKey, PolicyValue, Reason, SecurityIdentity, Verdict,
    endpoint_flags,
};

use crate::maps::POLICY;
use crate::parse::{Tuple, protocol};

/// An allowing rule. Only [`judge`] makes one.
#[derive(Clone, Copy)]
pub struct Rule {
    number: u32,
    authentication: Authentication,
}

impl Rule {
    /// Index into the node's rule table; 0: no policy selects the endpoint.
    #[inline(always)]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// What the rule asks for besides.
    #[inline(always)]
    pub const fn authentication(&self) -> Authentication {
        self.authentication
    }
}

/// What the endpoint's policy says of a connection between it and `remote`, opened in `direction`. `port` is the
/// destination port of that direction. The number of the rule that denies is written to `decided`.
#[inline(always)]
pub fn judge(
    endpoint: &Endpoint,
    remote: SecurityIdentity,
    direction: Direction,
    protocol: u8,
    port: u16,
    decided: &mut u32,
) -> Result<Rule, Reason> {
    let enforced = match direction {
        Direction::Ingress => endpoint_flags::INGRESS_ENFORCED,
        Direction::Egress => endpoint_flags::EGRESS_ENFORCED,
    };
    if endpoint.flags & enforced == 0 {
        return Ok(Rule {
            number: 0,
            authentication: Authentication::Disabled,
        });
    }
    let mut key = PolicyKey {
        policy: endpoint.policy,
        identity: remote,
        direction: direction as u8,
        protocol,
        port: port.to_ne_bytes(),
    };
    let value = match find(&key) {
        Some(value) => value,
        None => {
            key.identity = SecurityIdentity::ANY;
            find(&key).ok_or(Reason::PolicyDenied)?
        }
    };
    *decided = value.rule;
    if value.verdict != Verdict::Allow as u8 {
        return Err(if value.rule == 0 {
            Reason::PolicyDenied
        } else {
            Reason::PolicyDeny
        });
    }
    Ok(Rule {
        number: value.rule,
        authentication: authentication(value.authentication),
    })
}

#[inline(always)]
fn find(key: &PolicyKey) -> Option<PolicyValue> {
    let key = Key::new(PolicyKey::PREFIX_FULL, *key);
    POLICY.get(&key).copied()
}

/// What is not known is refused.
#[inline(always)]
pub const fn authentication(number: u8) -> Authentication {
    const DISABLED: u8 = Authentication::Disabled as u8;
    const OR_REJECTED: u8 = Authentication::RequiredOrRejected as u8;
    const REQUIRED: u8 = Authentication::Required as u8;
    match number {
        DISABLED => Authentication::Disabled,
        OR_REJECTED => Authentication::RequiredOrRejected,
        REQUIRED => Authentication::Required,
        _ => Authentication::AlwaysFail,
    }
}

/// The port that rules speak of: the responder's, where the protocol has one.
#[inline(always)]
pub fn port(tuple: &Tuple, forward: bool) -> u16 {
    match tuple.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP if forward => tuple.destination_port,
        protocol::TCP | protocol::UDP | protocol::SCTP => tuple.source_port,
        _ => 0,
    }
}
