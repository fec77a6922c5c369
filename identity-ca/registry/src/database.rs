//! The database under the registry.

use std::fmt;
use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use signet_log::{Caller, Change as LoggedChange, ChangeKind, Entry, Frontier, Hash, Missing, Record};
use signet_spiffe::{NodeName, UnixTime};
use sqlx::Connection as _;
use sqlx::postgres::PgPool;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, watch};

use crate::authorities;
use crate::changes::{self, Change, Revision};
use crate::gathered::Gathered;
use crate::guard::Guard;
use crate::issued;
use crate::log;
use crate::places::Places;
use crate::postgres::{self, AtHand, Ear};
use crate::revocation::{Submission, Withheld};
use crate::sql::Connection;
use crate::standing::{self, LookedUp, Serials};

/// Readers beside the one writer, for a database on disk.
const CONNECTIONS: u32 = 4;

/// How long a connection waits for another one's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The registry. Cheap to clone; clones share the database.
#[derive(Debug, Clone)]
pub struct Registry {
    pool: Pool,
    revision: watch::Sender<Revision>,
    /// Where others may write, too.
    ear: Option<Arc<Ear>>,
    /// The issuance log's right edge, as this process last left it.
    frontier: Arc<Mutex<Frontier>>,
    /// SVIDs of nodes that were looked up, where nobody else writes.
    looked_up: Option<Arc<LookedUp>>,
    /// Who changes things through this clone, and when.
    author: Author,
    /// Told of every change that was committed.
    observer: Option<Observer>,
    /// What is looked at before certain changes.
    pub(crate) guard: Option<Guard>,
    /// Looks at the database elsewhere that are under way.
    looks: Arc<Looks>,
    /// Nodes, by what is theirs: only ever asked within a write.
    places: Arc<Turn<Places>>,
    /// When expired certificates were forgotten last, Unix seconds.
    swept: Arc<AtomicI64>,
    /// Held by the writer of an SQLite database, whose own lock is polled, and is whoever's comes by first.
    turn: Arc<Turn<()>>,
}

/// Looks that each call makes, where others may write.
#[derive(Debug, Default)]
struct Looks {
    revision: Gathered<(), Revision>,
    serials: Gathered<NodeName, Serials>,
    at_hand: AtHand,
}

impl Looks {
    /// All that was asked has been answered. A connection on which something failed, or on which a look was given up, goes its own way.
    fn done(&self, single: Connection) {
        match single {
            Connection::Single(connection) => self.at_hand.keep(connection),
            Connection::Sqlite(_) | Connection::Postgres(_) => {}
        }
    }
}

#[derive(Clone)]
struct Observer(Arc<dyn Fn(&Entry) + Send + Sync>);

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

#[derive(Debug, Clone)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

#[derive(Debug, Clone)]
struct Author {
    caller: Caller,
    at: UnixTime,
}

/// Why the database failed. Nothing that callers send in causes these.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The database, or the way to it.
    #[error("the registry database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the registry database could not be migrated: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// Everything in the registry can be read and changed on the way.
    #[error(
        "the database on {host} has to prove who it is: add ?sslmode=verify-full&sslrootcert=FILE to its URL, or connect \
         through a Unix socket"
    )]
    Unprotected {
        /// Where it is.
        host: String,
    },
    /// Notifications may have been lost.
    #[error("the connection that notifications come over was lost")]
    Deaf,
    /// There is nothing to fall back to.
    #[error("the system's random source failed")]
    Random,
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
    /// Of a look that was made for several.
    #[error(transparent)]
    Shared(Arc<StorageError>),
    /// `rewrap-keys` ran since.
    #[error(
        "the CA's keys were sealed anew since this CA opened them, and a key that it made would open for nobody; give it what they          are sealed under now (docs/keys.md), and repeat"
    )]
    Resealed,
    /// It is not the time that the CA thinks it is.
    #[error(
        "the clock of this CA is {seconds} s {direction} that of the database: it takes no step that is a matter of time; put it right"
    )]
    Clock {
        /// How far.
        seconds: u64,
        /// Which way.
        direction: &'static str,
    },
}

impl StorageError {
    /// Whether there is no more room on the disk.
    pub fn is_disk_full(&self) -> bool {
        /// `SQLITE_FULL`, and PostgreSQL's `disk_full`.
        const FULL: [&str; 2] = ["13", "53100"];
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| FULL.contains(&&*code))
            }
            Self::Shared(error) => error.is_disk_full(),
            Self::Database(_)
            | Self::Migrate(_)
            | Self::Corrupt { .. }
            | Self::Unprotected { .. }
            | Self::Deaf
            | Self::Random
            | Self::Log(_)
            | Self::Shrunk { .. }
            | Self::Resealed
            | Self::Clock { .. } => false,
        }
    }
}

impl StorageError {
    /// Whether the database cannot be reached, or does not answer: trying again later may help.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Database(error) => is_connection(error),
            Self::Deaf => true,
            Self::Shared(error) => error.is_unavailable(),
            Self::Migrate(_)
            | Self::Unprotected { .. }
            | Self::Random
            | Self::Corrupt { .. }
            | Self::Log(_)
            | Self::Shrunk { .. }
            | Self::Resealed
            | Self::Clock { .. } => false,
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "sqlx's errors are not ours, and more may come"
)]
fn is_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Classes of SQLSTATE: connection exceptions, out of resources, lock_timeout, an operator's intervention, idle for
        // too long.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "53", "55P03", "57", "25P03"]
                .iter()
                .any(|class| code.len() == 5 && code.starts_with(class))
        }),
        _ => false,
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
        Self::sqlite(options, pool).await
    }

    /// A registry that ends with the process.
    pub async fn in_memory() -> Result<Self, StorageError> {
        // The database is the connection, so there is one, and it is never given up.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None);
        Self::sqlite(SqliteConnectOptions::new().in_memory(true), pool).await
    }

    /// Connects to a PostgreSQL database (`postgres://…`) that other CAs may use at the same time, and migrates it. One that
    /// is not on this host has to be under verified TLS.
    pub async fn connect(url: &str) -> Result<Self, StorageError> {
        let pool = postgres::open(url).await?;
        let mut registry = Self::with(Pool::Postgres(pool.clone())).await?;
        registry.ear = Some(Arc::new(Ear::open(pool, registry.revision.clone())));
        Ok(registry)
    }

    async fn sqlite(options: SqliteConnectOptions, pool: SqlitePoolOptions) -> Result<Self, StorageError> {
        let options = options.foreign_keys(true).busy_timeout(BUSY_TIMEOUT);
        // SQLite has no network between us that could have broken.
        let pool = pool.test_before_acquire(false).connect_with(options).await?;
        sqlx::migrate!("./migrations").run(&pool).await?;
        Self::with(Pool::Sqlite(pool)).await
    }

    async fn with(pool: Pool) -> Result<Self, StorageError> {
        let looked_up = match &pool {
            Pool::Sqlite(_) => Some(Arc::default()),
            Pool::Postgres(_) => None,
        };
        let registry = Self {
            pool,
            looked_up,
            revision: watch::Sender::new(Revision::default()),
            ear: None,
            frontier: Arc::new(Mutex::new(Frontier::empty())),
            author: Author {
                caller: Caller::Ca,
                at: UnixTime::since_unix_epoch(Duration::ZERO),
            },
            observer: None,
            looks: Arc::default(),
            places: Arc::default(),
            swept: Arc::default(),
            turn: Arc::default(),
            guard: None,
        };
        registry.initialize().await?;
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

    /// The revision that everybody's commits have led to, also where others write.
    pub async fn latest(&self) -> Result<Revision, StorageError> {
        match &self.pool {
            Pool::Sqlite(_) => Ok(self.revision()),
            Pool::Postgres(pool) => {
                let look = |asked: Vec<()>| async move {
                    let mut single = Connection::Single(self.looks.at_hand.take(pool).await?);
                    let revision = changes::current(&mut single).await?;
                    self.looks.done(single);
                    advance(&self.revision, revision);
                    Ok(vec![revision; asked.len()])
                };
                self.looks.revision.ask((), look).await
            }
        }
    }

    /// What is known of the SVIDs of a node now.
    pub(crate) async fn serials(&self, node: &NodeName) -> Result<Serials, StorageError> {
        match &self.pool {
            Pool::Sqlite(_) => standing::find(&mut *self.read().await?, node).await,
            Pool::Postgres(pool) => {
                let look = |nodes: Vec<NodeName>| async move {
                    let mut single = Connection::Single(self.looks.at_hand.take(pool).await?);
                    let found = standing::find_all(&mut single, &nodes).await?;
                    self.looks.done(single);
                    Ok(found)
                };
                self.looks.serials.ask(node.clone(), look).await
            }
        }
    }

    /// The revision of the moment.
    pub fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// The revision of the moment, and all later ones. Wakes after each change is committed, here or elsewhere.
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

    /// The same registry, which tells of every change that is committed through it from now on, in no order. The function must
    /// not wait for anything.
    #[must_use = "the registry itself goes on as it was"]
    pub fn observed(&self, observer: impl Fn(&Entry) + Send + Sync + 'static) -> Self {
        Self {
            observer: Some(Observer(Arc::new(observer))),
            ..self.clone()
        }
    }

    /// Closes the database once what runs is done.
    pub async fn close(&self) {
        if let Some(ear) = &self.ear {
            ear.close();
        }
        self.looks.at_hand.close();
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
    }

    /// A transaction that sees one state of the database.
    pub(crate) async fn read(&self) -> Result<Box<Connection>, StorageError> {
        Ok(Box::new(match &self.pool {
            Pool::Sqlite(pool) => Connection::Sqlite(pool.begin().await?),
            Pool::Postgres(pool) => Connection::Postgres(postgres::read(pool).await?),
        }))
    }

    /// The transaction that may change things; there is one at a time.
    pub(crate) async fn write(&self) -> Result<Write<'_>, StorageError> {
        let (transaction, turn) = match &self.pool {
            Pool::Sqlite(pool) => {
                let turn = Arc::clone(&self.turn).lock_owned().await;
                let transaction = Connection::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?);
                (transaction, Some(turn))
            }
            Pool::Postgres(pool) => (Connection::Postgres(postgres::write(pool).await?), None),
        };
        Ok(Write {
            transaction,
            registry: self,
            changed: false,
            entries: Vec::new(),
            turn,
        })
    }

    /// Appends entries to the issuance log, each with the certificate that it is about taken down for revocation: all that
    /// may be, or none if the database fails. Tells of each whether it may be: one that was revoked meanwhile, or was asked
    /// for with what was, is not there, and must not be seen by anybody.
    pub(crate) async fn append(
        &self,
        submissions: &[Submission],
    ) -> Result<Vec<Result<(), Withheld>>, StorageError> {
        let times = submissions.iter().map(|submission| submission.entry.at);
        let now = times.max().unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let mut write = self.write().await?;
        let known = self.known_frontier();
        // What signed may have been replaced since: nothing is in the log that another one than the active one signed, but what the CA shows
        // of itself to those who know no later one.
        let signing = authorities::signing(&mut write.transaction).await?;
        let signs = |submission: &Submission| submission.signer.as_ref().is_none_or(|by| signing.may(by));
        let certificates: Vec<_> = submissions
            .iter()
            .map(|submission| {
                let issued = submission.issued.as_ref().filter(|_| signs(submission));
                (issued, submission.shown.as_ref())
            })
            .collect();
        let mut verdicts = issued::take_down(&mut write.transaction, &certificates).await?;
        self.sweep(&mut write.transaction, now).await?;
        for (submission, verdict) in submissions.iter().zip(&mut verdicts) {
            if verdict.is_ok() && !signs(submission) {
                *verdict = Err(Withheld::Superseded);
            }
        }
        let good = submissions
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdict)| verdict.is_ok());
        let leaves: Vec<_> = good.map(|(submission, _)| &submission.entry).collect();
        let frontier = log::append(&mut write.transaction, &known, &leaves).await?;
        write.transaction.commit().await?;
        self.keep_frontier(frontier);
        Ok(verdicts)
    }

    /// Forgets certificates that are long over, now and then.
    pub(crate) async fn sweep(&self, connection: &mut Connection, now: UnixTime) -> Result<(), StorageError> {
        issued::sweep(connection, now, &self.swept).await
    }

    #[cfg(test)]
    pub(crate) fn at_hand(&self) -> &AtHand {
        &self.looks.at_hand
    }

    /// What was looked up and is true until the next write.
    pub(crate) fn looked_up(&self) -> Option<&LookedUp> {
        self.looked_up.as_deref()
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
    transaction: Connection,
    registry: &'r Registry,
    /// Whether it is in the change log.
    changed: bool,
    /// For the issuance log.
    entries: Vec<Entry>,
    /// Given back after the transaction.
    turn: Option<OwnedMutexGuard<()>>,
}

impl Write<'_> {
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.transaction
    }

    /// Who has which addresses now.
    pub(crate) async fn places(&mut self) -> Result<OwnedMutexGuard<Places>, StorageError> {
        let mut places = Arc::clone(&self.registry.places).lock_owned().await;
        places.catch_up(&mut self.transaction).await?;
        Ok(places)
    }

    pub(crate) fn guard(&self) -> Option<Guard> {
        self.registry.guard
    }

    /// Notes a change in the log.
    pub(crate) async fn record(&mut self, change: Change<'_>) -> Result<(), StorageError> {
        self.record_all(&[change]).await
    }

    /// The same of many, in this order.
    pub(crate) async fn record_all(&mut self, changes: &[Change<'_>]) -> Result<(), StorageError> {
        self.changed |= !changes.is_empty();
        changes::record(&mut self.transaction, changes).await
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
        let revision = changes::current(&mut self.transaction).await?;
        if self.changed {
            changes::compact(&mut self.transaction).await?;
            if let Connection::Postgres(transaction) = &mut self.transaction {
                postgres::announce(transaction, revision).await?;
            }
        }
        let frontier = if self.entries.is_empty() {
            None
        } else {
            let known = self.registry.known_frontier();
            let entries: Vec<_> = self.entries.iter().collect();
            Some(log::append(&mut self.transaction, &known, &entries).await?)
        };
        // A caller that goes away meanwhile does not take the commit back: those who watch must hear of it all the same.
        let (registry, transaction, entries) = (self.registry.clone(), self.transaction, self.entries);
        let turn = self.turn;
        tokio::spawn(async move {
            let committed = transaction.commit().await;
            drop(turn);
            // Whatever came of it.
            if let Some(looked_up) = &registry.looked_up {
                looked_up.forget();
            }
            committed?;
            if let Some(frontier) = frontier {
                registry.keep_frontier(frontier);
            }
            advance(&registry.revision, revision);
            if let Some(Observer(tell)) = &registry.observer {
                for entry in &entries {
                    tell(entry);
                }
            }
            Ok(revision)
        })
        .await
        .unwrap_or(Err(StorageError::from(sqlx::Error::WorkerCrashed)))
    }
}

/// Wakes those who watch if there is something newer.
pub(crate) fn advance(latest: &watch::Sender<Revision>, revision: Revision) {
    latest.send_if_modified(|latest| {
        // Writers commit one after another but may get here in another order.
        let newer = revision > *latest;
        *latest = (*latest).max(revision);
        newer
    });
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
