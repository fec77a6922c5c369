//! Whether pinned maps are the ones that this version's programs expect.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use aya::maps::{Array, Map, MapData, MapInfo, MapType};
use signet_abi::{
    ABI_VERSION, Address, AuthKey, AuthValue, Ct4Key, Ct6Key, CtValue, Endpoint, FragmentKey, FragmentValue,
    IpcacheKey, IpcacheValue, Lease, LeaseEnd, LeaseEndKey, LeaseKey, METRICS_LEN, MeshConfig, NodeId,
    NodeState, PolicyKey, PolicyValue, maps,
};

use crate::capacities::Capacities;
use crate::error::DatapathError;

/// What a map has to be.
struct Layout {
    name: &'static str,
    kind: MapType,
    key: usize,
    value: usize,
}

/// Bytes of the prefix length in front of a trie's key.
const PREFIX: usize = size_of::<u32>();

const LAYOUTS: [Layout; 15] = [
    layout(
        maps::IPCACHE,
        MapType::LpmTrie,
        PREFIX + size_of::<IpcacheKey>(),
        size_of::<IpcacheValue>(),
    ),
    layout(
        maps::ENDPOINTS,
        MapType::Hash,
        size_of::<Address>(),
        size_of::<Endpoint>(),
    ),
    layout(
        maps::POLICY,
        MapType::LpmTrie,
        PREFIX + size_of::<PolicyKey>(),
        size_of::<PolicyValue>(),
    ),
    layout(
        maps::AUTH,
        MapType::Hash,
        size_of::<AuthKey>(),
        size_of::<AuthValue>(),
    ),
    layout(
        maps::LEASES,
        MapType::Hash,
        size_of::<LeaseKey>(),
        size_of::<Lease>(),
    ),
    layout(
        maps::LEASE_ENDS,
        MapType::Hash,
        size_of::<LeaseEndKey>(),
        size_of::<LeaseEnd>(),
    ),
    layout(
        maps::CT4,
        MapType::LruHash,
        size_of::<Ct4Key>(),
        size_of::<CtValue>(),
    ),
    layout(
        maps::CT6,
        MapType::LruHash,
        size_of::<Ct6Key>(),
        size_of::<CtValue>(),
    ),
    layout(
        maps::NODES,
        MapType::Hash,
        size_of::<NodeId>(),
        size_of::<NodeState>(),
    ),
    layout(
        maps::CONFIG,
        MapType::Array,
        size_of::<u32>(),
        size_of::<MeshConfig>(),
    ),
    layout(
        maps::FRAGMENTS,
        MapType::LruHash,
        size_of::<FragmentKey>(),
        size_of::<FragmentValue>(),
    ),
    layout(maps::SIGNALS, MapType::RingBuf, 0, 0),
    layout(
        maps::SIGNALLED,
        MapType::LruHash,
        size_of::<AuthKey>(),
        size_of::<u64>(),
    ),
    layout(maps::FLOWS, MapType::RingBuf, 0, 0),
    layout(
        maps::METRICS,
        MapType::PerCpuArray,
        size_of::<u32>(),
        size_of::<[u64; 2]>(),
    ),
];

const fn layout(name: &'static str, kind: MapType, key: usize, value: usize) -> Layout {
    Layout {
        name,
        kind,
        key,
        value,
    }
}

/// The maps' names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    LAYOUTS.iter().map(|layout| layout.name)
}

/// What became of the pins of an earlier run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Adoption {
    /// Maps that go on with their contents.
    pub(crate) adopted: Vec<&'static str>,
    /// Maps that did not fit and were unpinned; the loader makes new, empty ones.
    pub(crate) replaced: Vec<&'static str>,
}

/// Unpins every map that this version's programs cannot use. The old programs keep the old maps until they are
/// replaced themselves; the new ones start from empty maps, which let nothing through.
pub(crate) fn adopt(directory: &Path, capacities: &Capacities) -> Result<Adoption, DatapathError> {
    let other_abi = abi_version(directory).is_some_and(|version| version != ABI_VERSION && version != 0);
    let mut adoption = Adoption::default();
    for layout in &LAYOUTS {
        let path = directory.join(layout.name);
        if !path.exists() {
            continue;
        }
        if !other_abi && fits(layout, &path, capacities) {
            adoption.adopted.push(layout.name);
            continue;
        }
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(DatapathError::PinDirectory {
                    action: "unpin",
                    path,
                    source,
                });
            }
            Ok(()) | Err(_) => adoption.replaced.push(layout.name),
        }
    }
    Ok(adoption)
}

fn fits(layout: &Layout, path: &Path, capacities: &Capacities) -> bool {
    let Ok(info) = MapInfo::from_pin(path) else {
        return false;
    };
    let fixed = match layout.name {
        maps::CONFIG => Some(1),
        maps::METRICS => Some(METRICS_LEN),
        name => capacities.of(name),
    };
    info.map_type().is_ok_and(|kind| kind == layout.kind)
        && u32::try_from(layout.key).is_ok_and(|key| key == info.key_size())
        && u32::try_from(layout.value).is_ok_and(|value| value == info.value_size())
        && fixed == Some(info.max_entries())
}

/// The version that the writer of the pinned settings had; none if there are no settings to be read.
fn abi_version(directory: &Path) -> Option<u32> {
    let data = MapData::from_pin(directory.join(maps::CONFIG)).ok()?;
    let config: Array<_, MeshConfig> = Map::from_map_data(data).ok()?.try_into().ok()?;
    Some(config.get(&0, 0).ok()?.abi_version)
}
