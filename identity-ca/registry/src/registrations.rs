//! Registrations: which workloads on which node have which SPIFFE ID.

use signet_log::{Change as Logged, ChangeKind, Hash};
use signet_spiffe::{NodeName, SpiffeId, TrustDomain, UnixTime};

use crate::changes::Change;
use crate::database::{Registry, StorageError, seconds};
use crate::federation::{self, MAX_RELATIONSHIPS};
use crate::identities;
use crate::lists;
use crate::nodes;
use crate::registration_id::RegistrationId;
use crate::selector::Selector;
use crate::sql::{self, Connection};
use crate::tokens;

/// Most registrations.
pub const MAX_REGISTRATIONS: i64 = 100_000;

/// Most selectors of one registration.
pub const MAX_SELECTORS: usize = 16;

/// Says that workloads on a node which match all selectors have a SPIFFE ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its name.
    pub id: RegistrationId,
    /// What matching workloads are.
    pub spiffe_id: SpiffeId,
    /// Where they run.
    pub node: NodeName,
    /// In order, none twice.
    pub selectors: Vec<Selector>,
    /// Number of the SPIFFE ID.
    pub identity: u32,
    /// Life of the SVIDs, seconds; 0: the CA's default.
    pub ttl: u32,
    /// Trust domains whose bundles these workloads get, in order, none twice.
    pub federates_with: Vec<TrustDomain>,
}

impl Registration {
    /// What the issuance log has of it.
    pub fn digest(&self) -> Hash {
        let (id, selectors) = (self.id.to_string(), lists::join(&self.selectors));
        let (identity, ttl) = (self.identity.to_string(), self.ttl.to_string());
        let federates_with = lists::join(&self.federates_with);
        let mut fields = vec![
            id.as_str(),
            self.spiffe_id.as_str(),
            self.node.as_str(),
            &selectors,
            &identity,
            &ttl,
        ];
        // What stood in the log before registrations could name other trust domains goes on to be right.
        if !federates_with.is_empty() {
            fields.push(&federates_with);
        }
        Logged::digest(&fields)
    }
}

/// A registration to be.
#[derive(Debug, Clone)]
pub struct NewRegistration {
    /// From a cryptographic random source.
    pub id: RegistrationId,
    /// What matching workloads are.
    pub spiffe_id: SpiffeId,
    /// Where they run.
    pub node: NodeName,
    /// In any order.
    pub selectors: Vec<Selector>,
    /// Life of the SVIDs, seconds; 0: the CA's default.
    pub ttl: u32,
    /// Trust domains whose bundles these workloads get, in any order.
    pub federates_with: Vec<TrustDomain>,
}

/// Why a registration was not made. The operator is to blame.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// None, or more than [`MAX_SELECTORS`].
    #[error("a registration has 1 to {MAX_SELECTORS} selectors, not {count}")]
    Selectors {
        /// How many.
        count: usize,
    },
    /// The ID has no path, or is below `/signet`.
    #[error(
        "{id} cannot be registered: the trust domain's own ID and those below /signet belong to Signet itself"
    )]
    Infrastructure {
        /// The ID.
        id: SpiffeId,
    },
    /// Neither attested nor expected.
    #[error("the node {0} is not known; make a join token for it first")]
    UnknownNode(NodeName),
    /// Not followed.
    #[error("there is no relationship with the trust domain {0}; make one first (signet ca federation add)")]
    UnknownTrustDomain(TrustDomain),
    /// More than [`MAX_RELATIONSHIPS`].
    #[error("a registration names at most {MAX_RELATIONSHIPS} trust domains, not {count}")]
    TrustDomains {
        /// How many.
        count: usize,
    },
    /// The same ID, node and selectors.
    #[error("that is registered already, as {existing}")]
    Exists {
        /// The registration.
        existing: RegistrationId,
    },
    /// [`MAX_REGISTRATIONS`] exist.
    #[error("there are {MAX_REGISTRATIONS} registrations, which is the limit")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a registration was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeregisterError {
    /// No such registration.
    #[error("there is no registration {0}")]
    Unknown(RegistrationId),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Registry {
    /// Registers workloads, and gives their SPIFFE ID a number if it has none.
    pub async fn register(
        &self,
        new: &NewRegistration,
        now: UnixTime,
    ) -> Result<Registration, RegisterError> {
        let mut selectors = new.selectors.clone();
        selectors.sort();
        selectors.dedup();
        if selectors.is_empty() || selectors.len() > MAX_SELECTORS {
            return Err(RegisterError::Selectors {
                count: selectors.len(),
            });
        }
        let mut federates_with = new.federates_with.clone();
        federates_with.sort();
        federates_with.dedup();
        if federates_with.len() > MAX_RELATIONSHIPS {
            return Err(RegisterError::TrustDomains {
                count: federates_with.len(),
            });
        }
        if new.spiffe_id.is_infrastructure() || new.spiffe_id.path().is_empty() {
            return Err(RegisterError::Infrastructure {
                id: new.spiffe_id.clone(),
            });
        }
        let mut write = self.write().await?;
        if !is_expected(write.connection(), &new.node, now).await? {
            return Err(RegisterError::UnknownNode(new.node.clone()));
        }
        if !federates_with.is_empty() {
            let known = federation::names(write.connection()).await?;
            if let Some(unknown) = federates_with.iter().find(|name| !known.contains(name)) {
                return Err(RegisterError::UnknownTrustDomain(unknown.clone()));
            }
        }
        if let Some(existing) = find_same(write.connection(), new, &selectors).await? {
            return Err(RegisterError::Exists { existing });
        }
        if count(write.connection()).await? >= MAX_REGISTRATIONS {
            return Err(RegisterError::TooMany);
        }
        identities::acquire(write.connection(), &new.spiffe_id, now).await?;
        if !identities::is_on_node(write.connection(), &new.spiffe_id, &new.node).await? {
            write.record(Change::Identity(&new.spiffe_id)).await?;
        }
        insert(write.connection(), new, &selectors, &federates_with, now).await?;
        write.record(Change::Registration(new.id, &new.node)).await?;
        let registration = find(write.connection(), new.id)
            .await?
            .ok_or(StorageError::Corrupt {
                column: "registrations.id",
            })?;
        let digest = registration.digest();
        write.log(ChangeKind::Registration, new.id.to_string(), None, Some(digest));
        write.commit().await?;
        Ok(registration)
    }

    /// Deletes a registration, and tells what it was. The number of a SPIFFE ID without any goes into quarantine.
    pub async fn deregister(
        &self,
        id: RegistrationId,
        now: UnixTime,
    ) -> Result<Registration, DeregisterError> {
        let mut write = self.write().await?;
        let found = find(write.connection(), id).await?;
        let registration = found.ok_or(DeregisterError::Unknown(id))?;
        sql::query("DELETE FROM registrations WHERE id = ?")
            .bind(id.to_string())
            .execute(write.connection())
            .await
            .map_err(StorageError::from)?;
        write.record(Change::Registration(id, &registration.node)).await?;
        identities::release_if_unused(write.connection(), &registration.spiffe_id, now).await?;
        if !identities::is_on_node(write.connection(), &registration.spiffe_id, &registration.node).await? {
            write.record(Change::Identity(&registration.spiffe_id)).await?;
        }
        let digest = registration.digest();
        write.log(ChangeKind::Registration, id.to_string(), Some(digest), None);
        write.commit().await?;
        Ok(registration)
    }

    /// A registration.
    pub async fn registration(&self, id: RegistrationId) -> Result<Option<Registration>, StorageError> {
        find(&mut *self.read().await?, id).await
    }

    /// All registrations, by SPIFFE ID and node.
    pub async fn registrations(&self) -> Result<Vec<Registration>, StorageError> {
        let mut read = self.read().await?;
        let rows: Vec<Row> = sql::query_as(
            "SELECT id, spiffe_id, node, selectors, number, ttl, federates_with FROM registrations JOIN identities USING (spiffe_id)
             ORDER BY spiffe_id, node, selectors",
        )
        .fetch_all(&mut read)
        .await?;
        rows.into_iter().map(parse).collect()
    }

    /// How many registrations there are.
    pub async fn count_registrations(&self) -> Result<u32, StorageError> {
        let count = count(&mut *self.read().await?).await?;
        u32::try_from(count).map_err(|_| StorageError::Corrupt {
            column: "registrations.id",
        })
    }
}

/// A node that attested, or that a token is out for.
async fn is_expected(
    connection: &mut Connection,
    node: &NodeName,
    now: UnixTime,
) -> Result<bool, StorageError> {
    let attested = nodes::find(connection, node).await?.is_some();
    Ok(attested
        || tokens::outstanding(connection, now)
            .await?
            .iter()
            .any(|(name, _)| name == node))
}

async fn find_same(
    connection: &mut Connection,
    new: &NewRegistration,
    selectors: &[Selector],
) -> Result<Option<RegistrationId>, StorageError> {
    let row: Option<(String,)> =
        sql::query_as("SELECT id FROM registrations WHERE spiffe_id = ? AND node = ? AND selectors = ?")
            .bind(new.spiffe_id.as_str())
            .bind(new.node.as_str())
            .bind(lists::join(selectors))
            .fetch_optional(connection)
            .await?;
    let corrupt = |_| StorageError::Corrupt {
        column: "registrations.id",
    };
    row.map(|(id,)| id.parse().map_err(corrupt)).transpose()
}

async fn insert(
    connection: &mut Connection,
    new: &NewRegistration,
    selectors: &[Selector],
    federates_with: &[TrustDomain],
    now: UnixTime,
) -> Result<(), StorageError> {
    sql::query(
        "INSERT INTO registrations (id, spiffe_id, node, selectors, ttl, created_at, federates_with)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(new.id.to_string())
    .bind(new.spiffe_id.as_str())
    .bind(new.node.as_str())
    .bind(lists::join(selectors))
    .bind(new.ttl)
    .bind(seconds(now))
    .bind(lists::join(federates_with))
    .execute(connection)
    .await?;
    Ok(())
}

async fn count(connection: &mut Connection) -> Result<i64, StorageError> {
    let (count,): (i64,) = sql::query_as("SELECT COUNT(*) FROM registrations")
        .fetch_one(connection)
        .await?;
    Ok(count)
}

/// Id, SPIFFE ID, node, selectors, identity number, TTL, other trust domains.
type Row = (String, String, String, String, i64, i64, String);

pub(crate) async fn find(
    connection: &mut Connection,
    id: RegistrationId,
) -> Result<Option<Registration>, StorageError> {
    let row: Option<Row> = sql::query_as(
        "SELECT id, spiffe_id, node, selectors, number, ttl, federates_with FROM registrations JOIN identities USING (spiffe_id)
         WHERE id = ?",
    )
    .bind(id.to_string())
    .fetch_optional(connection)
    .await?;
    row.map(parse).transpose()
}

/// Of all nodes, in no order.
pub(crate) async fn all(connection: &mut Connection) -> Result<Vec<Registration>, StorageError> {
    let rows: Vec<Row> = sql::query_as(
        "SELECT id, spiffe_id, node, selectors, number, ttl, federates_with FROM registrations JOIN identities USING (spiffe_id)",
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(parse).collect()
}

pub(crate) async fn of_node(
    connection: &mut Connection,
    node: &NodeName,
) -> Result<Vec<Registration>, StorageError> {
    let rows: Vec<Row> = sql::query_as(
        "SELECT id, spiffe_id, node, selectors, number, ttl, federates_with FROM registrations JOIN identities USING (spiffe_id)
         WHERE node = ? ORDER BY spiffe_id, selectors",
    )
    .bind(node.as_str())
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(parse).collect()
}

fn parse(row: Row) -> Result<Registration, StorageError> {
    let (id, spiffe_id, node, selectors, identity, ttl, federates_with) = row;
    let corrupt = |column| StorageError::Corrupt { column };
    Ok(Registration {
        id: id.parse().map_err(|_| corrupt("registrations.id"))?,
        spiffe_id: SpiffeId::parse(&spiffe_id).map_err(|_| corrupt("registrations.spiffe_id"))?,
        node: NodeName::parse(&node).map_err(|_| corrupt("registrations.node"))?,
        selectors: lists::split(&selectors, "registrations.selectors")?,
        identity: identity.try_into().map_err(|_| corrupt("identities.number"))?,
        ttl: ttl.try_into().map_err(|_| corrupt("registrations.ttl"))?,
        federates_with: lists::split(&federates_with, "registrations.federates_with")?,
    })
}
