//! Who an address is.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, LpmTrie};
use signet_abi::{Endpoint, IpcacheValue};

use crate::address::Words;

/// Address prefix → identity and node.
#[map]
pub static IPCACHE: LpmTrie<Words, IpcacheValue> = LpmTrie::pinned(65_536, 0);

/// Address → local endpoint.
#[map]
pub static ENDPOINTS: HashMap<Words, Endpoint> = HashMap::pinned(4_096, 0);
