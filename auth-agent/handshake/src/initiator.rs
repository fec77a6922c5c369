//! The side that asks: the inner TLS client.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use rustls::{ClientConnection, Connection};
use rustls_pki_types::ServerName;
use signet_tls::{Expect, Witness};

use crate::awaiting::{AwaitingConfirm, Progress};
use crate::confirm::Role;
use crate::engine::Engine;
use crate::error::HandshakeError;
use crate::limits::Now;
use crate::name::server_name;
use crate::party::Party;

/// The side that asks. Mirrors [`crate::Responder`].
pub struct Initiator {
    engine: Engine,
    party: Party,
}

impl Initiator {
    /// Begins; the records are the first to send.
    pub fn start(party: Party, now: Now) -> Result<(Self, Vec<u8>), HandshakeError> {
        party.check_local(now)?;
        let expect = Expect::Exactly(party.remote.clone());
        let witness = Witness::default();
        let own = party.local.shown().map_err(HandshakeError::Config)?;
        let config = signet_tls::client_config_before(own, party.bundles.clone(), expect, witness.clone())
            .map_err(HandshakeError::Config)?;
        let name = server_name(&party.remote).map_err(|_| HandshakeError::ServerName)?;
        let connection = ClientConnection::new(Arc::new(config), ServerName::DnsName(name))
            .map_err(HandshakeError::Tls)?;
        let mut engine = Engine::new(Connection::Client(connection), witness, party.limits, now);
        let records = engine.drain()?;
        Ok((Self { engine, party }, records))
    }

    /// When the handshake must be over.
    pub fn deadline(&self) -> Instant {
        self.engine.deadline()
    }

    /// Takes records of the responder.
    pub fn on_records(mut self, records: &[u8], now: Now) -> Result<Progress<Self>, HandshakeError> {
        self.engine.feed(records, now)?;
        let records = self.engine.drain()?;
        if !self.engine.is_complete() {
            return Ok(Progress::More { state: self, records });
        }
        let (state, mac) = AwaitingConfirm::new(&self.engine, &self.party, Role::Initiator, now)?;
        Ok(Progress::Complete { state, records, mac })
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiator")
            .field("party", &self.party)
            .finish_non_exhaustive()
    }
}
