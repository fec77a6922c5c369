//! `SIGNALS`: what the kernel asks for.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use signet_maps::SignalRing;
use tokio::time::{sleep, timeout};

use crate::pairs::Pairs;
use crate::status::Status;

/// Pause before the ring is looked for again.
const RETRY: Duration = Duration::from_millis(500);
/// How often a quiet ring is checked for having been replaced.
const CHECK: Duration = Duration::from_secs(5);

/// Runs for ever: passes signals on; opens the ring when it is there, and anew when it was replaced.
pub async fn watch(directory: PathBuf, pairs: Pairs, status: Arc<Status>) {
    loop {
        match SignalRing::open(&directory) {
            Ok(ring) => {
                tracing::info!("reading the kernel's signals");
                read(ring, &pairs, &status).await;
            }
            Err(error) if error.is_missing() => {}
            Err(error) => status.fail("signals", &anyhow::Error::from(error)),
        }
        sleep(RETRY).await;
    }
}

async fn read(mut ring: SignalRing, pairs: &Pairs, status: &Status) {
    loop {
        match timeout(CHECK, ring.next_batch()).await {
            Ok(Ok(batch)) => {
                for signal in batch {
                    status.signals_received.fetch_add(1, Relaxed);
                    if !pairs.signal(signal) {
                        status.signals_refused.fetch_add(1, Relaxed);
                    }
                }
            }
            Ok(Err(error)) => {
                status.fail("signals", &anyhow::Error::from(error));
                return;
            }
            Err(_) => {}
        }
        if !ring.is_current() {
            return;
        }
    }
}
