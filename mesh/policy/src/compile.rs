//! From rules to the entries of the kernel's trie.
//!
//! The kernel looks a packet up under its peer's identity, and, where that finds nothing, under
//! [`SecurityIdentity::ANY`]. So the entries of a named identity must be final: they hold the rules that name it
//! *and* those that name everyone. Within an identity, prefixes of protocol and port nest; the longest one that
//! matches decides, so each entry combines every rule whose prefix contains it.

use std::collections::{BTreeMap, BTreeSet};

use signet_abi::{Authentication, Direction, PolicyId, PolicyKey, PolicyValue, SecurityIdentity, Verdict};
use thiserror::Error;

use crate::effect::Effect;
use crate::identities::Identities;
use crate::judge::{Judgement, Packet};
use crate::peer::{Entity, Peer};
use crate::select::{Selected, Selection};
use crate::table::RuleNumber;
use crate::traffic::Prefix;

/// Most entries for one endpoint.
pub const MAX_ENTRIES: usize = 16_384;

/// Why rules could not be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CompileError {
    /// More than [`MAX_ENTRIES`].
    #[error(
        "the rules need more than {MAX_ENTRIES} kernel entries: name fewer peers, or use ports that are \
         multiples of large powers of two"
    )]
    TooManyEntries,
}

/// The key of an entry, apart from the policy's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    /// Which way.
    pub direction: Direction,
    /// The other side, or [`SecurityIdentity::ANY`].
    pub identity: SecurityIdentity,
    /// Protocol and port.
    pub prefix: Prefix,
}

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryValue {
    /// A rule lets it pass.
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
    /// No rule matches this identity, though one matches everyone else: it stops the look-up from going on to
    /// [`SecurityIdentity::ANY`]. In the kernel a deny by rule 0.
    NoRule,
}

/// All entries for one endpoint. Endpoints with equal ones can share them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Compiled {
    entries: BTreeMap<EntryKey, EntryValue>,
}

/// Compiles what is said about one endpoint.
pub fn compile(selection: &Selection<'_>, identities: &Identities) -> Result<Compiled, CompileError> {
    let mut compiled = Compiled::default();
    for direction in [Direction::Ingress, Direction::Egress] {
        let rules = selection.rules(direction).unwrap_or_default();
        for identity in named_identities(rules, identities) {
            let prefixes = combine(rules, identity, identities)?;
            let key = |prefix| EntryKey {
                direction,
                identity,
                prefix,
            };
            if identity == SecurityIdentity::WORLD && !prefixes.contains_key(&Prefix::ALL) {
                compiled.entries.insert(key(Prefix::ALL), EntryValue::NoRule);
            }
            compiled
                .entries
                .extend(prefixes.into_iter().map(|(prefix, value)| (key(prefix), value)));
            if compiled.entries.len() > MAX_ENTRIES {
                return Err(CompileError::TooManyEntries);
            }
        }
    }
    Ok(compiled)
}

/// The identities that need entries of their own, and [`SecurityIdentity::ANY`] for the rest.
fn named_identities(rules: &[Selected<'_>], identities: &Identities) -> BTreeSet<SecurityIdentity> {
    let peers = || rules.iter().flat_map(|selected| selected.rule.peers());
    let mut named: BTreeSet<_> = peers().filter_map(|peer| peer.number(identities)).collect();
    if peers().any(|peer| *peer == Peer::Entity(Entity::Cluster)) {
        // "Everyone but the world" is written as everyone, with entries of its own for the world.
        named.insert(SecurityIdentity::WORLD);
    }
    named.insert(SecurityIdentity::ANY);
    named
}

/// Whether a rule belongs into the entries of an identity; those of `ANY` serve everyone who is not named.
fn speaks_of(selected: &Selected<'_>, identity: SecurityIdentity, identities: &Identities) -> bool {
    if identity == SecurityIdentity::ANY {
        let everyone = |peer: &Peer| matches!(peer, Peer::Entity(Entity::All | Entity::Cluster));
        selected.rule.peers().iter().any(everyone)
    } else {
        selected.rule.names(identity, identities)
    }
}

/// A rule's say, with its place in the selection to settle ties.
#[derive(Clone, Copy)]
struct Say {
    effect: Effect,
    order: usize,
    number: RuleNumber,
}

impl Say {
    fn stricter(self, other: Self) -> Self {
        let wins = (other.effect.rank(), std::cmp::Reverse(other.order))
            > (self.effect.rank(), std::cmp::Reverse(self.order));
        if wins { other } else { self }
    }

    fn value(self) -> EntryValue {
        match self.effect {
            Effect::Allow(authentication) => EntryValue::Allow {
                authentication,
                rule: self.number,
            },
            Effect::Deny => EntryValue::Deny { rule: self.number },
        }
    }
}

fn combine(
    rules: &[Selected<'_>],
    identity: SecurityIdentity,
    identities: &Identities,
) -> Result<BTreeMap<Prefix, EntryValue>, CompileError> {
    let mut own = BTreeMap::<Prefix, Say>::new();
    for (order, selected) in rules.iter().enumerate() {
        if !speaks_of(selected, identity, identities) {
            continue;
        }
        let say = Say {
            effect: selected.rule.effect(),
            order,
            number: selected.number,
        };
        for prefix in selected
            .rule
            .traffic()
            .iter()
            .flat_map(|traffic| traffic.prefixes())
        {
            own.entry(prefix)
                .and_modify(|before| *before = before.stricter(say))
                .or_insert(say);
            if own.len() > MAX_ENTRIES {
                return Err(CompileError::TooManyEntries);
            }
        }
    }
    let decided = |prefix: Prefix| {
        prefix
            .lineage()
            .filter_map(|ancestor| own.get(&ancestor).copied())
            .reduce(Say::stricter)
            .map(Say::value)
    };
    // An entry that says what the next longer-reaching one says anyway is left out.
    let needed = |prefix: Prefix| {
        let inherited = prefix
            .lineage()
            .skip(1)
            .find(|ancestor| own.contains_key(ancestor))
            .and_then(decided);
        decided(prefix)
            .filter(|value| inherited != Some(*value))
            .map(|value| (prefix, value))
    };
    Ok(own.keys().copied().filter_map(needed).collect())
}

impl Compiled {
    /// The entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (EntryKey, EntryValue)> {
        self.entries.iter().map(|(key, value)| (*key, *value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries under one identity and direction.
    pub fn of(
        &self,
        direction: Direction,
        identity: SecurityIdentity,
    ) -> impl Iterator<Item = (Prefix, EntryValue)> {
        self.iter()
            .filter(move |(key, _)| key.direction == direction && key.identity == identity)
            .map(|(key, value)| (key.prefix, value))
    }

    /// The entry that the kernel finds for a packet: the longest prefix under the peer's identity, else under
    /// [`SecurityIdentity::ANY`].
    pub fn find(&self, packet: Packet) -> Option<(EntryKey, EntryValue)> {
        [packet.peer, SecurityIdentity::ANY]
            .into_iter()
            .find_map(|identity| {
                Prefix::of_packet(packet.protocol, packet.port)
                    .lineage()
                    .find_map(|prefix| {
                        let key = EntryKey {
                            direction: packet.direction,
                            identity,
                            prefix,
                        };
                        self.entries.get(&key).map(|value| (key, *value))
                    })
            })
    }

    /// What the kernel decides for a packet towards or from an endpoint with these entries, where the direction is
    /// enforced.
    pub fn decide(&self, packet: Packet) -> Judgement {
        match self.find(packet) {
            None | Some((_, EntryValue::NoRule)) => Judgement::NoRule,
            Some((_, EntryValue::Deny { rule })) => Judgement::Deny { rule },
            Some((_, EntryValue::Allow { authentication, rule })) => {
                Judgement::Allow { authentication, rule }
            }
        }
    }

    /// The entries as the kernel map `POLICY` holds them: prefix length in bits, key, value.
    pub fn to_abi(&self, policy: PolicyId) -> impl Iterator<Item = (u32, PolicyKey, PolicyValue)> {
        self.iter().map(move |(key, value)| {
            let abi_key = PolicyKey {
                policy,
                identity: key.identity,
                direction: key.direction as u8,
                protocol: key.prefix.protocol,
                port: key.prefix.port.to_be_bytes(),
            };
            (
                PolicyKey::PREFIX_BASE + u32::from(key.prefix.bits),
                abi_key,
                value.to_abi(),
            )
        })
    }
}

impl EntryValue {
    fn to_abi(self) -> PolicyValue {
        let (verdict, authentication, rule) = match self {
            Self::Allow { authentication, rule } => (Verdict::Allow, authentication, rule.get()),
            Self::Deny { rule } => (Verdict::Deny, Authentication::Disabled, rule.get()),
            Self::NoRule => (Verdict::Deny, Authentication::Disabled, 0),
        };
        PolicyValue {
            verdict: verdict as u8,
            authentication: authentication as u8,
            proxy_port: [0; 2],
            rule,
        }
    }
}
