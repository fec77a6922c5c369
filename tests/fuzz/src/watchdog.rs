//! An input that takes for ever ends the program, with the input.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Far more than any input takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_mins(1);

/// Watches one engine, as long as it lives.
pub(crate) struct Watchdog(Arc<Mutex<(Instant, Vec<u8>)>>);

impl Watchdog {
    pub(crate) fn new(target: String) -> Self {
        let watched = Arc::new(Mutex::new((Instant::now(), Vec::new())));
        let seen = Arc::downgrade(&watched);
        thread::spawn(move || {
            while let Some(watched) = seen.upgrade() {
                let (since, input) = watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if since.elapsed() > PATIENCE {
                    #[expect(clippy::print_stderr, reason = "nothing of this program goes on")]
                    {
                        eprintln!("{target}: no end with {}", input.escape_ascii());
                    }
                    std::process::abort();
                }
                drop(watched);
                thread::park_timeout(Duration::from_secs(1));
            }
        });
        Self(watched)
    }

    /// From now on this input.
    pub(crate) fn begin(&self, input: &[u8]) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.0 = Instant::now();
        watched.1.clear();
        watched.1.extend_from_slice(input);
    }
}
