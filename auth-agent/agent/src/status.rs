//! Counters and the last fault, for `signet status`.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use signet_proto::agent::v1::ProofRoom;

use crate::ahead::AheadReport;
use crate::custody::Report;
use crate::feed::Feed;
use crate::leases::Sight;
use crate::pairs::Tally;
use crate::parking::Parking;

/// What the operator sees of this agent.
#[derive(Debug, Default)]
pub struct Status {
    ca_connected: AtomicBool,
    mesh_connected: AtomicBool,
    keyd_connected: AtomicBool,
    /// Whether this node sees its own endpoints.
    pub sight: Sight,
    node_svid_not_before: AtomicI64,
    node_svid_not_after: AtomicI64,
    /// Signals read from the ring.
    pub signals_received: AtomicU64,
    /// Signals that led to no handshake because of a bound or a backoff.
    pub signals_refused: AtomicU64,
    /// Handshakes that ended with a proof.
    pub handshakes_ok: AtomicU64,
    /// Handshakes that did not.
    pub handshakes_failed: AtomicU64,
    /// Packets that wait for proofs.
    pub parking: Parking,
    /// How long handshakes took, and why they failed.
    pub tally: Tally,
    /// What happens, for those who watch.
    pub feed: Feed,
    /// What is proven before anybody asks.
    pub ahead: AheadReport,
    /// What is kept for the agent's next life.
    pub custody: Report,
    /// Room for proofs in the kernel.
    pub room: RoomReport,
    last_error: Mutex<String>,
}

/// Room for proofs in the kernel's map.
#[derive(Debug, Default)]
pub struct RoomReport {
    /// How many it has room for; 0: not known yet.
    pub slots: AtomicU64,
    /// How many percent, at least, are taken, of those that are worth telling; 0: less.
    pub pressure: AtomicU32,
    /// Proofs that gave way to others.
    pub gave_way: AtomicU64,
    /// Pairs that were turned away for want of room.
    pub turned_away: AtomicU64,
}

impl RoomReport {
    /// For `Status`.
    pub(crate) fn to_wire(&self) -> ProofRoom {
        ProofRoom {
            slots: self.slots.load(Relaxed),
            pressure: self.pressure.load(Relaxed),
            gave_way: self.gave_way.load(Relaxed),
            turned_away: self.turned_away.load(Relaxed),
        }
    }
}

impl Status {
    /// Notes a fault and logs it. `part` says what it is about.
    pub fn fail(&self, part: &'static str, error: &anyhow::Error) {
        let text = format!("{error:#}");
        tracing::warn!(part, error = %text, "will try again");
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = format!("{part}: {text}");
    }

    /// The last fault; empty if there was none.
    pub fn last_error(&self) -> String {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the view is being followed.
    pub fn ca_connected(&self) -> bool {
        self.ca_connected.load(Relaxed)
    }

    pub(crate) fn set_ca_connected(&self, connected: bool) {
        self.ca_connected.store(connected, Relaxed);
    }

    /// Whether the endpoints are being followed.
    pub fn mesh_connected(&self) -> bool {
        self.mesh_connected.load(Relaxed)
    }

    pub(crate) fn set_mesh_connected(&self, connected: bool) {
        self.mesh_connected.store(connected, Relaxed);
    }

    /// Whether signet-keyd answers.
    pub fn keyd_connected(&self) -> bool {
        self.keyd_connected.load(Relaxed)
    }

    pub(crate) fn set_keyd_connected(&self, connected: bool) {
        self.keyd_connected.store(connected, Relaxed);
    }

    /// Beginning of the node's SVID, Unix seconds; 0 before there is one.
    pub fn node_svid_not_before(&self) -> i64 {
        self.node_svid_not_before.load(Relaxed)
    }

    /// End of the node's SVID, Unix seconds; 0 before there is one.
    pub fn node_svid_not_after(&self) -> i64 {
        self.node_svid_not_after.load(Relaxed)
    }

    pub(crate) fn set_node_svid(&self, not_before: i64, not_after: i64) {
        self.node_svid_not_before.store(not_before, Relaxed);
        self.node_svid_not_after.store(not_after, Relaxed);
    }
}
