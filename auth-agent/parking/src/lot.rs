//! All that waits.

use std::collections::BTreeMap;

use signet_abi::{AuthKey, SecurityIdentity};

use crate::bounds::Bounds;
use crate::counts::{Counts, Fill};
use crate::queue::{Frame, Queue};

/// Packets of all pairs.
///
/// Shares are by sender: where all room is taken, the one who has the most gives way. So nobody who has less than the others is
/// pushed out by them, however many pairs they open.
#[derive(Debug)]
pub struct Lot {
    bounds: Bounds,
    queues: BTreeMap<AuthKey, Queue>,
    sources: BTreeMap<SecurityIdentity, Share>,
    fill: Fill,
    counts: Counts,
    evicted: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    packets: usize,
    bytes: usize,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// It is the first of its pair: ask for a proof.
    First,
    /// It stands behind others of its pair.
    Behind,
}

/// There was no room, and the packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Of the pair's own.
    #[error("too many packets of this pair wait for its proof")]
    Pair,
    /// Of all; and its sender has the most already.
    #[error("too many packets wait for proofs")]
    Lot,
}

impl Lot {
    /// An empty lot.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            queues: BTreeMap::new(),
            sources: BTreeMap::new(),
            fill: Fill::default(),
            counts: Counts::default(),
            evicted: Vec::new(),
        }
    }

    /// Takes a packet of `pair` in, which `source` has sent. Others that had to make room for it are in [`Lot::evicted`].
    pub fn park(
        &mut self,
        pair: AuthKey,
        source: SecurityIdentity,
        bytes: Vec<u8>,
        now: u64,
    ) -> Result<Parked, Full> {
        let (packets, held) = self
            .queues
            .get(&pair)
            .map_or((0, 0), |queue| (queue.packets(), queue.bytes()));
        if packets >= self.bounds.pair_packets || held + bytes.len() > self.bounds.pair_bytes {
            self.counts.overflowed += 1;
            return Err(Full::Pair);
        }
        while self.fill.packets >= self.bounds.packets || self.fill.bytes + bytes.len() > self.bounds.bytes {
            if !self.make_room(source) {
                self.counts.overflowed += 1;
                return Err(Full::Lot);
            }
        }
        let share = self.sources.entry(source).or_default();
        share.packets += 1;
        share.bytes += bytes.len();
        self.fill.packets += 1;
        self.fill.bytes += bytes.len();
        self.counts.parked += 1;
        // Making room may have emptied it.
        let queue = self.queues.entry(pair).or_default();
        let parked = if queue.packets() == 0 {
            Parked::First
        } else {
            Parked::Behind
        };
        queue.push(Frame {
            bytes,
            source,
            at: now,
        });
        self.fill.pairs = self.queues.len();
        Ok(parked)
    }

    /// Counts a packet that need not wait: its pair was proven while it was on its way here.
    pub fn pass(&mut self) {
        self.counts.parked += 1;
        self.counts.released += 1;
    }

    /// Takes out the packets of a pair that is proven now, in the order in which they came.
    pub fn release(&mut self, pair: &AuthKey) -> Vec<Vec<u8>> {
        let frames = self.take(pair);
        self.counts.released += frames.len() as u64;
        frames.into_iter().map(|frame| frame.bytes).collect()
    }

    /// Takes out the packets of a pair that cannot be proven.
    pub fn refuse(&mut self, pair: &AuthKey) -> Vec<Vec<u8>> {
        let frames = self.take(pair);
        self.counts.refused += frames.len() as u64;
        frames.into_iter().map(|frame| frame.bytes).collect()
    }

    /// Takes out everything: numbers of identities mean others now.
    pub fn refuse_all(&mut self) -> Vec<Vec<u8>> {
        self.counts.refused += self.fill.packets as u64;
        self.sources.clear();
        self.fill = Fill::default();
        let queues = std::mem::take(&mut self.queues).into_values();
        queues
            .flat_map(Queue::into_frames)
            .map(|frame| frame.bytes)
            .collect()
    }

    /// Takes out what had to make room for others since the last call.
    pub fn evicted(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.evicted)
    }

    /// Takes out what has waited for too long.
    pub fn expire(&mut self, now: u64) -> Vec<Vec<u8>> {
        let wait = u64::try_from(self.bounds.wait.as_nanos()).unwrap_or(u64::MAX);
        let Some(since) = now.checked_sub(wait) else {
            return Vec::new();
        };
        let late: Vec<AuthKey> = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.oldest().is_some_and(|at| at <= since))
            .map(|(pair, _)| *pair)
            .collect();
        let mut dropped = Vec::new();
        for pair in late {
            while let Some(frame) = self
                .queues
                .get_mut(&pair)
                .and_then(|queue| queue.pop_until(since))
            {
                self.left(&frame);
                dropped.push(frame.bytes);
            }
            self.forget_if_empty(&pair);
        }
        self.counts.expired += dropped.len() as u64;
        dropped
    }

    /// Pairs with packets, those that wait longest first.
    pub fn waiting(&self) -> Vec<AuthKey> {
        let mut pairs: Vec<_> = self
            .queues
            .iter()
            .filter_map(|(pair, queue)| Some((queue.oldest()?, *pair)))
            .collect();
        pairs.sort_unstable();
        pairs.into_iter().map(|(_, pair)| pair).collect()
    }

    /// Whether a packet of this pair waits.
    pub fn holds(&self, pair: &AuthKey) -> bool {
        self.queues.contains_key(pair)
    }

    /// What waits now.
    pub fn fill(&self) -> Fill {
        self.fill
    }

    /// What became of packets since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn take(&mut self, pair: &AuthKey) -> Vec<Frame> {
        let frames: Vec<Frame> = self
            .queues
            .remove(pair)
            .map(|queue| queue.into_frames().collect())
            .unwrap_or_default();
        for frame in &frames {
            self.left(frame);
        }
        self.fill.pairs = self.queues.len();
        frames
    }

    /// Takes out the newest packet of the sender that has the most bytes, from where it has most packets; false if that is nobody
    /// but the newcomer.
    fn make_room(&mut self, newcomer: SecurityIdentity) -> bool {
        let by_size = |(source, share): (&SecurityIdentity, &Share)| (share.bytes, share.packets, *source);
        let Some((_, _, hog)) = self.sources.iter().map(by_size).max() else {
            return false;
        };
        let size = |source| {
            self.sources
                .get(&source)
                .map_or((0, 0), |share| (share.bytes, share.packets))
        };
        if size(newcomer) >= size(hog) {
            return false;
        }
        let most = self.queues.iter().max_by_key(|(_, queue)| queue.packets_of(hog));
        let Some(pair) = most.map(|(pair, _)| *pair) else {
            return false;
        };
        let Some(frame) = self
            .queues
            .get_mut(&pair)
            .and_then(|queue| queue.pop_newest_of(hog))
        else {
            return false;
        };
        self.left(&frame);
        self.forget_if_empty(&pair);
        self.counts.overflowed += 1;
        self.evicted.push(frame.bytes);
        true
    }

    fn left(&mut self, frame: &Frame) {
        self.fill.packets -= 1;
        self.fill.bytes -= frame.bytes.len();
        if let Some(share) = self.sources.get_mut(&frame.source) {
            share.packets -= 1;
            share.bytes -= frame.bytes.len();
            if share.packets == 0 {
                self.sources.remove(&frame.source);
            }
        }
    }

    fn forget_if_empty(&mut self, pair: &AuthKey) {
        if self.queues.get(pair).is_some_and(|queue| queue.packets() == 0) {
            self.queues.remove(pair);
        }
        self.fill.pairs = self.queues.len();
    }
}
