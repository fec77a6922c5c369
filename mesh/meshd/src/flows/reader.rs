//! Reads the kernel's ring.

use std::path::Path;
use std::time::Duration;

use signet_maps::{FlowRing, MapError};
use tokio::time::sleep;

use super::log::FlowLog;

/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(1);

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
        log.extend(ring.next_batch().await?);
    }
}
