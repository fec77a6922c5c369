//! The database under the registry.

use std::path::Path;
use std::time::Duration;

use signet_spiffe::UnixTime;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};
use tokio::sync::watch;

use crate::changes::{self, Change, Revision};

/// Readers beside the one writer, for a database on disk.
const CONNECTIONS: u32 = 4;

/// How long a connection waits for another one's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The registry. Cheap to clone; clones share the database.
#[derive(Debug, Clone)]
pub struct Registry {
    pool: SqlitePool,
    revision: watch::Sender<Revision>,
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
        Self::with(options, SqlitePoolOptions::new().max_connections(CONNECTIONS)).await
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
        let pool = pool.connect_with(options).await?;
        sqlx::migrate!("./migrations").run(&pool).await?;
        let mut registry = Self {
            pool,
            revision: watch::Sender::new(Revision::default()),
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

    /// The revision of the moment, and all later ones. Wakes after each change is committed.
    pub fn watch(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
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
        })
    }
}

/// A mutation under way. Dropped without [`Write::commit`], it has not happened.
#[must_use = "a mutation that is not committed has not happened"]
pub(crate) struct Write<'r> {
    transaction: Transaction<'static, Sqlite>,
    registry: &'r Registry,
}

impl Write<'_> {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    /// Notes a change in the log.
    pub(crate) async fn record(&mut self, change: Change<'_>) -> Result<(), StorageError> {
        changes::record(&mut self.transaction, change).await
    }

    /// Makes the mutation last, and wakes those who watch.
    pub(crate) async fn commit(mut self) -> Result<Revision, StorageError> {
        changes::compact(&mut self.transaction).await?;
        let revision = changes::current(&mut self.transaction).await?;
        self.transaction.commit().await?;
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
