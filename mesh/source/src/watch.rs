//! Watches a directory.
//!
//! Events only say *that* something changed; then the whole directory is read. A scan every few seconds makes good
//! what events miss: an overflowed queue, files that links lead to elsewhere, a directory that was replaced.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::directory::{Reading, read_directory};
use crate::files::{Listing, list};
use crate::snapshot::{Snapshot, Source};

/// A change is read once the directory was quiet for so long …
const QUIET: Duration = Duration::from_millis(50);
/// … or so long after its first event.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often the directory is looked at without an event.
const RESCAN: Duration = Duration::from_secs(5);
/// The same while there are no events, because it cannot be watched or is not there.
const SEARCH: Duration = Duration::from_millis(500);

/// A directory of YAML files. Must be started on a tokio runtime; dropping it ends the watch.
#[derive(Debug)]
pub struct FileSource {
    directory: PathBuf,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    task: JoinHandle<()>,
}

impl FileSource {
    /// Starts to watch a directory. It need not be there yet.
    pub fn start(directory: &Path) -> Self {
        let (sender, mut snapshots) = watch::channel(Arc::default());
        // The empty snapshot that the channel begins with is not news.
        snapshots.mark_unchanged();
        let task = tokio::spawn(run(directory.to_owned(), sender));
        Self {
            directory: directory.to_owned(),
            snapshots,
            task,
        }
    }
}

impl Drop for FileSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source for FileSource {
    fn describe(&self) -> String {
        format!("files in {}", self.directory.display())
    }

    async fn changes(&mut self) -> Option<Arc<Snapshot>> {
        self.snapshots.changed().await.ok()?;
        Some(Arc::clone(&self.snapshots.borrow_and_update()))
    }
}

async fn run(directory: PathBuf, sender: watch::Sender<Arc<Snapshot>>) {
    let mut watching = Watching::new();
    let mut seen = None::<Listing>;
    let mut pause = Duration::ZERO;
    loop {
        let changed = timeout(pause, watching.event()).await.is_ok();
        if changed {
            watching.settle().await;
        }
        // Armed before the look, so that what changes after it makes an event.
        watching.arm(&directory);
        pause = if watching.watcher.is_some() {
            RESCAN
        } else {
            SEARCH
        };
        let before = if changed { None } else { seen.clone() };
        let path = directory.clone();
        let Ok(reading) = tokio::task::spawn_blocking(move || read_if_changed(&path, before.as_ref())).await
        else {
            return; // The runtime is going down.
        };
        if let Some(reading) = reading {
            seen.clone_from(&reading.listing);
            publish(&sender, reading);
        }
    }
}

fn read_if_changed(directory: &Path, seen: Option<&Listing>) -> Option<Reading> {
    let unchanged = seen.is_some() && list(directory).ok().as_ref() == seen;
    (!unchanged).then(|| read_directory(directory))
}

/// Publishes a reading, if it says anything new: a bad one leaves the last good set in place.
fn publish(sender: &watch::Sender<Arc<Snapshot>>, reading: Reading) {
    sender.send_if_modified(|snapshot| {
        let next = match reading.result {
            Ok(set) if snapshot.set.as_deref() == Some(&set) => Snapshot {
                set: snapshot.set.clone(),
                ..Snapshot::default()
            },
            Ok(set) => Snapshot {
                set: Some(Arc::new(set)),
                ..Snapshot::default()
            },
            Err(errors) => Snapshot {
                set: snapshot.set.clone(),
                errors,
                found: if snapshot.set.is_none() {
                    reading.found.into()
                } else {
                    Arc::default()
                },
            },
        };
        let news = **snapshot != next;
        if news {
            tracing::info!(
                source.workloads = next.set.as_ref().map(|set| set.workloads().len()),
                source.policies = next.set.as_ref().map(|set| set.policies().len()),
                source.errors = next.errors.iter().count() + next.errors.more(),
                "configuration read"
            );
            *snapshot = Arc::new(next);
        }
        news
    });
}

/// The operating system's events for one directory.
struct Watching {
    watcher: Option<(RecommendedWatcher, (u64, u64))>,
    sender: mpsc::Sender<()>,
    events: mpsc::Receiver<()>,
}

impl Watching {
    fn new() -> Self {
        // One slot is enough: an event only says that something happened.
        let (sender, events) = mpsc::channel(1);
        Self {
            watcher: None,
            sender,
            events,
        }
    }

    /// Waits for something to happen.
    async fn event(&mut self) {
        if self.events.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until nothing more happens, within bounds.
    async fn settle(&mut self) {
        let end = Instant::now() + PATIENCE;
        while timeout_at(end.min(Instant::now() + QUIET), self.event())
            .await
            .is_ok()
        {}
    }

    /// Watches the directory that is there now. Where that cannot be, only scans are made.
    fn arm(&mut self, directory: &Path) {
        let Ok(identity) = fs::metadata(directory).map(|metadata| (metadata.dev(), metadata.ino())) else {
            self.watcher = None;
            return;
        };
        if self
            .watcher
            .as_ref()
            .is_some_and(|(_, watched)| *watched == identity)
        {
            return;
        }
        let sender = self.sender.clone();
        let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| !event.kind.is_access()) {
                // Full: an event is waiting already.
                let _ = sender.try_send(());
            }
        })
        .and_then(|mut watcher| {
            watcher
                .watch(directory, RecursiveMode::NonRecursive)
                .map(|()| watcher)
        });
        match made {
            Ok(watcher) => self.watcher = Some((watcher, identity)),
            Err(error) => {
                tracing::warn!(%error, "directory cannot be watched: changes are seen within {RESCAN:?}");
                self.watcher = None;
            }
        }
    }
}
