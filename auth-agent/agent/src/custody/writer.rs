//! Writes the state when it has changed: soon, but not with every change, and never in the way of anybody.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::content::{encode, serials};
use super::keep::{Custody, Written};
use crate::ca::NodeAccess;
use crate::clock::unix_now;
use crate::svids::SvidSet;
use crate::view::{Forget as _, View};

/// After a change, for others that come with it.
const PAUSE: Duration = Duration::from_millis(100);
/// A write that takes long is followed by a pause of so many times its length, where nothing has to go.
const REST: u32 = 20;
/// Longest such pause.
const LONGEST_REST: Duration = Duration::from_secs(5);
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(5);

/// Writes the state.
#[derive(Debug)]
pub struct Writer {
    /// Where to.
    pub custody: Arc<Custody>,
    /// What is kept.
    pub view: watch::Receiver<Option<Arc<View>>>,
    /// What is kept.
    pub svids: watch::Receiver<Arc<SvidSet>>,
    /// The numbering of identities that all proofs in the kernel are of. A state of another one is not written: the next life would take
    /// them for what they are not.
    pub cleared: watch::Receiver<u64>,
    /// A node that has lost its own SVID keeps nothing.
    pub access: watch::Receiver<Option<Arc<NodeAccess>>>,
}

impl Writer {
    /// Runs until `stop`, and writes what is left then.
    pub async fn run(mut self, stop: CancellationToken) {
        if !self.custody.is_on() {
            return stop.cancelled().await;
        }
        // What came from the life before may have lost something since.
        let mut dirty = true;
        let mut was_somebody = false;
        let mut pause = PAUSE;
        loop {
            if !dirty && !self.changed(&stop).await {
                break;
            }
            let begun = Instant::now();
            let mut goes_on = true;
            while goes_on {
                let wait = if self.has_to_drop() {
                    PAUSE.min(pause)
                } else {
                    pause
                };
                tokio::select! {
                    () = sleep_until(begun + wait) => break,
                    more = self.changed(&stop) => goes_on = more,
                }
            }
            if !goes_on {
                break;
            }
            let begun = Instant::now();
            let result = self.write(&mut was_somebody).await;
            dirty = result.is_err();
            pause = match result {
                Ok(()) => PAUSE.max((begun.elapsed() * REST).min(LONGEST_REST)),
                Err(error) => {
                    self.custody.status.fail("state", &error);
                    RETRY
                }
            };
        }
        // Whatever has changed up to now.
        if let Err(error) = self.write(&mut was_somebody).await {
            self.custody.status.fail("state", &error);
        }
    }

    /// Waits for a change. False: it is over.
    async fn changed(&mut self, stop: &CancellationToken) -> bool {
        tokio::select! {
            changed = self.view.changed() => changed.is_ok(),
            changed = self.svids.changed() => changed.is_ok(),
            changed = self.cleared.changed() => changed.is_ok(),
            changed = self.access.changed() => changed.is_ok(),
            () = stop.cancelled() => false,
        }
    }

    /// Whether there are keys in the file that are nowhere else any more.
    fn has_to_drop(&self) -> bool {
        let view = self.view.borrow().clone();
        let set = self.svids.borrow().clone();
        view.is_some_and(|view| self.custody.holds_more_than(&serials(&view, &set, unix_now())))
    }

    async fn write(&self, was_somebody: &mut bool) -> anyhow::Result<()> {
        let epoch = self.custody.epoch();
        let is_somebody = self.access.borrow().is_some();
        *was_somebody |= is_somebody;
        if *was_somebody && !is_somebody {
            self.custody.forget("this node has lost its SVID");
            return Ok(());
        }
        let Some(view) = self.view.borrow().clone() else {
            return Ok(());
        };
        if let Some(reason) = view.revocations().banned_node(&self.custody.node) {
            self.custody.forget(reason);
            return Ok(());
        }
        if view.numbering() != *self.cleared.borrow() {
            return Ok(());
        }
        let (custody, set) = (self.custody.clone(), self.svids.borrow().clone());
        let written = spawn_blocking(move || {
            let content = encode(&view, &set, &custody.started_with, unix_now());
            custody.save(epoch, content)
        });
        let written = written.await.context("the write was not finished")?;
        match written.context("the state cannot be kept for the agent's next life")? {
            Written::Done => tracing::debug!("the state has been written"),
            Written::Same | Written::Overtaken => {}
        }
        Ok(())
    }
}
