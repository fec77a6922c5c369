//! Another key-encryption key, or passphrase.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use signet_authority::DataDirectory;
use signet_keys::{Envelope, KeyManager as _, KeyRecord, SealedKeys};
use signet_log::Caller;
use signet_registry::{AUTHORITY_KEYS, Registry, ResealError};
use signet_spiffe::UnixTime;
use tokio::task::spawn_blocking;
use tracing::info;

use super::kek;
use super::options::KekSource;
use super::store::DATA_KEY;
use crate::clock::Clock;
use crate::database::{self, Database};
use crate::server;

/// Another key-encryption key for a CA's keys.
#[derive(Debug, Clone)]
pub struct Rewrap {
    /// The CA's data directory.
    pub directory: PathBuf,
    /// Where the registry is, if not in there.
    pub database: Option<Database>,
    /// What the keys are sealed under.
    pub from: KekSource,
    /// What they are to be sealed under.
    pub to: KekSource,
    /// What time it is.
    pub clock: Clock,
}

impl Rewrap {
    /// Opens directory and registry, and seals the keys anew. An error has changed nothing, except that it may come after the
    /// change was made; to repeat it then says so.
    pub async fn run(&self) -> anyhow::Result<()> {
        let directory = server::lock(&self.directory).await?;
        let _lock = match &self.database {
            Some(database) => database::lock(database).await?,
            None => None,
        };
        let registry = server::open_registry(&directory, self.database.as_ref()).await?;
        let done = rewrap(&registry, &directory, &self.from, &self.to, self.clock.now()).await;
        registry.close().await;
        done?;
        info!(from = %self.from, to = %self.to, "sealed the CA's keys anew");
        Ok(())
    }
}

/// Seals all of a CA's keys under a new data key, and that under another key-encryption key, in one transaction. The keys themselves
/// stay: who has the old key-encryption key and an old copy of the database has them, but none that is made from now on.
///
/// A new key in the data directory lies beside the one that is used until the registry has changed, so that there is no moment
/// at which nothing opens it.
async fn rewrap(
    registry: &Registry,
    directory: &DataDirectory,
    from: &KekSource,
    to: &KekSource,
    now: UnixTime,
) -> anyhow::Result<()> {
    let registry = registry.acting(Caller::Ca, now);
    let row = registry.sealed(DATA_KEY).await?;
    let row = row.context("there are no sealed keys: no CA has run on this registry yet")?;
    let old = kek::open(from, directory, &Envelope::decode(&row)?).await?;
    let own = *to == KekSource::DataDirectory;
    let new_kek = match to.read()? {
        Some(kek) => kek,
        None => kek::next(directory)?,
    };
    let (envelope, new) = spawn_blocking(move || Envelope::create(&new_kek)).await??;
    let resealed = registry.reseal(|rows| {
        if rows.get(DATA_KEY) != Some(&row) {
            bail!("somebody else changed the key-encryption key meanwhile; find out who, and repeat");
        }
        reseal(rows, &old, &new, &envelope)
    });
    resealed.await.map_err(|error| match error {
        ResealError::Seal(error) => error,
        ResealError::Storage(error) => error.into(),
    })?;
    if own {
        kek::adopt_next(directory)?;
    }
    Ok(())
}

/// Keys of other managers, in a device, say, are not sealed here.
fn reseal_key(name: &str, row: &[u8], old: &SealedKeys, new: &SealedKeys) -> anyhow::Result<Vec<u8>> {
    let failed = || format!("the key of `{name}` does not open");
    let record = KeyRecord::decode(row).with_context(failed)?;
    if record.manager() != old.name() {
        return Ok(row.to_vec());
    }
    Ok(old.reseal(&record, new).with_context(failed)?.encode())
}

fn reseal(
    rows: &BTreeMap<String, Vec<u8>>,
    old: &SealedKeys,
    new: &SealedKeys,
    envelope: &Envelope,
) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut resealed = BTreeMap::new();
    for (name, row) in rows {
        let row = if name == DATA_KEY {
            envelope.encode()
        } else if name.starts_with(AUTHORITY_KEYS) {
            reseal_key(name, row, old, new)?
        } else {
            let secret = old.open_secret(name, row);
            let secret =
                secret.with_context(|| format!("the secret `{name}` in the registry does not open"))?;
            new.seal_secret(name, &secret)?
        };
        resealed.insert(name.clone(), row);
    }
    Ok(resealed)
}
