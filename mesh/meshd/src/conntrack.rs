//! Makes room in the connection tables.

use std::path::Path;
use std::time::Duration;

use signet_maps::{CtMaps, MapError, boottime_now};
use tokio::time::{MissedTickBehavior, interval};

/// How often dead connections are swept. They are ignored by the programs anyhow; a full table drops its least
/// recently used entry.
const SWEEP: Duration = Duration::from_secs(30);

/// Sweeps for ever.
pub(crate) async fn sweep(pins: &Path) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let pins = pins.to_owned();
        match tokio::task::spawn_blocking(move || sweep_once(&pins)).await {
            Ok(Ok(0)) => {}
            Ok(Ok(removed)) => tracing::debug!(removed, "swept dead connections"),
            Ok(Err(error)) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "failed to sweep dead connections, trying again later"
            ),
            Err(_) => return, // The runtime is going down.
        }
    }
}

fn sweep_once(pins: &Path) -> Result<usize, MapError> {
    CtMaps::open(pins)?.sweep(boottime_now())
}
