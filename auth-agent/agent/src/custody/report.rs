//! What people are told of it.

use std::sync::{Mutex, PoisonError};

use signet_proto::agent::v1::Custody as Wire;
use signet_proto::agent::v1::custody::State as WireState;

/// Whether there is something for the next life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Not yet, or no more, for this reason.
    Empty(String),
    /// Nothing is to be kept.
    #[default]
    Off,
    /// Nothing can be kept, for this reason.
    Unavailable(String),
    /// A file.
    Kept {
        /// Its length.
        bytes: u64,
        /// X.509-SVIDs in it.
        svids: u32,
    },
}

/// The state of the moment.
#[derive(Debug, Default)]
pub struct Report(Mutex<(State, u32)>);

impl Report {
    pub(super) fn set(&self, state: State) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = state;
    }

    pub(super) fn restored(&self, svids: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = svids;
    }

    /// For the wire.
    pub fn to_wire(&self) -> Wire {
        let (state, restored) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (state, reason, bytes, svids) = match state {
            State::Off => (WireState::Off, String::new(), 0, 0),
            State::Empty(reason) => (WireState::Empty, reason, 0, 0),
            State::Unavailable(reason) => (WireState::Unavailable, reason, 0, 0),
            State::Kept { bytes, svids } => (WireState::Kept, String::new(), bytes, svids),
        };
        Wire {
            state: state.into(),
            reason,
            bytes,
            restored,
            svids,
        }
    }
}
