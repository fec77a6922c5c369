//! The packets of one pair.

use std::collections::VecDeque;

use signet_abi::SecurityIdentity;

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    /// Identity of the workload that sent it.
    pub(crate) source: SecurityIdentity,
    /// When it came.
    pub(crate) at: u64,
}

/// In the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Queue {
    pub(crate) fn packets(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn oldest(&self) -> Option<u64> {
        self.frames.front().map(|frame| frame.at)
    }

    pub(crate) fn push(&mut self, frame: Frame) {
        self.bytes += frame.bytes.len();
        self.frames.push_back(frame);
    }

    /// Takes the oldest, if it came at `at` or before.
    pub(crate) fn pop_until(&mut self, at: u64) -> Option<Frame> {
        let frame = self.frames.pop_front_if(|frame| frame.at <= at)?;
        self.bytes -= frame.bytes.len();
        Some(frame)
    }

    /// Takes the newest that `source` has sent.
    pub(crate) fn pop_newest_of(&mut self, source: SecurityIdentity) -> Option<Frame> {
        let at = self.frames.iter().rposition(|frame| frame.source == source)?;
        let frame = self.frames.remove(at)?;
        self.bytes -= frame.bytes.len();
        Some(frame)
    }

    /// How many `source` has sent.
    pub(crate) fn packets_of(&self, source: SecurityIdentity) -> usize {
        self.frames.iter().filter(|frame| frame.source == source).count()
    }

    pub(crate) fn into_frames(self) -> impl Iterator<Item = Frame> {
        self.frames.into_iter()
    }
}
