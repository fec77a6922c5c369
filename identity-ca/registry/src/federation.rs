//! Trust domains whose bundles are followed, and what they published last.

use signet_federation::{Document, EndpointUrl, Profile, Relationship, SequenceError, Verdict, judge};
use signet_log::{Change as Logged, ChangeKind, Hash};
use signet_spiffe::{SpiffeId, TrustDomain, UnixTime};

use crate::changes::Change;
use crate::database::{Registry, StorageError, moment, seconds};
use crate::sql::{self, Connection};

/// Most relationships: every agent holds all their documents.
pub const MAX_RELATIONSHIPS: usize = 32;

/// Longest failure that is kept, bytes.
const MAX_FAILURE: usize = 512;

/// A relationship and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Federated {
    /// With whom.
    pub relationship: Relationship,
    /// The last document that counted.
    pub document: Option<Document>,
    /// When the endpoint, or the operator, last gave a document that counts.
    pub fetched_at: Option<UnixTime>,
    /// When the endpoint was last asked.
    pub tried_at: Option<UnixTime>,
    /// Why that was in vain; empty: it was not.
    pub failure: String,
}

/// A document for those who verify: the text as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignBundle {
    /// Whose it is.
    pub trust_domain: TrustDomain,
    /// A JWK set in SPIFFE's format.
    pub document: String,
}

/// Why a relationship was not made.
#[derive(Debug, thiserror::Error)]
pub enum FederateError {
    /// There is one.
    #[error("there is a relationship with {0} already; remove it first")]
    Exists(TrustDomain),
    /// [`MAX_RELATIONSHIPS`] exist.
    #[error("there are {MAX_RELATIONSHIPS} relationships, which is the limit")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a document was not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreDocumentError {
    /// It was fetched for a relationship that has gone or changed since.
    #[error("there is no such relationship with {0} any more")]
    Gone(TrustDomain),
    /// It may be older than what is there.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Federated {
    /// What the issuance log has of it.
    fn digest(&self) -> Hash {
        let Columns {
            endpoint_id, web_ca, ..
        } = columns(self.relationship.profile());
        Logged::digest(&[
            self.relationship.trust_domain().as_str(),
            &self.relationship.url().to_string(),
            self.relationship.profile().as_str(),
            endpoint_id,
            web_ca,
            self.document.as_ref().map_or("", Document::text),
        ])
    }
}

impl Registry {
    /// Begins to follow a trust domain, with a document that its operator handed over, if any.
    pub async fn federate(
        &self,
        relationship: &Relationship,
        bootstrap: Option<&Document>,
        now: UnixTime,
    ) -> Result<Federated, FederateError> {
        let trust_domain = relationship.trust_domain();
        let mut write = self.write().await?;
        let names = names(write.connection()).await?;
        if names.contains(trust_domain) {
            return Err(FederateError::Exists(trust_domain.clone()));
        }
        if names.len() >= MAX_RELATIONSHIPS {
            return Err(FederateError::TooMany);
        }
        let new = Federated {
            relationship: relationship.clone(),
            document: bootstrap.cloned(),
            fetched_at: bootstrap.map(|_| now),
            tried_at: None,
            failure: String::new(),
        };
        let Columns {
            profile,
            endpoint_id,
            web_ca,
        } = columns(relationship.profile());
        sql::query(
            "INSERT INTO federation (trust_domain, url, profile, endpoint_id, web_ca, document, fetched_at, failure)
             VALUES (?, ?, ?, ?, ?, ?, ?, '')",
        )
        .bind(trust_domain.as_str())
        .bind(relationship.url().to_string())
        .bind(profile)
        .bind(endpoint_id)
        .bind(web_ca)
        .bind(bootstrap.map_or("", Document::text))
        .bind(new.fetched_at.map(seconds))
        .execute(write.connection())
        .await
        .map_err(StorageError::from)?;
        write.record(Change::Foreign(trust_domain)).await?;
        let digest = new.digest();
        write.log(ChangeKind::Federation, trust_domain.as_str(), None, Some(digest));
        write.commit().await?;
        Ok(new)
    }

    /// Ends a relationship: its bundle is taken from all nodes. Tells what it was; nothing where there was none.
    pub async fn defederate(&self, trust_domain: &TrustDomain) -> Result<Option<Federated>, StorageError> {
        let mut write = self.write().await?;
        let Some(gone) = find(write.connection(), trust_domain).await? else {
            return Ok(None);
        };
        sql::query("DELETE FROM federation WHERE trust_domain = ?")
            .bind(trust_domain.as_str())
            .execute(write.connection())
            .await?;
        write.record(Change::Foreign(trust_domain)).await?;
        let digest = gone.digest();
        write.log(ChangeKind::Federation, trust_domain.as_str(), Some(digest), None);
        write.commit().await?;
        Ok(Some(gone))
    }

    /// Keeps a document that was fetched for a relationship, unless an older one or one for another relationship: decided
    /// here, in the transaction, so that of several CAs that ask the same endpoint the newest answer wins.
    pub async fn store_document(
        &self,
        relationship: &Relationship,
        document: &Document,
        now: UnixTime,
    ) -> Result<Verdict, StoreDocumentError> {
        let trust_domain = relationship.trust_domain();
        let mut write = self.write().await?;
        let stored = find(write.connection(), trust_domain).await?;
        let stored = stored
            .filter(|stored| stored.relationship == *relationship)
            .ok_or_else(|| StoreDocumentError::Gone(trust_domain.clone()))?;
        let verdict = judge(stored.document.as_ref(), document)?;
        sql::query(
            "UPDATE federation SET document = ?, fetched_at = ?, tried_at = ?, failure = '' WHERE trust_domain = ?",
        )
        .bind(document.text())
        .bind(seconds(now))
        .bind(seconds(now))
        .bind(trust_domain.as_str())
        .execute(write.connection())
        .await
        .map_err(StorageError::from)?;
        match verdict {
            Verdict::New => {
                write.record(Change::Foreign(trust_domain)).await?;
                let before = stored.digest();
                let after = Federated {
                    document: Some(document.clone()),
                    ..stored
                }
                .digest();
                let name = trust_domain.as_str();
                write.log(ChangeKind::Federation, name, Some(before), Some(after));
            }
            Verdict::Same => {}
        }
        write.commit().await?;
        Ok(verdict)
    }

    /// Notes why an attempt was in vain.
    pub async fn note_failure(
        &self,
        relationship: &Relationship,
        failure: &str,
        now: UnixTime,
    ) -> Result<(), StorageError> {
        let trust_domain = relationship.trust_domain();
        let mut write = self.write().await?;
        let stored = find(write.connection(), trust_domain).await?;
        if stored.is_none_or(|stored| stored.relationship != *relationship) {
            return Ok(());
        }
        sql::query("UPDATE federation SET tried_at = ?, failure = ? WHERE trust_domain = ?")
            .bind(seconds(now))
            .bind(
                failure
                    .get(..failure.floor_char_boundary(MAX_FAILURE))
                    .unwrap_or_default(),
            )
            .bind(trust_domain.as_str())
            .execute(write.connection())
            .await?;
        write.commit().await?;
        Ok(())
    }

    /// A relationship and how it stands.
    pub async fn federated(&self, trust_domain: &TrustDomain) -> Result<Option<Federated>, StorageError> {
        find(&mut *self.read().await?, trust_domain).await
    }

    /// All relationships and how they stand, by name.
    pub async fn all_federated(&self) -> Result<Vec<Federated>, StorageError> {
        let mut read = self.read().await?;
        let mut all = Vec::new();
        for name in names(&mut read).await? {
            all.extend(find(&mut read, &name).await?);
        }
        Ok(all)
    }

    /// All relationships, by name: no documents are read.
    pub async fn relationships(&self) -> Result<Vec<Relationship>, StorageError> {
        let rows: Vec<(String, String, String, String, String)> = sql::query_as(
            "SELECT trust_domain, url, profile, endpoint_id, web_ca FROM federation ORDER BY trust_domain",
        )
        .fetch_all(&mut *self.read().await?)
        .await?;
        rows.into_iter()
            .map(|(domain, url, profile, id, ca)| relationship(&domain, &url, &profile, &id, ca))
            .collect()
    }
}

/// Names of all trust domains that are followed, in order.
pub(crate) async fn names(connection: &mut Connection) -> Result<Vec<TrustDomain>, StorageError> {
    let rows: Vec<(String,)> = sql::query_as("SELECT trust_domain FROM federation ORDER BY trust_domain")
        .fetch_all(connection)
        .await?;
    rows.iter().map(|(name,)| domain(name)).collect()
}

/// What nodes are told of a trust domain: nothing where it is not followed, or has not answered yet.
pub(crate) async fn foreign(
    connection: &mut Connection,
    trust_domain: &TrustDomain,
) -> Result<Option<ForeignBundle>, StorageError> {
    let row: Option<(String,)> = sql::query_as("SELECT document FROM federation WHERE trust_domain = ?")
        .bind(trust_domain.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(row
        .filter(|(document,)| !document.is_empty())
        .map(|(document,)| ForeignBundle {
            trust_domain: trust_domain.clone(),
            document,
        }))
}

/// The same for all trust domains.
pub(crate) async fn all_foreign(connection: &mut Connection) -> Result<Vec<ForeignBundle>, StorageError> {
    let mut all = Vec::new();
    for name in names(connection).await? {
        all.extend(foreign(connection, &name).await?);
    }
    Ok(all)
}

/// URL, profile, endpoint, web authorities, document, times, failure.
type Row = (
    String,
    String,
    String,
    String,
    String,
    Option<i64>,
    Option<i64>,
    String,
);

async fn find(
    connection: &mut Connection,
    trust_domain: &TrustDomain,
) -> Result<Option<Federated>, StorageError> {
    let row: Option<Row> = sql::query_as(
        "SELECT url, profile, endpoint_id, web_ca, document, fetched_at, tried_at, failure FROM federation
         WHERE trust_domain = ?",
    )
    .bind(trust_domain.as_str())
    .fetch_optional(connection)
    .await?;
    let Some((url, profile, id, ca, document, fetched_at, tried_at, failure)) = row else {
        return Ok(None);
    };
    let document = if document.is_empty() {
        None
    } else {
        let read = Document::read(trust_domain, document.as_bytes());
        Some(read.map_err(|_| corrupt("federation.document"))?)
    };
    let at = |at: Option<i64>, column| at.map(|at| moment(at, column)).transpose();
    Ok(Some(Federated {
        relationship: relationship(trust_domain.as_str(), &url, &profile, &id, ca)?,
        document,
        fetched_at: at(fetched_at, "federation.fetched_at")?,
        tried_at: at(tried_at, "federation.tried_at")?,
        failure,
    }))
}

fn relationship(
    trust_domain: &str,
    url: &str,
    profile: &str,
    endpoint_id: &str,
    web_ca: String,
) -> Result<Relationship, StorageError> {
    let profile = match profile {
        "https_spiffe" => Profile::HttpsSpiffe {
            endpoint: SpiffeId::parse(endpoint_id).map_err(|_| corrupt("federation.endpoint_id"))?,
        },
        "https_web" => Profile::HttpsWeb {
            authorities: (!web_ca.is_empty()).then_some(web_ca),
        },
        _ => return Err(corrupt("federation.profile")),
    };
    let url = EndpointUrl::parse(url).map_err(|_| corrupt("federation.url"))?;
    Relationship::new(domain(trust_domain)?, url, profile).map_err(|_| corrupt("federation.web_ca"))
}

struct Columns<'a> {
    profile: &'static str,
    endpoint_id: &'a str,
    web_ca: &'a str,
}

fn columns(profile: &Profile) -> Columns<'_> {
    let (endpoint_id, web_ca) = match profile {
        Profile::HttpsSpiffe { endpoint } => (endpoint.as_str(), ""),
        Profile::HttpsWeb { authorities } => ("", authorities.as_deref().unwrap_or_default()),
    };
    Columns {
        profile: profile.as_str(),
        endpoint_id,
        web_ca,
    }
}

fn domain(name: &str) -> Result<TrustDomain, StorageError> {
    TrustDomain::parse(name).map_err(|_| corrupt("federation.trust_domain"))
}

fn corrupt(column: &'static str) -> StorageError {
    StorageError::Corrupt { column }
}
