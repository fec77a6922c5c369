//! Takes down every certificate before it is handed out, many at a time: what is not in the registry could not be revoked.

use signet_registry::{Issued, Registry, StorageError, Withheld};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;

/// Certificates that wait; whoever brings one more waits before it.
const QUEUE: usize = 1024;

/// Certificates in one transaction.
const BATCH: usize = 256;

/// Why a certificate must not be handed out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error(transparent)]
    Withheld(#[from] Withheld),
    /// The registry failed; its words are in the log, once for the whole batch.
    #[error("the registry could not take the certificate down")]
    Failed,
}

type Entry = (Issued, oneshot::Sender<Result<(), LedgerError>>);

/// Reaches the task that writes.
#[derive(Debug, Clone)]
pub(crate) struct Ledger(mpsc::Sender<Entry>);

impl Ledger {
    /// Starts the task; it ends with the last clone.
    pub(crate) fn start(registry: Registry, clock: Clock) -> Self {
        let (sender, entries) = mpsc::channel(QUEUE);
        tokio::spawn(write(registry, clock, entries));
        Self(sender)
    }

    /// Takes a certificate down. Only after this has succeeded may anybody see it.
    pub(crate) async fn record(&self, issued: Issued) -> Result<(), LedgerError> {
        let (reply, verdict) = oneshot::channel();
        self.0
            .send((issued, reply))
            .await
            .map_err(|_| LedgerError::Failed)?;
        verdict.await.unwrap_or(Err(LedgerError::Failed))
    }
}

/// While one transaction is under way the next batch gathers.
async fn write(registry: Registry, clock: Clock, mut entries: mpsc::Receiver<Entry>) {
    let mut batch = Vec::with_capacity(BATCH);
    while entries.recv_many(&mut batch, BATCH).await > 0 {
        let (issued, replies): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        match registry.record_issued(&issued, clock.now()).await {
            Ok(verdicts) => {
                for (reply, verdict) in replies.into_iter().zip(verdicts) {
                    // Whoever asked may have gone away.
                    let _ = reply.send(verdict.map_err(LedgerError::from));
                }
            }
            Err(error) => {
                log(&error, replies.len());
                for reply in replies {
                    let _ = reply.send(Err(LedgerError::Failed));
                }
            }
        }
    }
}

fn log(error: &StorageError, certificates: usize) {
    tracing::error!(%error, certificates, "certificates could not be taken down and are not handed out");
}
