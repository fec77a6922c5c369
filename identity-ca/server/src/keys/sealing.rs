//! The data key that is used at the moment: another one after `rewrap-keys`, while the CA runs.

use std::sync::{Arc, PoisonError, RwLock, Weak};

use anyhow::Context as _;
use signet_authority::DataDirectory;
use signet_keys::{Envelope, KeyKind, KeyManager, KeyManagerError, KeyRecord, SealedKeys, Signer};
use signet_registry::{Guard, Registry};
use tracing::info;

use super::kek;
use super::options::KekSource;
use super::store::DATA_KEY;

/// What a running CA has the registry look at: no record is kept that does not open with the data key of that moment.
pub(crate) const GUARD: Guard = Guard {
    data_key: DATA_KEY,
    fits,
};

fn fits(record: &[u8], data_key: &[u8]) -> bool {
    let (Ok(record), Ok(envelope)) = (KeyRecord::decode(record), Envelope::decode(data_key)) else {
        return false;
    };
    envelope.fits(&record)
}

/// Sealed keys under the data key of the moment.
#[derive(Debug)]
pub(crate) struct Sealing {
    source: KekSource,
    /// It is the server's: this must not keep it locked.
    directory: Weak<DataDirectory>,
    now: RwLock<Now>,
}

#[derive(Debug, Clone)]
struct Now {
    /// The registry's row.
    row: Vec<u8>,
    keys: Arc<SealedKeys>,
}

impl Sealing {
    pub(super) fn new(
        source: KekSource,
        directory: &Arc<DataDirectory>,
        row: Vec<u8>,
        keys: SealedKeys,
    ) -> Self {
        Self {
            source,
            directory: Arc::downgrade(directory),
            now: RwLock::new(Now {
                row,
                keys: Arc::new(keys),
            }),
        }
    }

    /// With the data key that was opened last.
    pub(super) fn keys(&self) -> Arc<SealedKeys> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner).keys)
    }

    /// Opens the data key that the registry has now, if it is another one.
    pub(crate) async fn refresh(&self, registry: &Registry) -> anyhow::Result<()> {
        let row = registry.sealed(DATA_KEY).await?;
        let row = row.context("the registry has no data key any more")?;
        if self.now.read().unwrap_or_else(PoisonError::into_inner).row == row {
            return Ok(());
        }
        let directory = self.directory.upgrade().context("the CA is shutting down")?;
        let opened = kek::open(&self.source, &directory, &Envelope::decode(&row)?).await;
        let keys = opened.context(
            "the CA's keys were sealed anew (rewrap-keys), and this CA goes on with those that it has open, but opens and makes no \
             other ones until it is given what they are sealed under now",
        )?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Now {
            row,
            keys: Arc::new(keys),
        };
        info!("the CA's keys were sealed anew: opened what they are sealed under now");
        Ok(())
    }
}

impl KeyManager for Sealing {
    fn name(&self) -> &'static str {
        self.keys().name()
    }

    fn generate(&self, kind: KeyKind) -> Result<(KeyRecord, Arc<dyn Signer>), KeyManagerError> {
        self.keys().generate(kind)
    }

    fn import(&self, pkcs8: &[u8]) -> Result<(KeyRecord, Arc<dyn Signer>), KeyManagerError> {
        self.keys().import(pkcs8)
    }

    fn open(&self, record: &KeyRecord) -> Result<Arc<dyn Signer>, KeyManagerError> {
        self.keys().open(record)
    }

    fn forget(&self, record: &KeyRecord) -> Result<(), KeyManagerError> {
        self.keys().forget(record)
    }
}

#[cfg(test)]
mod tests {
    use signet_keys::Kek;
    use signet_registry::StorageError;
    use signet_spiffe::UnixTime;

    use super::*;

    #[tokio::test]
    async fn a_key_that_was_made_under_another_data_key_is_not_kept_however_late_that_changed() {
        let registry = Registry::in_memory().await.unwrap().guarded(GUARD);
        let kek = Kek::generate().unwrap();
        let (_, old) = Envelope::create(&kek).unwrap();
        let (envelope, new) = Envelope::create(&kek).unwrap();
        registry.keep_sealed(DATA_KEY, &envelope.encode()).await.unwrap();
        let keep = async |keys: &SealedKeys| {
            let (record, _) = keys.generate(KeyKind::P256).unwrap();
            let (public, now) = (record.public_key().to_vec(), UnixTime::now());
            registry
                .keep_authority_request(&public, &record.encode(), now)
                .await
        };
        assert!(matches!(keep(&old).await, Err(StorageError::Resealed)));
        keep(&new).await.unwrap();
    }
}
