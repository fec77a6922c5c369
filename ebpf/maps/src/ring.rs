//! Ring buffers: `SIGNALS` and `FLOWS`.

use std::marker::PhantomData;
use std::path::Path;

use aya::maps::{MapData, RingBuf};
use signet_abi::{Flow, Signal, maps};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::decode;
use crate::error::MapError;
use crate::pin::Pin;

/// Most records that one [`PinnedRing::next_batch`] returns.
const BATCH: usize = 256;

/// A record of a pinned ring buffer; it says which one.
pub trait Record: Sized {
    /// The map's name ([`signet_abi::maps`]).
    const MAP: &'static str;
    /// The record in these bytes; None if they are not one.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// A pinned ring buffer. It has one reader: what one takes, others do not see.
pub struct PinnedRing<R> {
    pin: Pin,
    ring: AsyncFd<RingBuf<MapData>>,
    malformed: u64,
    record: PhantomData<fn() -> R>,
}

impl<R> std::fmt::Debug for PinnedRing<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PinnedRing")
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

impl<R: Record> PinnedRing<R> {
    /// Opens the ring that signet-meshd has pinned in `dir`. Needs a tokio runtime with IO enabled.
    ///
    /// # Errors
    /// [`MapError::Missing`] while there is no pin, [`MapError::Layout`] if it is another version's map.
    pub fn open(dir: &Path) -> Result<Self, MapError> {
        let (pin, map) = Pin::open(dir, R::MAP)?;
        let ring = match RingBuf::try_from(map) {
            Ok(ring) => ring,
            Err(source) => return Err(pin.layout(source)),
        };
        #[expect(
            deprecated,
            reason = "its successor is unsafe and asks that the descriptor outlives the registration; RingBuf owns it"
        )]
        let ring = AsyncFd::with_interest(ring, Interest::READABLE)
            .map_err(|source| MapError::Wait { map: R::MAP, source })?;
        Ok(Self {
            pin,
            ring,
            malformed: 0,
            record: PhantomData,
        })
    }

    /// Waits until there is at least one record and takes up to 256, oldest first. Cancel safe: nothing is taken
    /// before it returns.
    pub async fn next_batch(&mut self) -> Result<Vec<R>, MapError> {
        loop {
            let batch = self.take_ready();
            if !batch.is_empty() {
                return Ok(batch);
            }
            let mut ready = self
                .ring
                .readable_mut()
                .await
                .map_err(|source| MapError::Wait { map: R::MAP, source })?;
            // The ring is looked at again before the next wait, so that no record is slept over.
            ready.clear_ready();
        }
    }

    /// Takes the records that are there, up to 256, oldest first, without waiting.
    pub fn take_ready(&mut self) -> Vec<R> {
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(item) = self.ring.get_mut().next()
        {
            match R::decode(&item) {
                Some(record) => batch.push(record),
                None => self.malformed = self.malformed.saturating_add(1),
            }
        }
        batch
    }

    /// Records that were not of the expected size and were left out. Anything but 0 is a fault in the programs.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Whether the pin still is the ring that was opened; if not, open it again.
    pub fn is_current(&self) -> bool {
        self.pin.is_current()
    }
}

/// Pairs that need a proof. Read by signet-agent.
pub type SignalRing = PinnedRing<Signal>;
/// Judgements worth seeing. Read by signet-meshd.
pub type FlowRing = PinnedRing<Flow>;

impl Record for Signal {
    const MAP: &'static str = maps::SIGNALS;

    fn decode(bytes: &[u8]) -> Option<Self> {
        decode::signal(bytes)
    }
}

impl Record for Flow {
    const MAP: &'static str = maps::FLOWS;

    fn decode(bytes: &[u8]) -> Option<Self> {
        decode::flow(bytes)
    }
}
