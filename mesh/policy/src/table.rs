//! Numbers for rules, so that the kernel can say which one decided.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

use signet_abi::Direction;
use thiserror::Error;

use crate::policy::{Policy, PolicyName};

/// Most rules on one node.
pub const MAX_RULES: usize = 10_000;

/// Stands for a rule in kernel maps ([`signet_abi::PolicyValue::rule`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleNumber(NonZeroU32);

impl RuleNumber {
    /// The number as kernel maps carry it; never 0.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The number that a kernel map carried; `None` for 0, which says "no rule".
    pub fn from_abi(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }
}

/// A rule's place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleName {
    /// The policy it stands in.
    pub policy: PolicyName,
    /// In which list.
    pub direction: Direction,
    /// At which place of the list, from 0.
    pub index: usize,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        };
        write!(f, "{} {direction}[{}]", self.policy, self.index)
    }
}

/// There are more rules than [`MAX_RULES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{found} rules are too many: at most {MAX_RULES} are supported, merge rules or use port ranges")]
pub struct TooManyRules {
    /// How many there are.
    pub found: usize,
}

/// The numbers of all rules. A rule's number comes from its name, not from its place among all rules: adding a
/// policy, or a restart, leaves the others' numbers as they are, and with them what the kernel holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleTable {
    names: BTreeMap<RuleNumber, RuleName>,
    numbers: BTreeMap<RuleName, RuleNumber>,
}

impl RuleTable {
    /// Numbers the rules of all policies.
    pub fn new<'a>(policies: impl IntoIterator<Item = &'a Policy>) -> Result<Self, TooManyRules> {
        // Sorted, so that the rare collision is settled the same way on every node and after every restart.
        let mut names: Vec<RuleName> = policies.into_iter().flat_map(rule_names).collect();
        if names.len() > MAX_RULES {
            return Err(TooManyRules { found: names.len() });
        }
        names.sort_unstable();
        names.dedup();
        let mut table = Self::default();
        for name in names {
            let mut number = number_of(&name);
            while table.names.contains_key(&number) {
                number = RuleNumber(number.0.checked_add(1).unwrap_or(NonZeroU32::MIN));
            }
            table.names.insert(number, name.clone());
            table.numbers.insert(name, number);
        }
        Ok(table)
    }

    /// The rule with this number.
    pub fn name(&self, number: RuleNumber) -> Option<&RuleName> {
        self.names.get(&number)
    }

    /// The number of a rule.
    pub fn number(&self, name: &RuleName) -> Option<RuleNumber> {
        self.numbers.get(name).copied()
    }
}

fn rule_names(policy: &Policy) -> impl Iterator<Item = RuleName> {
    [Direction::Ingress, Direction::Egress]
        .into_iter()
        .flat_map(move |direction| {
            (0..policy.rules(direction).map_or(0, <[_]>::len)).map(move |index| RuleName {
                policy: policy.name.clone(),
                direction,
                index,
            })
        })
}

/// FNV-1a, 32 bits, of the rule's name as users see it.
fn number_of(name: &RuleName) -> RuleNumber {
    let hash = name.to_string().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    RuleNumber(NonZeroU32::new(hash).unwrap_or(NonZeroU32::MIN))
}

#[cfg(test)]
mod tests {
    use signet_abi::Authentication;

    use super::*;
    use crate::effect::Effect;
    use crate::labels::Labels;
    use crate::name::{Name, Namespace};
    use crate::peer::{Entity, Peer};
    use crate::rule::Rule;

    fn policy(name: &str, rules: usize) -> Policy {
        let rule = Rule::new(
            vec![Peer::Entity(Entity::All)],
            vec![],
            Effect::Allow(Authentication::Disabled),
        )
        .unwrap();
        Policy {
            name: PolicyName {
                namespace: Namespace::parse("shop").unwrap(),
                name: Name::parse(name).unwrap(),
            },
            selector: Labels::default(),
            ingress: Some(vec![rule; rules]),
            egress: None,
        }
    }

    #[test]
    fn numbers_survive_the_addition_of_another_policy() {
        let before = RuleTable::new(&[policy("web", 3)]).unwrap();
        let after = RuleTable::new(&[policy("aaa", 2), policy("web", 3)]).unwrap();
        for (number, name) in &before.names {
            assert_eq!(after.name(*number), Some(name));
        }
        assert_eq!(after.names.len(), 5);
    }

    #[test]
    fn ten_thousand_rules_have_ten_thousand_numbers_and_one_more_is_refused() {
        let table = RuleTable::new(&[policy("web", MAX_RULES)]).unwrap();
        assert_eq!((table.names.len(), table.numbers.len()), (MAX_RULES, MAX_RULES));
        assert_eq!(
            RuleTable::new(&[policy("web", MAX_RULES + 1)]),
            Err(TooManyRules { found: MAX_RULES + 1 })
        );
    }

    #[test]
    fn a_rule_is_called_by_policy_direction_and_place() {
        let table = RuleTable::new(&[policy("web", 1)]).unwrap();
        let (number, name) = table.names.iter().next().unwrap();
        assert_eq!(name.to_string(), "shop/web ingress[0]");
        assert_eq!(RuleNumber::from_abi(number.get()), Some(*number));
        assert_eq!(RuleNumber::from_abi(0), None);
    }
}
