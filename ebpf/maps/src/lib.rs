//! Typed access to Signet's pinned kernel maps.
//!
//! A handle opens a map that signet-meshd has pinned, checks that its type and sizes are those of
//! [`signet_abi`], and reads and writes it in that crate's types. Nothing here loads a kernel program.
//!
//! Handles may be opened before or after the map's other users. [`MapError::is_missing`] tells a caller that starts
//! earlier than signet-meshd to try again, and `is_current` whether the pin still is the map that was opened.

#![forbid(unsafe_code)]

mod clock;
mod config;
mod conntrack;
mod decode;
mod error;
mod hash;
mod metrics;
mod pin;
mod prefix;
mod ring;
mod trie;

pub use clock::{boottime_now, boottime_of};
pub use config::ConfigMap;
pub use conntrack::{Connection, CtMaps};
pub use error::MapError;
pub use hash::{
    AuthMap, Ct4Map, Ct6Map, EndpointsMap, FragmentsMap, HashKey, LeaseEndsMap, LeasesMap, NodesMap,
    PinnedHash,
};
pub use metrics::{Counter, CounterName, MetricsMap};
pub use pin::MapFill;
pub use prefix::{IpcachePrefix, PolicyPrefix, Prefix};
pub use ring::{FlowRing, PinnedRing, Record, SignalRing};
pub use trie::{IpcacheMap, PinnedTrie, PolicyMap, TrieKey};
