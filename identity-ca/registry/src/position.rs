//! Where a reader is: a revision, and the history that it is of.

use aws_lc_rs::rand;

use crate::changes::Revision;
use crate::database::{Registry, StorageError};
use crate::sql::{self, Connection};

/// Tells a revision from those with its number in other histories of the same registry, as after a restored backup.
/// Random, drawn with the revision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark([u8; 16]);

impl Mark {
    /// A new one.
    pub(crate) fn draw() -> Result<Self, StorageError> {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).map_err(|_| StorageError::Random)?;
        Ok(Self(bytes))
    }

    /// As it came over the wire; one of another length is nobody's mark.
    pub fn from_slice(bytes: &[u8]) -> Self {
        bytes.try_into().map(Self).unwrap_or_default()
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Nobody's.
    pub(crate) fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// A point in one history. The default knows nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// How far.
    pub revision: Revision,
    /// On which history.
    pub mark: Mark,
}

impl Registry {
    /// The mark of a revision; none where the log does not reach that far, or the revision is yet to come.
    pub async fn mark(&self, revision: Revision) -> Result<Option<Mark>, StorageError> {
        of(&mut *self.read().await?, revision).await
    }
}

pub(crate) async fn of(
    connection: &mut Connection,
    revision: Revision,
) -> Result<Option<Mark>, StorageError> {
    let row: Option<(Vec<u8>,)> = sql::query_as("SELECT mark FROM changes WHERE revision = ?")
        .bind(i64::try_from(revision.0).unwrap_or(i64::MAX))
        .fetch_optional(connection)
        .await?;
    let mark = row.map(|(mark,)| Mark::from_slice(&mark));
    Ok(mark.filter(|mark| !mark.is_none()))
}

/// Whether a reader at `position` is on the history that the database has. Where that cannot be told, it is not.
pub(crate) async fn is_ours(connection: &mut Connection, position: Position) -> Result<bool, StorageError> {
    Ok(of(connection, position.revision).await? == Some(position.mark))
}
