//! Connections.

use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;
use signet_abi::{Ct4Key, Ct6Key, CtValue};

/// IPv4 connections.
#[map]
pub static CT4: LruHashMap<Ct4Key, CtValue> = LruHashMap::pinned(131_072, 0);

/// IPv6 connections.
#[map]
pub static CT6: LruHashMap<Ct6Key, CtValue> = LruHashMap::pinned(131_072, 0);
