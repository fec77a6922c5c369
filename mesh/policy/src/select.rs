//! What the policies together say about one endpoint.

use signet_abi::Direction;

use crate::labels::Labels;
use crate::name::Namespace;
use crate::policy::{Policy, PolicyName};
use crate::rule::Rule;
use crate::table::{RuleName, RuleNumber, RuleTable};

/// A rule that speaks of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected<'a> {
    /// Its number.
    pub number: RuleNumber,
    /// The rule.
    pub rule: &'a Rule,
}

/// The rules for one endpoint, in the order of policy names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection<'a> {
    /// The policies that speak of the endpoint.
    pub policies: Vec<&'a PolicyName>,
    /// Rules for packets towards it. `None`: no policy has a say, all are allowed.
    pub ingress: Option<Vec<Selected<'a>>>,
    /// Rules for packets from it, likewise.
    pub egress: Option<Vec<Selected<'a>>>,
}

impl<'a> Selection<'a> {
    /// The rules of a direction.
    pub fn rules(&self, direction: Direction) -> Option<&[Selected<'a>]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }

    /// Whether what no rule allows is dropped.
    pub fn enforced(&self, direction: Direction) -> bool {
        self.rules(direction).is_some()
    }
}

/// Gathers what `policies` say about an endpoint. `table` must have been made from them.
pub fn select<'a>(
    policies: impl IntoIterator<Item = &'a Policy>,
    table: &RuleTable,
    namespace: &Namespace,
    labels: &Labels,
) -> Selection<'a> {
    let mut chosen: Vec<&Policy> = policies
        .into_iter()
        .filter(|policy| policy.selects(namespace, labels))
        .collect();
    chosen.sort_by(|a, b| a.name.cmp(&b.name));
    Selection {
        policies: chosen.iter().map(|policy| &policy.name).collect(),
        ingress: gather(&chosen, table, Direction::Ingress),
        egress: gather(&chosen, table, Direction::Egress),
    }
}

fn gather<'a>(chosen: &[&'a Policy], table: &RuleTable, direction: Direction) -> Option<Vec<Selected<'a>>> {
    let mut gathered = None;
    for policy in chosen {
        let Some(rules) = policy.rules(direction) else {
            continue;
        };
        let list: &mut Vec<_> = gathered.get_or_insert_default();
        list.extend(rules.iter().enumerate().filter_map(|(index, rule)| {
            let name = RuleName {
                policy: policy.name.clone(),
                direction,
                index,
            };
            table.number(&name).map(|number| Selected { number, rule })
        }));
    }
    gathered
}
