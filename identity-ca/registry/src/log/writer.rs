//! Group commit: many issuances, one transaction.
//!
//! There is no timer. While one transaction is on its way to the disk, the issuances that come meanwhile gather, and are
//! the next one: a lone caller waits for one commit, and under load a commit carries as many as came during the last one.
//! Half of those under way make a transaction: the other half is signed while that one is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;

use crate::database::{Registry, StorageError};
use crate::revocation::{Submission, Withheld};

/// Most entries that wait for a transaction. Beyond that, callers are told to come back.
pub const MAX_WAITING: usize = 4096;

/// Most entries of one transaction: bounds how long the first of them waits.
const BATCH: usize = 512;

/// Turns of other tasks in which nobody came, after which nobody is about to.
const QUIET: u32 = 4;

/// Appends entries that are no changes of the registry. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogWriter {
    queue: mpsc::Sender<Waiting>,
    /// How many are about to append something.
    coming: Arc<AtomicUsize>,
}

/// Somebody is about to append something, for as long as this is held.
#[derive(Debug)]
#[must_use = "whoever is announced is waited for"]
pub struct Coming(Arc<AtomicUsize>);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Waiting {
    submission: Submission,
    done: oneshot::Sender<Result<(), AppendError>>,
}

/// Why an entry is not in the log. What it tells of must not become known to anyone.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// More wait than may.
    #[error("{MAX_WAITING} entries wait for the log already; try again")]
    Full,
    /// Nobody writes any more.
    #[error("the log is closed")]
    Closed,
    /// It is about a certificate that was revoked meanwhile, or was asked for with one.
    #[error(transparent)]
    Withheld(#[from] Withheld),
    /// The certificate's serial number is none.
    #[error("the serial number has too few or too many bytes")]
    Serial,
    /// The database failed; none of the transaction's entries is in the log.
    #[error(transparent)]
    Storage(Arc<StorageError>),
}

impl Registry {
    /// A writer, and the work that it needs done: a future that ends after the last writer is dropped.
    pub fn log_writer(&self) -> (LogWriter, impl Future<Output = ()> + Send + 'static) {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let coming = Arc::default();
        let writing = write(self.clone(), waiting, Arc::clone(&coming));
        (LogWriter { queue, coming }, writing)
    }
}

impl LogWriter {
    /// Says that an entry is about to come, so that a transaction may wait a moment for it. Given up when it comes, or does not.
    pub fn announce(&self) -> Coming {
        self.coming.fetch_add(1, Ordering::Relaxed);
        Coming(Arc::clone(&self.coming))
    }

    /// Returns once the entry is on the disk, and with it the certificate that it is about, if there is one, taken down for
    /// revocation.
    pub async fn append(&self, submission: Submission) -> Result<(), AppendError> {
        let (done, outcome) = oneshot::channel();
        self.queue
            .try_send(Waiting { submission, done })
            .map_err(|error| match error {
                TrySendError::Full(_) => AppendError::Full,
                TrySendError::Closed(_) => AppendError::Closed,
            })?;
        outcome.await.map_err(|_| AppendError::Closed)?
    }
}

/// Under load, lets those enter that are about to: whoever is done with its certificate meanwhile need not wait for the next
/// transaction. Ends as soon as nobody comes any more, or no more are about to than are there: while these are written to the disk, those
/// keep the processors busy. There is no timer.
async fn gather(queue: &mut mpsc::Receiver<Waiting>, batch: &mut Vec<Waiting>, coming: &AtomicUsize) {
    let mut quiet = 0;
    while quiet < QUIET && batch.len() < BATCH && batch.len() < coming.load(Ordering::Relaxed) {
        yield_now().await;
        let known = batch.len();
        while batch.len() < BATCH
            && let Ok(waiting) = queue.try_recv()
        {
            batch.push(waiting);
        }
        quiet = if batch.len() == known { quiet + 1 } else { 0 };
    }
}

async fn write(registry: Registry, mut queue: mpsc::Receiver<Waiting>, coming: Arc<AtomicUsize>) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        gather(&mut queue, &mut batch, &coming).await;
        // A caller that went away still has its entry: its certificate was signed.
        let (entries, callers): (Vec<_>, Vec<_>) = batch
            .drain(..)
            .map(|Waiting { submission, done }| (submission, done))
            .unzip();
        match registry.append(&entries).await {
            Ok(verdicts) => {
                for (caller, verdict) in callers.into_iter().zip(verdicts) {
                    let _ = caller.send(verdict.map_err(AppendError::Withheld));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for caller in callers {
                    let _ = caller.send(Err(AppendError::Storage(Arc::clone(&error))));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use signet_log::{Caller, Change, ChangeKind, Entry, Record};

    use super::*;

    fn submission() -> Submission {
        let entry = Entry {
            at: 1,
            caller: Caller::Ca,
            record: Record::Change(Change {
                kind: ChangeKind::Setting,
                subject: "x".to_owned(),
                before: None,
                after: None,
            }),
        };
        Submission {
            entry,
            issued: None,
            shown: None,
            signer: None,
        }
    }

    #[tokio::test]
    async fn a_full_queue_turns_callers_away_and_loses_nobody_who_waits() {
        let registry = Registry::in_memory().await.unwrap();
        let before = registry.log_size().await.unwrap();
        let (writer, work) = registry.log_writer();
        // Nobody writes yet: all of these wait.
        let waiting: Vec<_> = (0..MAX_WAITING)
            .map(|_| {
                let writer = writer.clone();
                tokio::spawn(async move { writer.append(submission()).await })
            })
            .collect();
        while writer.queue.capacity() > 0 {
            yield_now().await;
        }
        assert!(matches!(
            writer.append(submission()).await,
            Err(AppendError::Full)
        ));
        let work = tokio::spawn(work);
        for caller in waiting {
            caller.await.unwrap().unwrap();
        }
        let appended = registry.log_size().await.unwrap() - before;
        assert_eq!(appended, u64::try_from(MAX_WAITING).unwrap());
        writer.append(submission()).await.unwrap();
        drop(writer);
        work.await.unwrap();
    }

    #[tokio::test]
    async fn half_of_those_under_way_are_not_kept_waiting_for_the_other_half_nor_by_who_never_comes() {
        let registry = Registry::in_memory().await.unwrap();
        let (writer, work) = registry.log_writer();
        let announced: Vec<_> = (0..5).map(|_| writer.announce()).collect();
        tokio::spawn(work);
        writer.append(submission()).await.unwrap();
        drop(announced);
        assert_eq!(writer.coming.load(Ordering::Relaxed), 0);
        writer.append(submission()).await.unwrap();
    }

    #[tokio::test]
    async fn nothing_is_appended_once_the_work_has_ended() {
        let registry = Registry::in_memory().await.unwrap();
        let (writer, work) = registry.log_writer();
        drop(work);
        assert!(matches!(
            writer.append(submission()).await,
            Err(AppendError::Closed)
        ));
    }

    #[tokio::test]
    async fn a_database_that_fails_refuses_each_of_the_transaction() {
        let registry = Registry::in_memory().await.unwrap();
        let (writer, work) = registry.log_writer();
        tokio::spawn(work);
        registry.close().await;
        let (one, two) = tokio::join!(writer.append(submission()), writer.append(submission()));
        assert!(matches!(
            (one, two),
            (Err(AppendError::Storage(_)), Err(AppendError::Storage(_)))
        ));
    }
}
