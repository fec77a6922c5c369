//! A transfer that runs while something else happens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use signet_lab::net;
use signet_lab::traffic::{StreamReport, Transfer, stream_until};
use tokio::sync::oneshot;

use crate::stage::patience;
use crate::{Family, Stage};

/// Time between two blocks.
const INTERVAL: Duration = Duration::from_millis(20);

/// A transfer in a thread of its own.
pub struct Running {
    thread: JoinHandle<Result<StreamReport>>,
    done: Arc<AtomicBool>,
    /// The transfer ends when this goes.
    stop: oneshot::Sender<()>,
}

impl Running {
    /// Begins a transfer of `text` over one TCP connection; it goes on for `duration`, or until [`intact`](Self::intact).
    pub fn start(
        stage: &Stage,
        from: &str,
        to: &str,
        port: u16,
        family: Family,
        text: &str,
        duration: Duration,
    ) -> Result<Self> {
        let transfer = Transfer {
            target: SocketAddr::new(stage.address(to, family)?, port),
            text: text.to_owned(),
            duration,
            interval: INTERVAL,
            patience: patience() / 2,
        };
        let netns = stage.lab().paths().netns(from);
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let report = net::within(&netns, || -> Result<_> {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                let stopped = async { drop(stopped.await) };
                Ok(runtime.block_on(stream_until(&transfer, stopped)))
            })?;
            flag.store(true, Ordering::Release);
            report
        });
        Ok(Self { thread, done, stop })
    }

    /// Fails if the transfer has ended already: then what happened meanwhile proves nothing.
    pub fn still_running(&self) -> Result<()> {
        if self.done.load(Ordering::Acquire) {
            bail!("the transfer ended before the test was through");
        }
        Ok(())
    }

    /// Ends it after one more block; fails unless every block came back unchanged, in order.
    pub fn intact(self) -> Result<StreamReport> {
        drop(self.stop);
        let Ok(report) = self.thread.join() else {
            bail!("the transfer's thread panicked")
        };
        let report = report?;
        if !report.intact {
            bail!("the transfer broke: {report:?}");
        }
        Ok(report)
    }

    /// Sends one more block, and fails if it comes back: the transfer should have been cut by now.
    pub fn broken(self, stage: &Stage) -> Result<()> {
        drop(self.stop);
        let until = Instant::now() + stage.silence();
        while !self.thread.is_finished() {
            if Instant::now() > until {
                // It waits for what will not come, and ends by itself.
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let Ok(report) = self.thread.join() else {
            bail!("the transfer's thread panicked")
        };
        let report = report?;
        if report.intact {
            bail!("the transfer went on to its end: {report:?}");
        }
        Ok(())
    }
}
