//! `METRICS`: packets and bytes by reason and direction, summed over the CPUs.

use std::path::Path;

use aya::maps::{MapData, PerCpuArray};
use signet_abi::{Direction, Metric, Reason, maps, metrics_index};

use crate::error::MapError;
use crate::pin::Pin;

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CounterName {
    /// Packets that were judged so.
    Reason(Reason),
    /// Something else that the programs count.
    Metric(Metric),
}

impl CounterName {
    fn number(self) -> u8 {
        match self {
            Self::Reason(reason) => reason as u8,
            Self::Metric(metric) => metric as u8,
        }
    }
}

/// One counter's state, since the map was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// What is counted.
    pub name: CounterName,
    /// Which way, seen from the endpoint.
    pub direction: Direction,
    /// Packets.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// The counters.
pub struct MetricsMap {
    pin: Pin,
    map: PerCpuArray<MapData, [u64; 2]>,
}

impl std::fmt::Debug for MetricsMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetricsMap")
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

impl MetricsMap {
    /// Opens the map that signet-meshd has pinned in `dir`.
    ///
    /// # Errors
    /// [`MapError::Missing`] while there is no pin, [`MapError::Layout`] if it is another version's map.
    pub fn open(dir: &Path) -> Result<Self, MapError> {
        let (pin, map) = Pin::open(dir, maps::METRICS)?;
        match PerCpuArray::try_from(map) {
            Ok(map) => Ok(Self { pin, map }),
            Err(source) => Err(pin.layout(source)),
        }
    }

    /// One counter.
    pub fn get(&self, name: CounterName, direction: Direction) -> Result<Counter, MapError> {
        let per_cpu = self
            .map
            .get(&metrics_index(name.number(), direction), 0)
            .map_err(|source| self.pin.read(source))?;
        let [packets, bytes] = per_cpu.iter().fold([0_u64; 2], |sum, cpu| {
            [sum[0].wrapping_add(cpu[0]), sum[1].wrapping_add(cpu[1])]
        });
        Ok(Counter {
            name,
            direction,
            packets,
            bytes,
        })
    }

    /// Every counter that is not zero.
    pub fn entries(&self) -> Result<Vec<Counter>, MapError> {
        let metrics = [
            Metric::SignalSent,
            Metric::SignalSuppressed,
            Metric::SignalLost,
            Metric::FlowLost,
        ];
        let names = Reason::ALL
            .into_iter()
            .map(CounterName::Reason)
            .chain(metrics.map(CounterName::Metric));
        let mut counters = Vec::new();
        for name in names {
            for direction in [Direction::Ingress, Direction::Egress] {
                let counter = self.get(name, direction)?;
                if counter.packets > 0 {
                    counters.push(counter);
                }
            }
        }
        Ok(counters)
    }

    /// Whether the pin still is the map that was opened; if not, open it again.
    pub fn is_current(&self) -> bool {
        self.pin.is_current()
    }
}
