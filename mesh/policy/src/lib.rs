//! Policy rules, and their compilation to kernel map entries.
//!
//! A [`Policy`] selects endpoints by namespace and labels, and lists [`Rule`]s per direction. [`select`] finds what
//! the policies together say about one endpoint; [`judge`] is the reference for what that means for a packet;
//! [`compile`] turns it into the entries of the kernel's longest-prefix-match trie, which answer every packet as
//! [`judge`] does (a property test holds the two together).
//!
//! Pure: no files, no clock. Numbers of identities come in as [`Identities`].

mod compile;
mod effect;
mod identities;
mod judge;
mod labels;
mod name;
mod peer;
mod policy;
mod port;
mod rule;
mod select;
mod table;
mod traffic;

pub use compile::{CompileError, Compiled, EntryKey, EntryValue, MAX_ENTRIES, compile};
pub use effect::{Action, Effect, EffectError, OnFailure};
pub use identities::Identities;
pub use judge::{Judgement, Packet, judge};
pub use labels::{LabelError, LabelKey, LabelValue, Labels};
pub use name::{Name, NameError, Namespace};
pub use peer::{Entity, Peer};
pub use policy::{Policy, PolicyName};
pub use port::{PortError, PortRange};
pub use rule::{MAX_PEERS, MAX_TRAFFIC, Rule, RuleError};
pub use select::{Selected, Selection, select};
pub use table::{MAX_RULES, RuleName, RuleNumber, RuleTable, TooManyRules};
pub use traffic::{Prefix, Protocol, Traffic, TrafficError};

pub use signet_abi::{Authentication, Direction};
