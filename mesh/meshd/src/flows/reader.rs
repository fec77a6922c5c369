//! Reads the kernel's ring.

use std::path::Path;
use std::time::Duration;

use signet_maps::{FlowRing, MapError};
use tokio::time::sleep;

use super::log::FlowLog;

/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// Events gather for so long before they are taken. The kernel wakes a reader only if it has taken all there was; one
/// that takes each event at once is woken by nearly every connection, on the processor that handles the connection.
/// The ring (1 MiB, 10,000 events) holds what a million new connections a second leave in that time.
const GATHER: Duration = Duration::from_millis(10);

/// Moves flow events into the log, for ever. The ring itself counts what it had no room for.
pub(crate) async fn read_flows(pins: &Path, log: &FlowLog) {
    loop {
        if let Err(error) = read(pins, log).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "failed to read flow events, trying again"
            );
        }
        sleep(RETRY).await;
    }
}

async fn read(pins: &Path, log: &FlowLog) -> Result<(), MapError> {
    let mut ring = FlowRing::open(pins)?;
    loop {
        let mut batch = ring.next_batch().await?;
        while !batch.is_empty() {
            log.extend(batch);
            tokio::task::yield_now().await;
            batch = ring.take_ready();
        }
        sleep(GATHER).await;
    }
}
