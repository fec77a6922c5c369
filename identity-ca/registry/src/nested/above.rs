//! What the CA above this one publishes: this one passes it on.

use rustls_pki_types::CertificateDer;
use signet_log::{ChangeKind, Hash};
use signet_spiffe::{JwtBundle, KeyId, TrustDomain, UnixTime, WitBundle, X509Bundle};

use crate::authorities::{self, StoredAuthority};
use crate::changes::Change;
use crate::database::{Registry, StorageError, Write, moment, seconds};
use crate::revocation::NewRevocation;
use crate::revocations;
use crate::settings;
use crate::sql::{self, Connection};

/// Who asked for a revocation that came from above.
const UPSTREAM: &str = "upstream";

/// What the CA above publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Above {
    /// What X.509-SVIDs are checked against.
    pub x509: X509Bundle,
    /// Its JWT keys and those of others below it, without this CA's own.
    pub jwt: JwtBundle,
    /// The same of its keys for WIT-SVIDs.
    pub wit: WitBundle,
    /// Of its bundle.
    pub sequence: u64,
    /// Equal where the content is.
    pub mark: String,
    /// Names of authorities of both kinds whose SVIDs are to be replaced at once.
    pub tainted: Vec<String>,
    /// The authorities that it calls its own: who answers in its name shows an SVID of one of them.
    pub signers: Vec<KeyId>,
    /// When it was heard last.
    pub heard: UnixTime,
}

/// What came from above.
#[derive(Debug, Clone)]
pub struct FromAbove {
    /// What it publishes.
    pub above: Above,
    /// What it has revoked: SPIFFE IDs, serial numbers and authorities. Numbers of nodes are each CA's own.
    pub revocations: Vec<NewRevocation>,
    /// It is the first that came over its connection, and so what is there now, even if its sequence is lower.
    pub first: bool,
}

impl Registry {
    /// What the CA above publishes, as it was heard last.
    pub async fn above(&self) -> Result<Option<Above>, StorageError> {
        find(&mut *self.read().await?).await
    }

    /// Takes what came from above: the bundle is another one from then on, with a sequence of its own. Of two that come over
    /// different connections the one with the higher sequence counts. Says whether anything changed.
    pub async fn take_above(&self, from: &FromAbove, now: UnixTime) -> Result<bool, StorageError> {
        let mut write = self.write().await?;
        let known = find(write.connection()).await?;
        let is_older = known
            .as_ref()
            .is_some_and(|known| known.sequence > from.above.sequence);
        if is_older && !from.first {
            return Ok(false);
        }
        let mut changed = false;
        let differs = known.as_ref().is_none_or(|known| {
            let heard = known.heard;
            *known
                != Above {
                    heard,
                    ..from.above.clone()
                }
        });
        if differs {
            put(&mut write, known.as_ref(), &from.above).await?;
            changed = true;
        }
        for new in &from.revocations {
            changed |= revoke(&mut write, new, now).await?;
        }
        if !changed {
            return Ok(false);
        }
        // Before there is one of our own, nothing is published.
        if authorities::are_any(write.connection()).await? {
            authorities::publish(&mut write).await?;
            write.record(Change::Bundle).await?;
        }
        write.commit().await?;
        Ok(true)
    }
}

/// Enters a revocation from above, merged with what this CA's own operators said: what they closed stays closed.
async fn revoke(write: &mut Write<'_>, new: &NewRevocation, now: UnixTime) -> Result<bool, StorageError> {
    if new.until <= now && !new.closed {
        return Ok(false);
    }
    let before = revocations::find(write.connection(), &new.target).await?;
    let ours = before.as_ref().filter(|before| before.asker != UPSTREAM);
    let closed = new.closed || ours.is_some_and(|ours| ours.closed);
    let says_all = |before: &crate::revocation::Revocation| {
        before.cut >= new.cut && before.until >= new.until && before.closed == closed
    };
    if before.as_ref().is_some_and(says_all) {
        return Ok(false);
    }
    let merged = NewRevocation {
        asker: UPSTREAM.to_owned(),
        closed,
        reason: ours.map_or_else(|| new.reason.clone(), |ours| ours.reason.clone()),
        ..new.clone()
    };
    revocations::put_beside(write, &new.target, &merged, new.until, None, now).await?;
    Ok(true)
}

async fn put(write: &mut Write<'_>, before: Option<&Above>, new: &Above) -> Result<(), StorageError> {
    sql::query(
        "INSERT INTO above (one, x509, jwks, sequence, mark, tainted, heard, signers, wit) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (one) DO UPDATE SET x509 = excluded.x509, jwks = excluded.jwks, sequence = excluded.sequence,
             mark = excluded.mark, tainted = excluded.tainted, heard = excluded.heard, signers = excluded.signers, wit = excluded.wit",
    )
    .bind(StoredAuthority::chain_to_bytes(new.x509.authorities()))
    .bind(new.jwt.to_jwks())
    .bind(i64::try_from(new.sequence).unwrap_or(i64::MAX))
    .bind(new.mark.as_str())
    .bind(new.tainted.join("\n"))
    .bind(seconds(new.heard))
    .bind(lines(&new.signers))
    .bind(new.wit.to_jwks())
    .execute(write.connection())
    .await?;
    let digest = |above: &Above| Hash::sha256(above.mark.as_bytes());
    write.log(
        ChangeKind::Setting,
        "above",
        before.map(digest),
        Some(digest(new)),
    );
    Ok(())
}

fn lines(keys: &[KeyId]) -> String {
    let lines: Vec<_> = keys.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[derive(sqlx::FromRow)]
struct Row {
    x509: Vec<u8>,
    jwks: String,
    sequence: i64,
    mark: String,
    tainted: String,
    heard: i64,
    signers: String,
    wit: String,
}

pub(crate) async fn find(connection: &mut Connection) -> Result<Option<Above>, StorageError> {
    let row: Option<Row> =
        sql::query_as("SELECT x509, jwks, sequence, mark, tainted, heard, signers, wit FROM above")
            .fetch_optional(&mut *connection)
            .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let trust_domain: TrustDomain = settings::trust_domain(connection).await?.ok_or(CORRUPT)?;
    let roots: Vec<CertificateDer<'static>> = authorities::chain_from_bytes(&row.x509)?;
    Ok(Some(Above {
        x509: X509Bundle::new(trust_domain.clone(), roots).map_err(|_| CORRUPT)?,
        jwt: JwtBundle::from_jwks(trust_domain.clone(), &row.jwks).map_err(|_| CORRUPT)?,
        wit: if row.wit.is_empty() {
            WitBundle::empty(trust_domain)
        } else {
            WitBundle::from_jwks(trust_domain, &row.wit).map_err(|_| CORRUPT)?
        },
        sequence: u64::try_from(row.sequence).map_err(|_| CORRUPT)?,
        mark: row.mark,
        tainted: row.tainted.lines().map(str::to_owned).collect(),
        signers: row
            .signers
            .lines()
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| CORRUPT)?,
        heard: moment(row.heard, "above.heard")?,
    }))
}

const CORRUPT: StorageError = StorageError::Corrupt { column: "above" };
