//! `CT4` and `CT6` side by side.

use std::net::IpAddr;
use std::path::Path;

use signet_abi::{Ct4Key, Ct6Key, CtValue};

use crate::error::MapError;
use crate::hash::{Ct4Map, Ct6Map, PinnedHash};
use crate::pin::MapFill;

/// A tracked connection of either family, as its initiator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Initiator.
    pub source: IpAddr,
    /// Responder.
    pub destination: IpAddr,
    /// Initiator's port, or the identifier of an ICMP echo.
    pub source_port: u16,
    /// Responder's port, or the identifier of an ICMP echo.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// [`signet_abi::Direction`] as `u8`: who opened it, seen from the local endpoint.
    pub direction: u8,
    /// What is remembered of it.
    pub state: CtValue,
}

/// The connections of both families.
#[derive(Debug)]
pub struct CtMaps {
    /// IPv4.
    pub v4: Ct4Map,
    /// IPv6.
    pub v6: Ct6Map,
}

impl CtMaps {
    /// Opens both maps that signet-meshd has pinned in `dir`.
    ///
    /// # Errors
    /// [`MapError::Missing`] while there is no pin, [`MapError::Layout`] if it is another version's map.
    pub fn open(dir: &Path) -> Result<Self, MapError> {
        Ok(Self {
            v4: PinnedHash::open(dir)?,
            v6: PinnedHash::open(dir)?,
        })
    }

    /// All connections of both families, dead ones that were not yet swept included.
    pub fn entries(&self) -> Result<Vec<Connection>, MapError> {
        let v4 = self
            .v4
            .entries()?
            .into_iter()
            .map(|(key, state)| from_v4(&key, state));
        let v6 = self
            .v6
            .entries()?
            .into_iter()
            .map(|(key, state)| from_v6(&key, state));
        Ok(v4.chain(v6).collect())
    }

    /// Shows what is remembered of every connection of both families, dead ones included, one at a time.
    pub fn each_state(&self, mut see: impl FnMut(CtValue)) -> Result<(), MapError> {
        self.v4.each(&mut see)?;
        self.v6.each(see)
    }

    /// Removes what had expired by `now` (`CLOCK_BOOTTIME`, ns); says how many. The programs ignore expired entries
    /// anyhow: this only makes room.
    pub fn sweep(&mut self, now: u64) -> Result<usize, MapError> {
        let mut removed = 0;
        for (key, state) in self.v4.entries()? {
            if state.expires <= now && self.v4.remove(&key)? {
                removed += 1;
            }
        }
        for (key, state) in self.v6.entries()? {
            if state.expires <= now && self.v6.remove(&key)? {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// How full both maps are together.
    pub fn fill(&self) -> Result<MapFill, MapError> {
        let (v4, v6) = (self.v4.fill()?, self.v6.fill()?);
        Ok(MapFill {
            entries: v4.entries.saturating_add(v6.entries),
            capacity: v4.capacity.saturating_add(v6.capacity),
        })
    }
}

fn from_v4(key: &Ct4Key, state: CtValue) -> Connection {
    Connection {
        source: IpAddr::from(key.source),
        destination: IpAddr::from(key.destination),
        source_port: u16::from_be_bytes(key.source_port),
        destination_port: u16::from_be_bytes(key.destination_port),
        protocol: key.protocol,
        direction: key.direction,
        state,
    }
}

fn from_v6(key: &Ct6Key, state: CtValue) -> Connection {
    Connection {
        source: IpAddr::from(key.source),
        destination: IpAddr::from(key.destination),
        source_port: u16::from_be_bytes(key.source_port),
        destination_port: u16::from_be_bytes(key.destination_port),
        protocol: key.protocol,
        direction: key.direction,
        state,
    }
}
