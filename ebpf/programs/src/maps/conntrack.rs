//! Connections, and datagrams in pieces.

use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;
use signet_abi::{Ct4Key, Ct6Key, CtValue, FragmentKey, FragmentValue};

/// IPv4 connections.
#[map]
pub static CT4: LruHashMap<Ct4Key, CtValue> = LruHashMap::pinned(131_072, 0);

/// IPv6 connections.
#[map]
pub static CT6: LruHashMap<Ct6Key, CtValue> = LruHashMap::pinned(131_072, 0);

/// Datagram in pieces → what its first piece says.
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, FragmentValue> = LruHashMap::pinned(8_192, 0);
