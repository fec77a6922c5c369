//! The database under the registry.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use signet_log::{Caller, Change as LoggedChange, ChangeKind, Entry, Frontier, Hash, Missing, Record};
use signet_spiffe::UnixTime;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Connection as _, Sqlite, Transaction};
use tokio::sync::watch;

use crate::changes::{self, Change, Revision};
use crate::issued;
use crate::log;
use crate::revocation::{Issued, Withheld};

/// Readers beside the one writer, for a database on disk.
const CONNECTIONS: u32 = 4;

/// How long a connection waits for another one's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The registry. Cheap to clone; clones share the database.
#[derive(Debug, Clone)]
pub struct Registry {
    pool: SqlitePool,
    revision: watch::Sender<Revision>,
    /// The issuance log's right edge, as this process last left it.
    frontier: Arc<Mutex<Frontier>>,
    /// Who changes things through this clone, and when.
    author: Author,
}

#[derive(Debug, Clone)]
struct Author {
    caller: Caller,
    at: UnixTime,
}

/// Why the database failed. Nothing that callers send in causes these.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// SQLite or the disk.
    #[error("the registry database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the registry database could not be migrated: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A value that this program would not have written.
    #[error("the registry database holds something unreadable in {column}; restore it from a backup")]
    Corrupt {
        /// Table and column.
        column: &'static str,
    },
    /// The issuance log has a hole.
    #[error("the issuance log is damaged: {0}; restore it from a backup")]
    Log(#[from] Missing),
    /// The issuance log lost its end while it was in use.
    #[error(
        "the issuance log had {known} entries and has {size}: somebody changed it; stop, and restore it from a backup"
    )]
    Shrunk {
        /// Entries that were committed.
        known: u64,
        /// Entries that are left.
        size: u64,
    },
}

impl StorageError {
    /// Whether there is no more room on the disk.
    pub fn is_disk_full(&self) -> bool {
        /// `SQLITE_FULL`.
        const FULL: &str = "13";
        match self {
            Self::Database(sqlx::Error::Database(error)) => error.code().is_some_and(|code| code == FULL),
            Self::Database(_)
            | Self::Migrate(_)
            | Self::Corrupt { .. }
            | Self::Log(_)
            | Self::Shrunk { .. } => false,
        }
    }
}

impl Registry {
    /// Opens a database file, which must exist (an empty file is a new database), and migrates it. SQLite gives the files
    /// beside it the mode of the database file.
    pub async fn open(path: &Path) -> Result<Self, StorageError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // A consumed token must stay consumed after a power cut, so commits reach the disk.
            .synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .after_release(|connection, _| {
                Box::pin(async move {
                    // SQLite itself rolls back where the disk is full; the ROLLBACK that follows then fails, and sqlx counts
                    // the transaction as open for ever. Such a connection is given up. The ping waits for the ROLLBACK.
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            });
        Self::with(options, pool).await
    }

    /// A registry that ends with the process.
    pub async fn in_memory() -> Result<Self, StorageError> {
        // The database is the connection, so there is one, and it is never given up.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None);
        Self::with(SqliteConnectOptions::new().in_memory(true), pool).await
    }

    async fn with(options: SqliteConnectOptions, pool: SqlitePoolOptions) -> Result<Self, StorageError> {
        let options = options.foreign_keys(true).busy_timeout(BUSY_TIMEOUT);
        // SQLite has no network between us that could have broken.
        let pool = pool.test_before_acquire(false).connect_with(options).await?;
        sqlx::migrate!("./migrations").run(&pool).await?;
        let mut registry = Self {
            pool,
            revision: watch::Sender::new(Revision::default()),
            frontier: Arc::new(Mutex::new(Frontier::empty())),
            author: Author {
                caller: Caller::Ca,
                at: UnixTime::since_unix_epoch(Duration::ZERO),
            },
        };
        registry.revision = watch::Sender::new(registry.initialize().await?);
        Ok(registry)
    }

    /// Revision 1 is the bundle's: zero means "knows nothing" to readers.
    async fn initialize(&self) -> Result<Revision, StorageError> {
        let mut write = self.write().await?;
        if changes::current(write.connection()).await? == Revision::default() {
            write.record(Change::Bundle).await?;
        }
        write.commit().await
    }

    /// The revision of the moment.
    pub fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// The revision of the moment, and all later ones. Wakes after each change is committed.
    pub fn watch(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// The same registry for someone's doings: what is changed through it stands in the issuance log as caused by them, at
    /// that moment. Without this it is the CA itself, at the epoch.
    #[must_use = "the registry itself goes on as it was"]
    pub fn acting(&self, caller: Caller, at: UnixTime) -> Self {
        Self {
            author: Author { caller, at },
            ..self.clone()
        }
    }

    /// Closes the database once what runs is done.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A transaction that sees one state of the database.
    pub(crate) async fn read(&self) -> Result<Transaction<'static, Sqlite>, StorageError> {
        Ok(self.pool.begin().await?)
    }

    /// The transaction that may change things; there is one at a time.
    pub(crate) async fn write(&self) -> Result<Write<'_>, StorageError> {
        let transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Write {
            transaction,
            registry: self,
            entries: Vec::new(),
        })
    }

    /// Appends entries to the issuance log, each with the certificate that it is about taken down for revocation: all that
    /// may be, or none if the database fails. Tells of each whether it may be: one that was revoked meanwhile is not there,
    /// and must not be seen by anybody.
    pub(crate) async fn append(
        &self,
        entries: &[(Entry, Option<Issued>)],
    ) -> Result<Vec<Result<(), Withheld>>, StorageError> {
        let now = entries.iter().map(|(entry, _)| entry.at).max().unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let mut write = self.write().await?;
        let known = self.known_frontier();
        let certificates: Vec<_> = entries.iter().map(|(_, issued)| issued.as_ref()).collect();
        let verdicts = issued::take_down(&mut write.transaction, &certificates, now).await?;
        let good = entries
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdict)| verdict.is_ok());
        let leaves: Vec<_> = good.map(|((entry, _), _)| entry).collect();
        let frontier = log::append(&mut write.transaction, &known, &leaves).await?;
        write.transaction.commit().await?;
        self.keep_frontier(frontier);
        Ok(verdicts)
    }

    fn known_frontier(&self) -> Frontier {
        self.frontier
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Writers commit one after another but may get here in another order.
    fn keep_frontier(&self, frontier: Frontier) {
        let mut known = self.frontier.lock().unwrap_or_else(PoisonError::into_inner);
        if frontier.size() > known.size() {
            *known = frontier;
        }
    }
}

/// A mutation under way. Dropped without [`Write::commit`], it has not happened.
#[must_use = "a mutation that is not committed has not happened"]
pub(crate) struct Write<'r> {
    transaction: Transaction<'static, Sqlite>,
    registry: &'r Registry,
    /// For the issuance log.
    entries: Vec<Entry>,
}

impl Write<'_> {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    /// Notes a change in the log.
    pub(crate) async fn record(&mut self, change: Change<'_>) -> Result<(), StorageError> {
        changes::record(&mut self.transaction, change).await
    }

    /// Notes a change in the issuance log, as digests of what was and what is.
    pub(crate) fn log(
        &mut self,
        kind: ChangeKind,
        subject: impl Into<String>,
        before: Option<Hash>,
        after: Option<Hash>,
    ) {
        let Author { caller, at } = self.registry.author.clone();
        self.entries.push(Entry {
            at: at.as_secs(),
            caller,
            record: Record::Change(LoggedChange {
                kind,
                subject: subject.into(),
                before,
                after,
            }),
        });
    }

    /// Makes the mutation last, and wakes those who watch.
    pub(crate) async fn commit(mut self) -> Result<Revision, StorageError> {
        changes::compact(&mut self.transaction).await?;
        let revision = changes::current(&mut self.transaction).await?;
        let frontier = if self.entries.is_empty() {
            None
        } else {
            let known = self.registry.known_frontier();
            let entries: Vec<_> = self.entries.iter().collect();
            Some(log::append(&mut self.transaction, &known, &entries).await?)
        };
        self.transaction.commit().await?;
        if let Some(frontier) = frontier {
            self.registry.keep_frontier(frontier);
        }
        self.registry.revision.send_if_modified(|latest| {
            // Writers commit one after another but may get here in another order.
            let newer = revision > *latest;
            *latest = (*latest).max(revision);
            newer
        });
        Ok(revision)
    }
}

/// As columns have it.
pub(crate) fn seconds(at: UnixTime) -> i64 {
    i64::try_from(at.as_secs()).unwrap_or(i64::MAX)
}

/// From a column.
pub(crate) fn moment(seconds: i64, column: &'static str) -> Result<UnixTime, StorageError> {
    let seconds = u64::try_from(seconds).map_err(|_| StorageError::Corrupt { column })?;
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}
