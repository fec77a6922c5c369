//! The reference: what a selection of rules means for a packet.

use signet_abi::{Authentication, Direction, SecurityIdentity};

use crate::effect::Effect;
use crate::identities::Identities;
use crate::select::Selection;
use crate::table::RuleNumber;

/// What a judgement looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who opened the connection, seen from the endpoint.
    pub direction: Direction,
    /// Identity of the other side.
    pub peer: SecurityIdentity,
    /// IP protocol number.
    pub protocol: u8,
    /// Destination port of the opener's direction; 0 where the protocol has none.
    pub port: u16,
}

/// What the policies say about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// No policy speaks of the endpoint in this direction: the packet may pass.
    NotSelected,
    /// A rule lets it pass, subject to the mode.
    Allow {
        /// What it asks for besides.
        authentication: Authentication,
        /// The rule that decided.
        rule: RuleNumber,
    },
    /// A rule drops it.
    Deny {
        /// The rule that decided.
        rule: RuleNumber,
    },
    /// A policy speaks of the endpoint and no rule matches: it is dropped.
    NoRule,
}

impl Judgement {
    /// Whether the packet may pass once it is authenticated as asked.
    pub const fn may_pass(self) -> bool {
        match self {
            Self::NotSelected
            | Self::Allow {
                authentication:
                    Authentication::Disabled | Authentication::RequiredOrRejected | Authentication::Required,
                ..
            } => true,
            Self::Allow {
                authentication: Authentication::AlwaysFail,
                ..
            }
            | Self::Deny { .. }
            | Self::NoRule => false,
        }
    }
}

/// Judges a packet: not selected → pass; a deny among the matching rules → deny; else the strictest authentication
/// among them; no matching rule → drop. Where rules are equally strict, the first in the selection decides.
pub fn judge(selection: &Selection<'_>, identities: &Identities, packet: Packet) -> Judgement {
    let Some(rules) = selection.rules(packet.direction) else {
        return Judgement::NotSelected;
    };
    let mut decided = None::<(Effect, RuleNumber)>;
    for selected in rules {
        let matches = selected.rule.names(packet.peer, identities)
            && selected.rule.covers(packet.protocol, packet.port);
        let stricter = decided.is_none_or(|(effect, _)| selected.rule.effect().rank() > effect.rank());
        if matches && stricter {
            decided = Some((selected.rule.effect(), selected.number));
        }
    }
    match decided {
        None => Judgement::NoRule,
        Some((Effect::Deny, rule)) => Judgement::Deny { rule },
        Some((Effect::Allow(authentication), rule)) => Judgement::Allow { authentication, rule },
    }
}
