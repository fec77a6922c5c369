//! `CONFIG`: the node's settings.

use std::path::Path;

use aya::maps::{Array, MapData};
use signet_abi::{MeshConfig, maps};

use crate::error::{MapError, write_error};
use crate::pin::Pin;

/// The node's settings.
pub struct ConfigMap {
    pin: Pin,
    map: Array<MapData, MeshConfig>,
}

impl std::fmt::Debug for ConfigMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigMap")
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

impl ConfigMap {
    /// Opens the map that signet-meshd has pinned in `dir`.
    ///
    /// # Errors
    /// [`MapError::Missing`] while there is no pin, [`MapError::Layout`] if it is another version's map.
    pub fn open(dir: &Path) -> Result<Self, MapError> {
        let (pin, map) = Pin::open(dir, maps::CONFIG)?;
        match Array::try_from(map) {
            Ok(map) => Ok(Self { pin, map }),
            Err(source) => Err(pin.layout(source)),
        }
    }

    /// The settings; all zero (so that the programs drop everything) until they were first written.
    pub fn get(&self) -> Result<MeshConfig, MapError> {
        self.map.get(&0, 0).map_err(|source| self.pin.read(source))
    }

    /// Replaces the settings.
    pub fn set(&mut self, config: &MeshConfig) -> Result<(), MapError> {
        self.map
            .set(0, *config, 0)
            .map_err(|source| write_error(self.pin.map, self.pin.capacity, source))
    }

    /// Whether the pin still is the map that was opened; if not, open it again.
    pub fn is_current(&self) -> bool {
        self.pin.is_current()
    }
}
