//! The operator's calls about the issuance log.

use std::sync::Arc;
use std::time::Duration;

use signet_log::{Hash, Plan};
use signet_proto::ca::v1::prove_log_entry_request::Entry as Wanted;
use signet_proto::ca::v1::{
    LogEntry, ProveLogEntryRequest, ProveLogEntryResponse, ProveLogGrowthRequest, ProveLogGrowthResponse,
    ReadLogRequest, ReadLogResponse, SignLogCheckpointResponse,
};
use signet_registry::{StorageError, StoredLeaf};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::{error, info};

use crate::ca::Ca;
use crate::limits::{LOG_CHECKPOINT, LOG_PAGE, UNREAD};
use crate::refusal::{self, invalid};

/// What a reader of the log reads from.
pub(crate) type Entries = ReceiverStream<Result<ReadLogResponse, Status>>;

impl Ca {
    pub(crate) async fn sign_checkpoint(&self) -> Result<SignLogCheckpointResponse, Status> {
        let checkpoint = self.log.checkpoint(&self.registry, self.clock.now()).await;
        Ok(SignLogCheckpointResponse {
            note: checkpoint.map_err(|error| refusal::head(&error))?.note,
            verifier_key: self.log.verifier().to_string(),
        })
    }

    /// Up to the end that the log has now. Reads on when there is room, so a slow reader costs no memory.
    pub(crate) async fn read_log(self: &Arc<Self>, request: &ReadLogRequest) -> Result<Entries, Status> {
        let size = self.registry.log_size().await.map_err(|error| failed(&error))?;
        let end = match request.limit {
            0 => size,
            limit => size.min(request.start.saturating_add(limit)),
        };
        let (sender, entries) = mpsc::channel(1);
        let (ca, start) = (Arc::clone(self), request.start);
        tokio::spawn(async move {
            tokio::select! {
                () = ca.shutdown.cancelled() => {}
                () = send_log(&ca, start, end, &sender) => {}
            }
        });
        Ok(ReceiverStream::new(entries))
    }

    pub(crate) async fn prove_entry(
        &self,
        request: &ProveLogEntryRequest,
    ) -> Result<ProveLogEntryResponse, Status> {
        let position = match &request.entry {
            Some(Wanted::Position(position)) => *position,
            Some(Wanted::Serial(serial)) => {
                let found = self
                    .registry
                    .log_position(serial)
                    .await
                    .map_err(|error| failed(&error))?;
                found.ok_or_else(|| {
                    Status::not_found("no SVID with that serial number is in the issuance log")
                })?
            }
            None => return Err(invalid("say which entry: by its position or by a serial number")),
        };
        let checkpoint = self
            .log
            .checkpoint(&self.registry, self.clock.now())
            .await
            .map_err(|error| refusal::head(&error))?;
        let size = match request.size {
            0 => checkpoint.size,
            size if size <= checkpoint.size => size,
            size => return Err(beyond(size, checkpoint.size)),
        };
        let plan = Plan::inclusion(position, size).map_err(invalid)?;
        let proof = self
            .registry
            .log_proof(&plan)
            .await
            .map_err(|error| failed(&error))?;
        let mut leaves = self
            .registry
            .log_leaves(position, 1)
            .await
            .map_err(|error| failed(&error))?;
        Ok(ProveLogEntryResponse {
            entry: leaves.pop().map(entry),
            proof: hashes(&proof),
            note: checkpoint.note,
            verifier_key: self.log.verifier().to_string(),
            size,
        })
    }

    pub(crate) async fn prove_growth(
        &self,
        request: &ProveLogGrowthRequest,
    ) -> Result<ProveLogGrowthResponse, Status> {
        let size = self.registry.log_size().await.map_err(|error| failed(&error))?;
        if request.new_size > size {
            return Err(beyond(request.new_size, size));
        }
        let plan = Plan::consistency(request.old_size, request.new_size).map_err(invalid)?;
        let proof = self
            .registry
            .log_proof(&plan)
            .await
            .map_err(|error| failed(&error))?;
        Ok(ProveLogGrowthResponse {
            proof: hashes(&proof),
        })
    }
}

/// Signs a head now and then, for as long as it is polled; none where nothing was added.
pub(crate) async fn sign_now_and_then(ca: Arc<Ca>) {
    let mut last = None;
    loop {
        sleep(LOG_CHECKPOINT).await;
        match ca.log.checkpoint(&ca.registry, ca.clock.now()).await {
            Ok(checkpoint) if last == Some(checkpoint.size) => {}
            Ok(checkpoint) => {
                info!(
                    log.size = checkpoint.size,
                    "signed a checkpoint of the issuance log"
                );
                last = Some(checkpoint.size);
            }
            Err(error) => error!(%error, "no checkpoint of the issuance log was signed"),
        }
    }
}

async fn send_log(ca: &Ca, mut start: u64, end: u64, to: &mpsc::Sender<Result<ReadLogResponse, Status>>) {
    while start < end {
        let count = u32::try_from(end - start).unwrap_or(u32::MAX).min(LOG_PAGE);
        let page = match ca.registry.log_leaves(start, count).await {
            Ok(leaves) => Ok(ReadLogResponse {
                entries: leaves.into_iter().map(entry).collect(),
            }),
            Err(error) => Err(failed(&error)),
        };
        let next = page
            .as_ref()
            .ok()
            .and_then(|page| page.entries.last())
            .map(|last| last.position + 1);
        if !send(to, page).await {
            return;
        }
        // A page without entries is a hole up to the end: the reader sees that something is missing.
        let Some(next) = next else { return };
        start = next;
    }
}

async fn send(
    to: &mpsc::Sender<Result<ReadLogResponse, Status>>,
    page: Result<ReadLogResponse, Status>,
) -> bool {
    let patience: Duration = UNREAD;
    matches!(timeout(patience, to.send(page)).await, Ok(Ok(())))
}

fn failed(error: &StorageError) -> Status {
    refusal::storage("log", error)
}

fn beyond(size: u64, have: u64) -> Status {
    invalid(format!("the issuance log has {have} entries, not {size}"))
}

fn entry(leaf: StoredLeaf) -> LogEntry {
    LogEntry {
        position: leaf.position,
        hashes: hashes(&leaf.hashes),
        leaf: leaf.leaf,
    }
}

fn hashes(hashes: &[Hash]) -> Vec<Vec<u8>> {
    hashes.iter().map(|hash| hash.0.to_vec()).collect()
}
