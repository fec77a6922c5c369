//! Where the registry is, if not in the data directory; and what several CAs on one database owe each other.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use signet_registry::{Position, Registry, StorageError};
use tokio::time::{Instant, sleep};
use tracing::error;

use crate::ca::Ca;
use crate::limits::LOCK;

/// Pause after a failure to read.
const RETRY: Duration = Duration::from_secs(1);

/// A database for the registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// A SQLite file, made with mode 0600 where it is missing. One CA at a time.
    Sqlite(PathBuf),
    /// A PostgreSQL URL, which may hold a password. Any number of CAs.
    Postgres(String),
}

/// Neither of the two.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as sqlite:PATH or postgres://USER@HOST/DATABASE")]
pub struct DatabaseError;

impl FromStr for Database {
    type Err = DatabaseError;

    fn from_str(text: &str) -> Result<Self, DatabaseError> {
        if ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
        {
            return Ok(Self::Postgres(text.to_owned()));
        }
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(_) | None => Err(DatabaseError),
        }
    }
}

/// Without user and password.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres"),
        }
    }
}

/// Locks a database that is for one CA, whatever data directory that one has. Nothing where several may use it.
pub(crate) async fn lock(database: &Database) -> anyhow::Result<Option<File>> {
    let Database::Sqlite(path) = database else {
        return Ok(None);
    };
    // A file of its own: whoever closes the database's loses SQLite's locks on it.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&beside)
        .with_context(|| format!("failed to open {}", beside.display()))?;
    let until = Instant::now() + LOCK;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            // One that is about to end gets some time to do so.
            Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(LOCK / 20).await,
            Err(TryLockError::WouldBlock) => bail!("another signet-ca is running on {}", path.display()),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("failed to lock {}", beside.display()));
            }
        }
    }
}

/// Opens the registry.
pub(crate) async fn open(database: &Database) -> anyhow::Result<Registry> {
    match database {
        Database::Sqlite(path) => {
            let shown = path.display();
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path)
                .with_context(|| format!("failed to open {shown}"))?;
            Registry::open(path)
                .await
                .with_context(|| format!("failed to open {shown}"))
        }
        Database::Postgres(url) => Registry::connect(url)
            .await
            .context("failed to open the PostgreSQL database"),
    }
}

/// Honours for ever what other CAs revoke. What they change otherwise is read when it is needed.
pub(crate) async fn honour_others(ca: Arc<Ca>) {
    let mut revisions = ca.registry.watch();
    let mut honoured = None;
    loop {
        // The first time for what came between the start and the subscription.
        while let Err(error) = honour_new(&ca, &mut honoured).await {
            error!(%error, "failed to read the revocations");
            sleep(RETRY).await;
        }
        if revisions.changed().await.is_err() {
            return;
        }
    }
}

/// Reads the revocations again if there are others than the last time: most changes are about something else, and who is
/// verified under the same bundles and revocations need not be verified anew.
async fn honour_new(ca: &Ca, honoured: &mut Option<Position>) -> Result<(), StorageError> {
    let latest = ca.known.revocations(&ca.registry).await?;
    if *honoured != Some(latest) {
        ca.honour().await?;
        *honoured = Some(latest);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_a_file_or_a_server_and_its_password_is_never_shown() {
        assert_eq!("sqlite:/x/y.db".parse(), Ok(Database::Sqlite("/x/y.db".into())));
        for url in ["postgres://u:secret@h/d", "postgresql://u:secret@h/d"] {
            let database: Database = url.parse().unwrap();
            assert_eq!(database, Database::Postgres(url.to_owned()));
            assert!(!format!("{database:?}").contains("secret"));
        }
        for bad in ["", "sqlite:", "mysql://h/d", "/x/y.db"] {
            assert_eq!(bad.parse::<Database>(), Err(DatabaseError), "{bad}");
        }
    }
}
