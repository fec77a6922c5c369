//! The one that writes: a thread, so that no call waits for a disk but those that have to.
//!
//! What has to be there before something is done is waited for ([`Audit::keep`]): written and synced. Everything else is
//! written soon, and on the disk with the next of those or after [`FLUSH`]. Where the disk is full or the file cannot be
//! written, the former fails, so that nothing is done unseen, and the latter is counted; the count is the first thing
//! that is written when it works again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use serde_json::Value;
use signet_registry::Registry;
use signet_spiffe::UnixTime;
use tokio::sync::oneshot;
use tracing::{error, info};

use super::record::{Event, Record};
use super::sink::{AuditLog, Sink};
use crate::clock::Clock;

/// Records that wait to be written.
const WAITING: usize = 4096;

/// Most records of one write.
const BATCH: usize = 256;

/// When what nobody waits for is on the disk.
const FLUSH: Duration = Duration::from_secs(1);

/// The audit stream. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Audit(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    to: SyncSender<Message>,
    lost: AtomicU64,
    broken: AtomicBool,
}

#[derive(Debug)]
enum Message {
    Record(Box<Record>, Option<oneshot::Sender<()>>),
    Reopen,
}

/// It could not be written down, so it must not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the CA cannot write its audit log, and changes nothing without; its own log says why")]
pub(crate) struct Unwritten;

impl Audit {
    /// Begins the stream. Without an [`AuditLog`] nothing is written, and nothing waits.
    pub(crate) fn start(log: Option<&AuditLog>, clock: Clock) -> io::Result<Self> {
        let Some(log) = log else {
            return Ok(Self(None));
        };
        let sink = Sink::open(log)?;
        let (to, from) = sync_channel(WAITING);
        let inner = Arc::new(Inner {
            to,
            lost: AtomicU64::new(0),
            broken: AtomicBool::new(false),
        });
        let writer = Writer {
            sink,
            clock,
            sequence: 0,
            inner: Arc::downgrade(&inner),
            dirty: false,
        };
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&from))?;
        let audit = Self(Some(inner));
        audit.note(Record::new(Event::Opened));
        Ok(audit)
    }

    /// The registry, whose changes are written down from now on.
    pub(crate) fn observe(&self, registry: &Registry) -> Registry {
        if !self.is_on() {
            return registry.clone();
        }
        let stream = self.clone();
        registry.observed(move |entry| {
            if let Some(record) = Record::of_change(entry) {
                stream.note(record);
            }
        })
    }

    /// Whether there is one.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the last write failed. The next may do better.
    pub(crate) fn is_broken(&self) -> bool {
        let broken = |inner: &Arc<Inner>| inner.broken.load(Ordering::Relaxed);
        self.0.as_ref().is_some_and(broken)
    }

    /// Writes it down soon, or counts it as lost.
    pub(crate) fn note(&self, record: Record) {
        let Some(inner) = &self.0 else { return };
        if inner
            .to
            .try_send(Message::Record(Box::new(record), None))
            .is_err()
        {
            inner.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes it down, and returns once it is on the disk.
    pub(crate) async fn keep(&self, record: Record) -> Result<(), Unwritten> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let (done, kept) = oneshot::channel();
        inner
            .to
            .try_send(Message::Record(Box::new(record), Some(done)))
            .map_err(|_| Unwritten)?;
        kept.await.map_err(|_| Unwritten)
    }

    /// Counts a record that came to nothing.
    pub(crate) fn count_lost(&self) {
        if let Some(inner) = &self.0 {
            inner.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Goes on in a new file if the old one was renamed. That happens by itself with the next record, too.
    pub(crate) fn reopen(&self) {
        if let Some(inner) = &self.0 {
            // Where there is no room there are records, and they do the same.
            let _ = inner.to.try_send(Message::Reopen);
        }
    }
}

struct Writer {
    sink: Sink,
    clock: Clock,
    sequence: u64,
    inner: std::sync::Weak<Inner>,
    /// Written, and not synced.
    dirty: bool,
}

impl Writer {
    /// Until the last sender has gone.
    fn run(mut self, from: &Receiver<Message>) {
        loop {
            let first = if self.dirty {
                match from.recv_timeout(FLUSH) {
                    Ok(first) => first,
                    Err(RecvTimeoutError::Timeout) => {
                        self.flush();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => return self.flush(),
                }
            } else {
                match from.recv() {
                    Ok(first) => first,
                    Err(_) => return,
                }
            };
            let more = from.try_iter().take(BATCH - 1);
            let batch: Vec<_> = std::iter::once(first).chain(more).collect();
            self.take(batch);
        }
    }

    fn take(&mut self, batch: Vec<Message>) {
        let (mut records, mut waiting, mut idle) = (Vec::new(), Vec::new(), 0);
        for message in batch {
            match message {
                Message::Record(record, done) => {
                    records.push(record);
                    idle += u64::from(done.is_none());
                    waiting.extend(done);
                }
                Message::Reopen => {}
            }
        }
        let result = self.write(&records, !waiting.is_empty());
        let Some(inner) = self.inner.upgrade() else {
            return;
        };
        let was_broken = inner.broken.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Ok(()) => {
                if was_broken {
                    info!("the audit log can be written again");
                }
                for done in waiting {
                    // Who waited may have gone.
                    let _ = done.send(());
                }
            }
            Err(error) => {
                inner.lost.fetch_add(idle, Ordering::Relaxed);
                if !was_broken {
                    error!(%error, "the audit log cannot be written: changes are refused");
                }
            }
        }
    }

    fn write(&mut self, records: &[Box<Record>], sync: bool) -> io::Result<()> {
        let moved = self.sink.follow()?;
        let inner = self.inner.upgrade();
        let lost = inner
            .as_ref()
            .map_or(0, |inner| inner.lost.load(Ordering::Relaxed));
        let mut bytes = Vec::new();
        let mut sequence = self.sequence;
        let time = rfc3339(self.clock.now());
        let mut add = |record: &Record| {
            sequence += 1;
            bytes.extend(record.line(&time, sequence));
        };
        if moved {
            add(&Record::new(Event::Opened));
        }
        if lost > 0 {
            let mut record = Record::new(Event::Lost);
            record.what.insert("records".to_owned(), Value::from(lost));
            add(&record);
        }
        for record in records {
            add(record);
        }
        if !bytes.is_empty() {
            self.sink.append(&bytes)?;
            self.sequence = sequence;
            self.dirty = true;
            if let Some(inner) = inner {
                inner.lost.fetch_sub(lost, Ordering::Relaxed);
            }
        }
        if sync {
            self.sink.sync()?;
            self.dirty = false;
        }
        Ok(())
    }

    fn flush(&mut self) {
        self.dirty = false;
        if let Err(error) = self.sink.sync() {
            error!(%error, "the audit log may not be on the disk");
        }
    }
}

fn rfc3339(at: UnixTime) -> String {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(0);
    jiff::Timestamp::from_second(seconds)
        .unwrap_or_default()
        .to_string()
}
