//! A policy: which endpoints, and which rules.

use std::fmt;

use signet_abi::{Authentication, Direction};

use crate::effect::Effect;
use crate::labels::Labels;
use crate::name::{Name, Namespace};
use crate::rule::Rule;

/// A policy's full name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName {
    /// Where it applies.
    pub namespace: Namespace,
    /// Unique in its namespace.
    pub name: Name,
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Rules for the endpoints of a namespace that have certain labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name; the namespace bounds what it selects.
    pub name: PolicyName,
    /// Labels that an endpoint must have; none: every endpoint of the namespace.
    pub selector: Labels,
    /// Rules for packets towards the endpoints. `None` says nothing about them; an empty list allows none.
    pub ingress: Option<Vec<Rule>>,
    /// Rules for packets from the endpoints, likewise.
    pub egress: Option<Vec<Rule>>,
}

impl Policy {
    /// Whether it speaks of an endpoint.
    pub fn selects(&self, namespace: &Namespace, labels: &Labels) -> bool {
        self.name.namespace == *namespace && labels.contain(&self.selector)
    }

    /// Its rules for a direction, if it has a say in it.
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }

    /// The rules that let packets pass although nothing is proven, in words: `ingress[0]`.
    pub fn unproven(&self) -> impl Iterator<Item = String> {
        let directions = [(Direction::Ingress, "ingress"), (Direction::Egress, "egress")];
        directions.into_iter().flat_map(|(direction, name)| {
            let rules = self.rules(direction).unwrap_or_default().iter().enumerate();
            rules.filter_map(move |(index, rule)| match rule.effect() {
                Effect::Allow(Authentication::Disabled) => Some(format!("{name}[{index}]")),
                Effect::Allow(
                    Authentication::RequiredOrRejected
                    | Authentication::Required
                    | Authentication::AlwaysFail,
                )
                | Effect::Deny => None,
            })
        })
    }

    /// The strictest authentication mode among its rules.
    pub fn strictest_authentication(&self) -> Authentication {
        let modes = [Direction::Ingress, Direction::Egress]
            .into_iter()
            .filter_map(|direction| self.rules(direction));
        modes
            .flatten()
            .filter_map(|rule| match rule.effect() {
                Effect::Allow(mode) => Some(mode),
                Effect::Deny => None,
            })
            .max()
            .unwrap_or(Authentication::Disabled)
    }
}
