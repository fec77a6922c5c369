//! PostgreSQL under the registry, shared by any number of CAs.
//!
//! Writers wait for each other at one advisory lock, which each holds until its transaction is committed and visible. So
//! there is one at a time in the whole cluster, as with SQLite: numbers are unique, a token works once, and whoever reads
//! up to a revision has seen all before it. A commit that changed the view notifies all CAs.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions, PgSslMode, Postgres};
use sqlx::{Connection as _, Transaction};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::changes::Revision;
use crate::database::{StorageError, advance};

/// Connections of one CA, beside that which listens.
const CONNECTIONS: u32 = 16;

/// How long a call waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);

/// Limits that the server keeps, so that a CA that hangs or has vanished stops no other for longer: for a writer's turn,
/// for a statement, and for a transaction in which nothing happens.
const LIMITS: [(&str, &str); 3] = [
    ("lock_timeout", "5s"),
    ("statement_timeout", "15s"),
    ("idle_in_transaction_session_timeout", "10s"),
];

/// "Signet" in ASCII. Advisory locks are per database.
const WRITER: i64 = 0x5369_676e_6574;

/// Where commits are announced.
const CHANNEL: &str = "signet_registry";

/// A connection that has been silent for this long is asked whether it is still there: a lost one looks silent too.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// For the answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Pause between attempts to listen again.
const RETRY: Duration = Duration::from_millis(500);

/// A connection that was in use so short a time ago is taken to be there still.
const FRESH: Duration = Duration::from_secs(1);

/// Connections that are kept at hand: as many as there are kinds of looks.
const AT_HAND: usize = 2;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations/postgres");

/// Connects and migrates.
pub(crate) async fn open(url: &str) -> Result<PgPool, StorageError> {
    let options = options(url)?;
    // Migrations may take longer than anything else is allowed to; sqlx lets one CA at a time make them.
    let one = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE);
    let one = one.connect_with(options.clone()).await?;
    MIGRATIONS.run(&one).await?;
    one.close().await;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE)
        // One that was in use a moment ago is not asked whether it is still there.
        .test_before_acquire(false)
        .before_acquire(|connection, known| {
            Box::pin(async move {
                if known.idle_for >= FRESH {
                    connection.ping().await?;
                }
                Ok(true)
            })
        });
    Ok(pool.connect_with(options.options(LIMITS)).await?)
}

fn options(url: &str) -> Result<PgConnectOptions, StorageError> {
    let options = PgConnectOptions::from_str(url)?.application_name("signet-ca");
    let host = options.get_host();
    let here = options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let verified = matches!(
        options.get_ssl_mode(),
        PgSslMode::VerifyCa | PgSslMode::VerifyFull
    );
    if here || verified {
        Ok(options)
    } else {
        // Whoever sits between could register what they like.
        Err(StorageError::Unprotected {
            host: host.to_owned(),
        })
    }
}

/// Connections that go from one look to the next, while one comes after another. The pool asks each how it is after every use, and a transaction takes two
/// words more: for a look of one statement, which thousands of calls a second have made, that would be four times the work.
#[derive(Debug, Default)]
pub(crate) struct AtHand(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    connections: Vec<(PoolConnection<Postgres>, Instant)>,
    closed: bool,
}

impl AtHand {
    /// A connection for a look, to be given back ([`AtHand::keep`]) once all that was asked has been answered.
    pub(crate) async fn take(&self, pool: &PgPool) -> Result<PoolConnection<Postgres>, StorageError> {
        let kept = self.kept().connections.pop();
        match kept.filter(|(_, since)| since.elapsed() < FRESH) {
            Some((connection, _)) => Ok(connection),
            None => Ok(pool.acquire().await?),
        }
    }

    /// Keeps one for the next look.
    pub(crate) fn keep(&self, connection: PoolConnection<Postgres>) {
        let mut kept = self.kept();
        if kept.connections.len() < AT_HAND && !kept.closed {
            kept.connections.push((connection, Instant::now()));
        }
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.kept().connections.len()
    }

    /// Gives all back to the pool, which waits for them when it is closed.
    pub(crate) fn close(&self) {
        let mut kept = self.kept();
        kept.closed = true;
        kept.connections.clear();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Each use leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AtHand {
    fn drop(&mut self) {
        // To go back to the pool takes a runtime, which may have ended.
        for (connection, _) in self.kept().connections.drain(..) {
            drop(connection.detach());
        }
    }
}

/// A transaction that sees one state of the database.
pub(crate) async fn read(pool: &PgPool) -> Result<Transaction<'static, Postgres>, StorageError> {
    Ok(pool
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .await?)
}

/// The one transaction that may change things. Each of its statements sees what was committed before it.
pub(crate) async fn write(pool: &PgPool) -> Result<Transaction<'static, Postgres>, StorageError> {
    let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(WRITER)
        .execute(&mut *transaction)
        .await?;
    Ok(transaction)
}

/// Has all CAs told once the transaction is committed.
pub(crate) async fn announce(
    transaction: &mut Transaction<'static, Postgres>,
    revision: Revision,
) -> Result<(), StorageError> {
    sqlx::query("SELECT pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(revision.to_string())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Hears of other CAs' commits for as long as it lives.
#[derive(Debug)]
pub(crate) struct Ear(JoinHandle<()>);

impl Ear {
    /// Keeps `latest` at the newest revision.
    pub(crate) fn open(pool: PgPool, latest: watch::Sender<Revision>) -> Self {
        Self(tokio::spawn(async move {
            loop {
                if let Err(error) = listen(&pool, &latest).await {
                    tracing::warn!(%error, "does not hear of other CAs' changes; trying again");
                }
                sleep(RETRY).await;
            }
        }))
    }

    pub(crate) fn close(&self) {
        self.0.abort();
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.close();
    }
}

/// Listens until the connection is lost.
async fn listen(pool: &PgPool, latest: &watch::Sender<Revision>) -> Result<(), StorageError> {
    let mut listener = PgListener::connect_with(pool).await?;
    // What is lost in between is found by catching up, which begins with a new listener.
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    // After LISTEN, so that nothing falls between the two.
    catch_up(pool, latest).await?;
    loop {
        match timeout(HEARTBEAT, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                if let Ok(revision) = notification.payload().parse() {
                    advance(latest, Revision(revision));
                }
            }
            Ok(Ok(None)) => return Err(StorageError::Deaf),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => {
                let asked = sqlx::query("SELECT 1").execute(&mut listener);
                timeout(ANSWER, asked).await.map_err(|_| StorageError::Deaf)??;
            }
        }
    }
}

async fn catch_up(pool: &PgPool, latest: &watch::Sender<Revision>) -> Result<(), StorageError> {
    let (revision,): (i64,) = sqlx::query_as("SELECT COALESCE(MAX(revision), 0) FROM changes")
        .fetch_one(pool)
        .await?;
    let revision = Revision(u64::try_from(revision).unwrap_or_default());
    // Set, not only moved on: a database that was put back has other changes behind lower numbers, and everybody has to look.
    latest.send_if_modified(|latest| {
        let other = *latest != revision;
        *latest = revision;
        other
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use signet_test_postgres::shared;

    use super::*;
    use crate::database::Registry;
    use crate::sql;

    #[tokio::test]
    async fn a_connection_at_hand_that_was_lost_is_not_kept_and_a_close_does_not_wait_for_it() {
        let server = match shared() {
            Ok(server) => server,
            Err(missing) => {
                signet_skip::skip(
                    "a_connection_at_hand_that_was_lost_is_not_kept",
                    &missing.to_string(),
                );
                return;
            }
        };
        let url = server.database().expect("a database");
        let registry = Registry::connect(&url).await.expect("connects");
        let other = Registry::connect(&url).await.expect("connects");
        let first = registry.latest().await.expect("looks");
        assert_eq!(registry.at_hand().count(), 1);
        let mut write = other.write().await.expect("a turn");
        let lost = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE pid <> pg_backend_pid() AND datname = current_database()";
        let (count,): (i64,) = sql::query_as(lost)
            .fetch_one(write.connection())
            .await
            .expect("allowed");
        assert!(count > 0);
        drop(write);
        let mut failed = 0;
        let again = loop {
            match registry.latest().await {
                Ok(revision) => break revision,
                Err(error) => {
                    assert!(error.is_unavailable(), "{error}");
                    failed += 1;
                    assert!(failed <= CONNECTIONS, "it is lost for good");
                }
            }
        };
        assert_eq!(again, first);
        assert!(registry.at_hand().count() <= AT_HAND);
        let closed = timeout(Duration::from_secs(20), registry.close()).await;
        closed.expect("it waits for what is kept at hand");
        assert_eq!(registry.at_hand().count(), 0);
        registry.latest().await.expect_err("it is closed");
    }

    #[test]
    fn a_database_elsewhere_is_spoken_to_only_under_verified_tls() {
        for here in [
            "postgres:///signet?host=/run/postgresql",
            "postgres://signet@localhost/signet",
            "postgres://signet@127.0.0.1:5432/signet",
        ] {
            assert!(options(here).is_ok(), "{here}");
        }
        let elsewhere = "postgres://signet@db.example/signet";
        for mode in ["", "?sslmode=disable", "?sslmode=prefer", "?sslmode=require"] {
            let refused = options(&format!("{elsewhere}{mode}"));
            assert!(matches!(refused, Err(StorageError::Unprotected { .. })), "{mode}");
        }
        for mode in ["?sslmode=verify-ca", "?sslmode=verify-full"] {
            assert!(options(&format!("{elsewhere}{mode}")).is_ok(), "{mode}");
        }
    }
}
