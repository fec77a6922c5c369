//! A rustls connection that is fed by messages instead of a socket, within bounds.

use std::sync::Arc;
use std::time::Instant;

use rustls::Connection;
use signet_spiffe::{BundleSet, VerifiedSvid};
use signet_tls::{PeerError, Witness};

use crate::error::HandshakeError;
use crate::limits::{Limits, Now};

pub(crate) struct Engine {
    connection: Connection,
    witness: Witness,
    limits: Limits,
    deadline: Instant,
    received: usize,
    sent: usize,
    messages: u32,
}

impl Engine {
    /// `witness` is what the connection's verifier tells.
    pub(crate) fn new(connection: Connection, witness: Witness, limits: Limits, now: Now) -> Self {
        let deadline = now.clock + limits.deadline;
        Self {
            connection,
            witness,
            limits,
            deadline,
            received: 0,
            sent: 0,
            messages: 0,
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The peer's SVID under these bundles, those of now.
    pub(crate) fn peer(&self, bundles: &Arc<BundleSet>, now: Now) -> Result<VerifiedSvid, PeerError> {
        self.witness
            .svid(self.connection.peer_certificates(), bundles, now.unix)
    }

    pub(crate) fn is_complete(&self) -> bool {
        !self.connection.is_handshaking()
    }

    pub(crate) fn in_time(&self, now: Now) -> Result<(), HandshakeError> {
        if now.clock < self.deadline {
            Ok(())
        } else {
            Err(HandshakeError::Deadline)
        }
    }

    /// Takes the peer's records.
    pub(crate) fn feed(&mut self, records: &[u8], now: Now) -> Result<(), HandshakeError> {
        self.in_time(now)?;
        self.messages += 1;
        if self.messages > self.limits.messages {
            return Err(HandshakeError::TooManyMessages(self.limits.messages));
        }
        self.received = bounded(self.received, records.len(), self.limits.bytes)?;
        let mut unread = records;
        while !unread.is_empty() {
            match self.connection.read_tls(&mut unread) {
                Ok(0) | Err(_) => return Err(HandshakeError::Unexpected),
                Ok(_) => {}
            }
            let state = self
                .connection
                .process_new_packets()
                .map_err(HandshakeError::from_tls)?;
            if state.plaintext_bytes_to_read() > 0 || state.peer_has_closed() {
                return Err(HandshakeError::Unexpected);
            }
        }
        Ok(())
    }

    /// The records to send now; empty while the peer's flight is not complete.
    pub(crate) fn drain(&mut self) -> Result<Vec<u8>, HandshakeError> {
        let mut records = Vec::new();
        while self.connection.wants_write() {
            self.connection
                .write_tls(&mut records)
                .map_err(|_| HandshakeError::Unexpected)?;
        }
        self.sent = bounded(self.sent, records.len(), self.limits.bytes)?;
        Ok(records)
    }
}

fn bounded(so_far: usize, more: usize, limit: usize) -> Result<usize, HandshakeError> {
    so_far
        .checked_add(more)
        .filter(|sum| *sum <= limit)
        .ok_or(HandshakeError::TooLarge(limit))
}
