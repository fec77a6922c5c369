//! What every pinned map has in common: its name, its pin, its size.

use std::path::{Path, PathBuf};

use aya::maps::{Map, MapData, MapInfo};

use crate::error::{MapError, errno};

/// How full a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapFill {
    /// Entries in it now.
    pub entries: u32,
    /// Entries it can hold.
    pub capacity: u32,
}

/// Which kernel map a handle has open.
#[derive(Debug)]
pub(crate) struct Pin {
    pub(crate) map: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) capacity: u32,
    id: u32,
}

impl Pin {
    /// Opens the map pinned under its name in `dir`, as the generic handle that aya's typed ones are made of.
    pub(crate) fn open(dir: &Path, map: &'static str) -> Result<(Self, Map), MapError> {
        let path = dir.join(map);
        let opened = MapData::from_pin(&path).and_then(|data| {
            let info = data.info()?;
            Ok((info.id(), info.max_entries(), Map::from_map_data(data)?))
        });
        match opened {
            Ok((id, capacity, handle)) => Ok((
                Self {
                    map,
                    path,
                    capacity,
                    id,
                },
                handle,
            )),
            Err(source) if errno(&source) == Some(rustix::io::Errno::NOENT.raw_os_error()) => {
                Err(MapError::Missing { map, path })
            }
            Err(source) => Err(MapError::Kernel {
                map,
                action: "open",
                source,
            }),
        }
    }

    /// Whether the map behind the pin is still the one that was opened; false once it was replaced or removed.
    pub(crate) fn is_current(&self) -> bool {
        MapInfo::from_pin(&self.path).is_ok_and(|info| info.id() == self.id)
    }

    pub(crate) fn layout(&self, source: aya::maps::MapError) -> MapError {
        MapError::Layout {
            map: self.map,
            path: self.path.clone(),
            source,
        }
    }

    pub(crate) fn read(&self, source: aya::maps::MapError) -> MapError {
        MapError::Kernel {
            map: self.map,
            action: "read",
            source,
        }
    }

    /// Upper bound of steps when walking the map: while others delete, the kernel may start over.
    pub(crate) fn walk_limit(&self) -> usize {
        usize::try_from(self.capacity)
            .unwrap_or(usize::MAX)
            .saturating_mul(2)
            .saturating_add(16)
    }
}
