//! The side that is asked: the inner TLS server.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use rustls::{Connection, ServerConnection};
use signet_tls::{Expect, Witness};

use crate::awaiting::{AwaitingConfirm, Progress};
use crate::confirm::Role;
use crate::engine::Engine;
use crate::error::HandshakeError;
use crate::limits::Now;
use crate::name::server_name;
use crate::party::Party;

/// The side that is asked. Mirrors [`crate::Initiator`].
pub struct Responder {
    engine: Engine,
    party: Party,
}

impl Responder {
    /// Begins with the initiator's first records.
    pub fn accept(party: Party, records: &[u8], now: Now) -> Result<Progress<Self>, HandshakeError> {
        party.check_local(now)?;
        let expect = Expect::Exactly(party.remote.clone());
        let witness = Witness::default();
        let own = party.local.shown().map_err(HandshakeError::Config)?;
        let config = signet_tls::server_config_before(own, party.bundles.clone(), expect, witness.clone())
            .map_err(HandshakeError::Config)?;
        let connection = ServerConnection::new(Arc::new(config)).map_err(HandshakeError::Tls)?;
        let engine = Engine::new(Connection::Server(connection), witness, party.limits, now);
        Self { engine, party }.on_records(records, now)
    }

    /// When the handshake must be over.
    pub fn deadline(&self) -> Instant {
        self.engine.deadline()
    }

    /// Takes records of the initiator.
    pub fn on_records(mut self, records: &[u8], now: Now) -> Result<Progress<Self>, HandshakeError> {
        self.engine.feed(records, now)?;
        let records = self.engine.drain()?;
        if !records.is_empty() || self.engine.is_complete() {
            // The client hello is complete. Nothing leaves before the wanted name was seen to be ours.
            self.check_server_name()?;
        }
        if !self.engine.is_complete() {
            return Ok(Progress::More { state: self, records });
        }
        let (state, mac) = AwaitingConfirm::new(&self.engine, &self.party, Role::Responder, now)?;
        Ok(Progress::Complete { state, records, mac })
    }

    fn check_server_name(&self) -> Result<(), HandshakeError> {
        let own = server_name(self.party.local.id()).map_err(|_| HandshakeError::ServerName)?;
        match self.engine.connection() {
            Connection::Server(server) if server.server_name() == Some(own.as_ref()) => Ok(()),
            Connection::Server(_) | Connection::Client(_) => Err(HandshakeError::WrongServerName),
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("party", &self.party)
            .finish_non_exhaustive()
    }
}
