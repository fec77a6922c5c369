//! Changes of registrations that are there, and many new ones at once.

use signet_log::ChangeKind;
use signet_spiffe::{DnsName, Hint, KeyType, TrustDomain, UnixTime};

use crate::changes::Change;
use crate::database::{Registry, StorageError};
use crate::federation;
use crate::nested;
use crate::registering::{check_domains, fits, register};
use crate::registration_id::RegistrationId;
use crate::registration_rows::{self, find};
use crate::registrations::{NewRegistration, RegisterError, Registration, in_order};
use crate::selector::Selector;
use crate::terms::{Role, SvidTerms};

/// What of a registration is to be otherwise; `None`: as it is. Who and where stay: that would be another registration.
#[derive(Debug, Clone, Default)]
pub struct RegistrationUpdate {
    /// In any order.
    pub selectors: Option<Vec<Selector>>,
    /// Life of the SVIDs, seconds; 0: the CA's default.
    pub ttl: Option<u32>,
    /// Trust domains whose bundles these workloads get, in any order.
    pub federates_with: Option<Vec<TrustDomain>>,
    /// What their SVIDs are like, from what they were.
    pub terms: TermsUpdate,
    /// What they may do as operators.
    pub role: Option<Option<Role>>,
}

/// The same of [`SvidTerms`].
#[derive(Debug, Clone, Default)]
pub struct TermsUpdate {
    /// What the identity is for.
    pub hint: Option<Option<Hint>>,
    /// Hosts, in any order.
    pub dns_names: Option<Vec<DnsName>>,
    /// Kind of key.
    pub key_type: Option<KeyType>,
    /// Life of JWT-SVIDs, seconds.
    pub jwt_ttl: Option<u32>,
    /// Whether their holder may run a CA below this one.
    pub downstream: Option<bool>,
}

/// Why a registration was not changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// No such registration.
    #[error("there is no registration {0}")]
    Unknown(RegistrationId),
    /// It would be one that cannot be.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What became of the registrations of [`Registry::register_all`], in their order.
#[derive(Debug)]
pub struct Registered {
    /// Of each.
    pub outcomes: Vec<Result<Registration, RegisterError>>,
    /// Whether they were made: all that were not there already, or none.
    pub committed: bool,
}

impl Registry {
    /// Changes a registration in place: one change for one node, whatever else is registered. Where nothing is to be
    /// otherwise, nothing happens.
    pub async fn update_registration(
        &self,
        id: RegistrationId,
        update: RegistrationUpdate,
        now: UnixTime,
    ) -> Result<Registration, UpdateError> {
        let mut write = self.write().await?;
        let found = find(write.connection(), id).await?;
        let before = found.ok_or(UpdateError::Unknown(id))?;
        let to = in_order(&update.applied(&before))?;
        let followed = federation::names(write.connection()).await?.into_iter().collect();
        check_domains(&followed, &to.federates_with)?;
        let same = registration_rows::find_same(write.connection(), &to.spiffe_id, &to.node, &to.selectors);
        if let Some(existing) = same.await?.filter(|existing| *existing != id) {
            return Err(RegisterError::Exists { existing }.into());
        }
        registration_rows::update(write.connection(), &to).await?;
        let corrupt = StorageError::Corrupt {
            column: "registrations.id",
        };
        let after = find(write.connection(), id).await?.ok_or(corrupt)?;
        if after == before {
            return Ok(before);
        }
        write.record(Change::Registration(id, &after.node)).await?;
        let (was, is) = (before.digest(), after.digest());
        write.log(ChangeKind::Registration, after.subject(), Some(was), Some(is));
        if before.terms.downstream && !after.terms.downstream {
            nested::withdraw(&mut write, &after.spiffe_id, &id.to_string(), now).await?;
        }
        write.commit().await?;
        Ok(after)
    }

    /// Registers many at once, in their order: all, or none where one of them is refused. One that is there already is no
    /// reason. With `rehearse` none is made.
    pub async fn register_all(
        &self,
        new: &[NewRegistration],
        rehearse: bool,
        now: UnixTime,
    ) -> Result<Registered, StorageError> {
        let ordered: Vec<_> = new.iter().map(in_order).collect();
        // What is none at all keeps the rest from being made.
        let rehearse = rehearse || ordered.iter().any(Result::is_err);
        let judged: Vec<_> = ordered.iter().filter_map(|one| one.as_ref().ok()).collect();
        let mut write = self.write().await?;
        let mut judged = register(&mut write, &judged, rehearse, now).await?.into_iter();
        let outcomes: Vec<_> = ordered
            .into_iter()
            .filter_map(|one| match one {
                Ok(_) => judged.next(),
                Err(refused) => Some(Err(refused)),
            })
            .collect();
        let committed = !rehearse && outcomes.iter().all(fits);
        if committed {
            write.commit().await?;
        }
        Ok(Registered { outcomes, committed })
    }
}

impl RegistrationUpdate {
    /// What comes of it.
    fn applied(self, before: &Registration) -> NewRegistration {
        let Registration {
            id,
            spiffe_id,
            node,
            selectors,
            identity: _,
            ttl,
            federates_with,
            terms,
            role,
            ordinal: _,
        } = before.clone();
        NewRegistration {
            id,
            spiffe_id,
            node,
            selectors: self.selectors.unwrap_or(selectors),
            ttl: self.ttl.unwrap_or(ttl),
            federates_with: self.federates_with.unwrap_or(federates_with),
            terms: SvidTerms {
                hint: self.terms.hint.unwrap_or(terms.hint),
                dns_names: self.terms.dns_names.unwrap_or(terms.dns_names),
                key_type: self.terms.key_type.unwrap_or(terms.key_type),
                jwt_ttl: self.terms.jwt_ttl.unwrap_or(terms.jwt_ttl),
                downstream: self.terms.downstream.unwrap_or(terms.downstream),
            },
            role: self.role.unwrap_or(role),
        }
    }
}
