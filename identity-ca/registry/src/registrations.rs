//! Registrations: which workloads on which node have which SPIFFE ID, and on what terms.

use std::collections::BTreeSet;

use signet_log::{Change as Logged, ChangeKind, Hash};
use signet_spiffe::{DnsName, NodeName, SpiffeId, TrustDomain, UnixTime};

use crate::changes::Change;
use crate::database::{Registry, StorageError};
use crate::federation::MAX_RELATIONSHIPS;
use crate::identities;
use crate::lists;
use crate::nested;
use crate::registering::register;
use crate::registration_id::RegistrationId;
use crate::registration_rows::{self, count, find};
use crate::selector::Selector;
use crate::sql;
use crate::terms::{MAX_DNS_NAMES, Role, SvidTerms};

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
    /// What their SVIDs are like.
    pub terms: SvidTerms,
    /// What they may do as operators.
    pub role: Option<Role>,
    /// Goes up from one registration to the next. A workload's identities are in this order, and its first one is its
    /// default (Workload API §8): no later registration takes that place.
    pub ordinal: u64,
}

impl Registration {
    /// How the issuance log names it: by its id, and the SPIFFE ID that it is of, which nobody could tell from the id once it has gone.
    pub(crate) fn subject(&self) -> String {
        format!("{} {}", self.id, self.spiffe_id)
    }

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
        let (dns_names, jwt_ttl) = (lists::join(&self.terms.dns_names), self.terms.jwt_ttl.to_string());
        // What stood in the log before registrations had terms, or could name other trust domains, goes on to be right.
        let plain = self.terms == SvidTerms::default() && self.role.is_none();
        if !federates_with.is_empty() || !plain {
            fields.push(&federates_with);
        }
        if !plain {
            fields.extend([
                self.terms.hint.as_ref().map_or("", |hint| hint.as_str()),
                dns_names.as_str(),
                self.terms.key_type.as_str(),
                jwt_ttl.as_str(),
                self.role.map_or("", Role::as_str),
            ]);
        }
        if self.terms.downstream {
            fields.push("downstream");
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
    /// What their SVIDs are like.
    pub terms: SvidTerms,
    /// What they may do as operators.
    pub role: Option<Role>,
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
    /// More than [`MAX_DNS_NAMES`].
    #[error("a registration has at most {MAX_DNS_NAMES} DNS names, not {count}")]
    DnsNames {
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
    /// All other registrations of the ID let it run a CA below this one, and one without would take that from it.
    #[error(
        "{id} runs a CA below this one, which this registration would put an end to: say `--downstream` here as well, or give these workloads \
         another SPIFFE ID; to put an end to it, `signet ca revoke --spiffe-id {id}` and deregister it first"
    )]
    Downstream {
        /// The ID.
        id: SpiffeId,
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
        let new = in_order(new)?;
        let mut write = self.write().await?;
        let mut outcomes = register(&mut write, &[&new], false, now).await?;
        let corrupt = StorageError::Corrupt {
            column: "registrations.id",
        };
        let made = outcomes.pop().ok_or(corrupt)??;
        write.commit().await?;
        Ok(made)
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
        write.log(
            ChangeKind::Registration,
            registration.subject(),
            Some(digest),
            None,
        );
        if registration.terms.downstream {
            nested::withdraw(&mut write, &registration.spiffe_id, &id.to_string(), now).await?;
        }
        write.commit().await?;
        Ok(registration)
    }

    /// A registration.
    pub async fn registration(&self, id: RegistrationId) -> Result<Option<Registration>, StorageError> {
        find(&mut *self.read().await?, id).await
    }

    /// All registrations, by SPIFFE ID and node.
    pub async fn registrations(&self) -> Result<Vec<Registration>, StorageError> {
        registration_rows::sorted(&mut *self.read().await?).await
    }

    /// How many registrations there are.
    pub async fn count_registrations(&self) -> Result<u32, StorageError> {
        let count = count(&mut *self.read().await?).await?;
        u32::try_from(count).map_err(|_| StorageError::Corrupt {
            column: "registrations.id",
        })
    }
}

/// The same with its lists in order and nothing in them twice, where it is one that can be.
pub(crate) fn in_order(new: &NewRegistration) -> Result<NewRegistration, RegisterError> {
    fn distinct<T: Clone + Ord>(list: &[T]) -> Vec<T> {
        list.iter()
            .cloned()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }
    let selectors: Vec<Selector> = distinct(&new.selectors);
    if selectors.is_empty() || selectors.len() > MAX_SELECTORS {
        return Err(RegisterError::Selectors {
            count: selectors.len(),
        });
    }
    let federates_with = distinct(&new.federates_with);
    if federates_with.len() > MAX_RELATIONSHIPS {
        return Err(RegisterError::TrustDomains {
            count: federates_with.len(),
        });
    }
    let dns_names: Vec<DnsName> = distinct(&new.terms.dns_names);
    if dns_names.len() > MAX_DNS_NAMES {
        return Err(RegisterError::DnsNames {
            count: dns_names.len(),
        });
    }
    if new.spiffe_id.is_infrastructure() || new.spiffe_id.path().is_empty() {
        return Err(RegisterError::Infrastructure {
            id: new.spiffe_id.clone(),
        });
    }
    let terms = SvidTerms {
        dns_names,
        ..new.terms.clone()
    };
    Ok(NewRegistration {
        selectors,
        federates_with,
        terms,
        ..new.clone()
    })
}
