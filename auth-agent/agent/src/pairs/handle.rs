//! What happens to pairs, and the way to tell it to the actor.

use signet_abi::{AuthKey, Signal};
use signet_handshake::Proof;
use signet_session::NodeNumber;
use tokio::sync::{mpsc, oneshot};

use super::actor::Which;
use super::report::PairReport;

/// Events that wait for the actor.
const QUEUE: usize = 1024;

/// What happens to pairs.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a bounded queue of them is worth less than an allocation for each"
)]
pub enum Event {
    /// A packet lacks a proof.
    Signal(Signal),
    /// A person asks for a proof.
    Prove {
        /// Which.
        key: AuthKey,
        /// Told when it is written or has failed.
        reply: oneshot::Sender<PairReport>,
    },
    /// A handshake that a peer has opened gave a proof.
    Responded {
        /// The peer.
        node: NodeNumber,
        /// The proof.
        proof: Proof,
    },
    /// Pairs have live connections.
    Used(Vec<AuthKey>),
    /// A person drops proofs.
    Flush {
        /// Which.
        which: Which,
        /// Told how many.
        reply: oneshot::Sender<usize>,
    },
    /// A session with the peer is up, and its kernel is another one than before.
    Rebooted {
        /// The peer.
        node: NodeNumber,
    },
    /// A person asks how things stand.
    Report(oneshot::Sender<Vec<PairReport>>),
}

/// Reaches the actor.
#[derive(Clone, Debug)]
pub struct Pairs(mpsc::Sender<Event>);

impl Pairs {
    /// A handle, and what the actor receives by.
    pub fn channel() -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Passes a signal on; false if there are too many. The kernel will ask again.
    pub fn signal(&self, signal: Signal) -> bool {
        self.0.try_send(Event::Signal(signal)).is_ok()
    }

    /// Passes on a proof from a handshake that a peer has opened.
    pub async fn responded(&self, node: NodeNumber, proof: Proof) {
        // The actor ends with the process only.
        let _ = self.0.send(Event::Responded { node, proof }).await;
    }

    /// Says that a peer's kernel is another one than before.
    pub async fn rebooted(&self, node: NodeNumber) {
        // The actor ends with the process only.
        let _ = self.0.send(Event::Rebooted { node }).await;
    }

    /// Asks for a proof and waits until it is there or has failed.
    pub async fn prove(&self, key: AuthKey) -> Option<PairReport> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Event::Prove { key, reply }).await.ok()?;
        answer.await.ok()
    }

    /// Passes on which pairs have live connections.
    pub async fn used(&self, keys: Vec<AuthKey>) {
        // The actor ends with the process only.
        let _ = self.0.send(Event::Used(keys)).await;
    }

    /// Drops proofs; says how many.
    pub async fn flush(&self, which: Which) -> Option<usize> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Event::Flush { which, reply }).await.ok()?;
        answer.await.ok()
    }

    /// All pairs.
    pub async fn report(&self) -> Vec<PairReport> {
        let (reply, answer) = oneshot::channel();
        if self.0.send(Event::Report(reply)).await.is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
    }
}
