//! What has to be so in the database itself before a change is made, whatever a CA remembers or its clock says.

use signet_spiffe::UnixTime;

use crate::database::{Registry, StorageError, Write, moment};
use crate::sealed;
use crate::sql::{self, Connection};

/// How far a CA's clock may be from the database's, seconds.
const TOLERANCE: u64 = 60;

/// What a running CA has the registry look at in the transactions in which it matters.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// The secret ([`Registry::sealed`]) under which records of keys are sealed.
    pub data_key: &'static str,
    /// Whether a record of a key opens with what that secret is now.
    pub fits: fn(record: &[u8], data_key: &[u8]) -> bool,
}

impl Registry {
    /// The same registry, which takes no record of a key that is sealed under what is not there any more, and no step that is decided
    /// by a time far from the database's, where the database is another host's.
    #[must_use = "the registry itself goes on as it was"]
    pub fn guarded(&self, guard: Guard) -> Self {
        let mut guarded = self.clone();
        guarded.guard = Some(guard);
        guarded
    }
}

impl Write<'_> {
    /// Refuses a record that nothing would open.
    pub(crate) async fn check_record(&mut self, record: &[u8]) -> Result<(), StorageError> {
        let Some(guard) = self.guard() else {
            return Ok(());
        };
        match sealed::get(self.connection(), guard.data_key).await? {
            Some(now) if !(guard.fits)(record, &now) => Err(StorageError::Resealed),
            // Keys that end with the process are sealed under nothing.
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses what is decided by the time where all CAs share a clock that says otherwise.
    pub(crate) async fn check_clock(&mut self, now: UnixTime) -> Result<(), StorageError> {
        // SQLite's is this host's.
        if self.guard().is_none() || matches!(self.connection(), Connection::Sqlite(_)) {
            return Ok(());
        }
        let (shared,): (i64,) = sql::query_as("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT)")
            .fetch_one(self.connection())
            .await?;
        let shared = moment(shared, "clock_timestamp()")?;
        let apart = now.as_secs().abs_diff(shared.as_secs());
        if apart <= TOLERANCE {
            return Ok(());
        }
        Err(StorageError::Clock {
            seconds: apart,
            direction: if now > shared { "ahead of" } else { "behind" },
        })
    }
}
