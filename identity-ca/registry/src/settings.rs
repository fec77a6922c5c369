//! Settings of the whole cluster.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use signet_log::{Change as Logged, ChangeKind};
use signet_spiffe::TrustDomain;

use crate::changes::{Change, Revision, current};
use crate::database::{Registry, StorageError, Write};
use crate::sql::{self, Connection};

const TRUST_DOMAIN: &str = "trust_domain";
const ENCRYPTION: &str = "encryption";
const AVAILABILITY_TARGET: &str = "availability_target";
const KEYS: &str = "keys";
const BUNDLE_CONTENT: &str = "bundle_content";
const INSTANCE: &str = "instance";
const BUNDLE_SEQUENCE: &str = "bundle_sequence";

/// How packets between nodes are encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encryption {
    /// Not at all.
    #[default]
    Off,
    /// Node to node, with WireGuard.
    WireGuard,
}

/// Why a registry cannot serve a trust domain.
#[derive(Debug, thiserror::Error)]
pub enum TrustDomainError {
    /// It was made for another one.
    #[error(
        "the registry is of the trust domain {found}, not {wanted}; start with the right one or a new directory"
    )]
    Other {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: TrustDomain,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Registry {
    /// Makes a new registry the given trust domain's, and checks that an old one is.
    pub async fn bind_trust_domain(&self, trust_domain: &TrustDomain) -> Result<(), TrustDomainError> {
        let mut write = self.write().await?;
        match get(write.connection(), TRUST_DOMAIN).await? {
            Some(found) if found == trust_domain.as_str() => {}
            Some(found) => {
                return Err(TrustDomainError::Other {
                    found,
                    wanted: trust_domain.clone(),
                });
            }
            None => {
                set(write.connection(), TRUST_DOMAIN, trust_domain.as_str()).await?;
                let digest = Logged::digest(&[trust_domain.as_str()]);
                write.log(ChangeKind::Setting, TRUST_DOMAIN, None, Some(digest));
            }
        }
        write.commit().await?;
        Ok(())
    }

    /// What CAs of a version that had their keys in files said of them.
    pub async fn bound_keys(&self) -> Result<Option<String>, StorageError> {
        get(&mut *self.read().await?, KEYS).await
    }

    /// The cluster's encryption.
    pub async fn encryption(&self) -> Result<Encryption, StorageError> {
        encryption(&mut *self.read().await?).await
    }

    /// Sets the cluster's encryption. Setting what is set already changes nothing.
    pub async fn set_encryption(&self, mode: Encryption) -> Result<Revision, StorageError> {
        let mut write = self.write().await?;
        let before = encryption(write.connection()).await?;
        if before != mode {
            set(write.connection(), ENCRYPTION, &mode.to_string()).await?;
            write.record(Change::Cluster).await?;
            let digest = |mode: Encryption| Some(Logged::digest(&[&mode.to_string()]));
            write.log(ChangeKind::Setting, ENCRYPTION, digest(before), digest(mode));
        }
        write.commit().await
    }

    /// How long SVIDs should outlast the CA at least; zero: nobody has said.
    pub async fn availability_target(&self) -> Result<Duration, StorageError> {
        availability_target(&mut *self.read().await?).await
    }

    /// Sets that, in whole seconds, and tells all nodes. Setting what is set already changes nothing. Returns what it was.
    pub async fn set_availability_target(&self, target: Duration) -> Result<Duration, StorageError> {
        let mut write = self.write().await?;
        let before = availability_target(write.connection()).await?;
        let target = Duration::from_secs(target.as_secs());
        if before != target {
            let text = |target: Duration| target.as_secs().to_string();
            set(write.connection(), AVAILABILITY_TARGET, &text(target)).await?;
            write.record(Change::Cluster).await?;
            let digest = |target| Some(Logged::digest(&[&text(target)]));
            write.log(
                ChangeKind::Setting,
                AVAILABILITY_TARGET,
                digest(before),
                digest(target),
            );
        }
        write.commit().await?;
        Ok(before)
    }
}

pub(crate) async fn availability_target(connection: &mut Connection) -> Result<Duration, StorageError> {
    let Some(text) = get(connection, AVAILABILITY_TARGET).await? else {
        return Ok(Duration::ZERO);
    };
    let corrupt = StorageError::Corrupt {
        column: "settings.availability_target",
    };
    text.parse().map(Duration::from_secs).map_err(|_| corrupt)
}

pub(crate) async fn encryption(connection: &mut Connection) -> Result<Encryption, StorageError> {
    let corrupt = StorageError::Corrupt {
        column: "settings.encryption",
    };
    let text = get(connection, ENCRYPTION).await?;
    text.map_or(Ok(Encryption::Off), |text| text.parse().map_err(|()| corrupt))
}

/// Whose registry it is.
pub(crate) async fn trust_domain(connection: &mut Connection) -> Result<Option<TrustDomain>, StorageError> {
    let corrupt = |_| StorageError::Corrupt {
        column: "settings.trust_domain",
    };
    let name = get(connection, TRUST_DOMAIN).await?;
    name.map(|name| TrustDomain::parse(&name).map_err(corrupt))
        .transpose()
}

/// What tells the CAs of this registry from others, where anybody has asked.
pub(crate) async fn instance(connection: &mut Connection) -> Result<Option<String>, StorageError> {
    get(connection, INSTANCE).await
}

pub(crate) async fn set_instance(connection: &mut Connection, name: &str) -> Result<(), StorageError> {
    set(connection, INSTANCE, name).await
}

/// Sequence and content of the trust bundle, where one was published.
pub(crate) async fn bundle(connection: &mut Connection) -> Result<Option<(u64, String)>, StorageError> {
    let content = get(connection, BUNDLE_CONTENT).await?;
    let sequence = get(connection, BUNDLE_SEQUENCE).await?;
    let Some((content, sequence)) = content.zip(sequence) else {
        return Ok(None);
    };
    let sequence = sequence.parse().map_err(|_| StorageError::Corrupt {
        column: "settings.bundle_sequence",
    })?;
    Ok(Some((sequence, content)))
}

/// Notes what the trust bundle has in it, as any text that is equal where the content is, and tells its sequence number:
/// 1 at first, and one more with each other content.
pub(crate) async fn note_bundle(write: &mut Write<'_>, content: &str) -> Result<u64, StorageError> {
    let known = bundle(write.connection()).await?;
    let sequence = match &known {
        Some((sequence, known)) if known == content => return Ok(*sequence),
        Some((sequence, _)) => sequence + 1,
        // Nodes may have been told of a bundle by a version that did not count: it was 1.
        None if current(write.connection()).await? > Revision(1) => 2,
        None => 1,
    };
    let digest = |content: &str| Logged::digest(&[content]);
    let before = known.map(|(_, known)| digest(&known));
    write.log(ChangeKind::Setting, BUNDLE_CONTENT, before, Some(digest(content)));
    set(write.connection(), BUNDLE_CONTENT, content).await?;
    set(write.connection(), BUNDLE_SEQUENCE, &sequence.to_string()).await?;
    Ok(sequence)
}

async fn get(connection: &mut Connection, key: &str) -> Result<Option<String>, StorageError> {
    let row: Option<(String,)> = sql::query_as("SELECT value FROM settings WHERE key = ?")
        .bind(key)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|(value,)| value))
}

async fn set(connection: &mut Connection, key: &str, value: &str) -> Result<(), StorageError> {
    sql::query("INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value")
        .bind(key)
        .bind(value)
        .execute(connection)
        .await?;
    Ok(())
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::WireGuard => "wireguard",
        })
    }
}

impl FromStr for Encryption {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "off" => Ok(Self::Off),
            "wireguard" => Ok(Self::WireGuard),
            _ => Err(()),
        }
    }
}
