//! Opening the keys at the start.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use signet_authority::DataDirectory;
use signet_keys::{Envelope, KeyManager, KeyRing, MemoryKeys, SealedKeys};
use signet_pkcs11::Pkcs11Keys;
use signet_registry::Registry;
use tokio::task::spawn_blocking;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::kek;
use super::options::{KekSource, KeyManagerName, KeyOptions};
use super::sealing::Sealing;

/// Names of secrets in the registry.
pub(super) const DATA_KEY: &str = "data-key";
const LOG_KEY: &str = "log-key";

/// Who has the CA's keys, and what its other secrets are sealed with.
#[derive(Debug)]
pub(crate) struct Keys {
    ring: KeyRing,
    /// None: everything ends with the process.
    sealed: Option<Arc<Sealing>>,
}

impl Keys {
    /// That end with the process.
    pub(crate) fn in_memory() -> Self {
        Self {
            ring: KeyRing::new(Arc::new(MemoryKeys::default()), []),
            sealed: None,
        }
    }

    /// Opens what keys are sealed under now, if that is not what it was.
    pub(crate) async fn refresh(&self, registry: &Registry) -> anyhow::Result<()> {
        match &self.sealed {
            Some(sealed) => sealed.refresh(registry).await,
            None => Ok(()),
        }
    }

    /// Who makes the authorities' keys, and opens them.
    pub(crate) fn manager(&self) -> Arc<dyn KeyManager> {
        Arc::new(self.ring.clone())
    }

    /// In the registry, sealed as the options say. Makes what is missing at the first start, and changes nothing where what is
    /// there does not open.
    pub(crate) async fn open(
        options: &KeyOptions,
        directory: &Arc<DataDirectory>,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let (row, keys) = match registry.sealed(DATA_KEY).await? {
            Some(row) => {
                let keys = kek::open(&options.kek, directory, &Envelope::decode(&row)?).await?;
                (row, keys)
            }
            None => begin(&options.kek, directory, registry).await?,
        };
        let sealed = Arc::new(Sealing::new(options.kek.clone(), directory, row, keys));
        let in_registry: Arc<dyn KeyManager> = Arc::<Sealing>::clone(&sealed);
        let device = device(options).await?;
        let ring = match options.manager {
            KeyManagerName::Sealed => KeyRing::new(in_registry, device),
            KeyManagerName::Pkcs11 => {
                let device = device.context(
                    "keys in a device need one: give --pkcs11-uri, or --pkcs11-module and --pkcs11-token",
                )?;
                KeyRing::new(device, [in_registry])
            }
            KeyManagerName::Memory => bail!(
                "keys in memory go with a registry in memory (--in-memory): certificates in a registry that lasts would be of keys \
                 that do not"
            ),
        };
        Ok(Self {
            ring,
            sealed: Some(sealed),
        })
    }

    /// The issuance log's secret, as [`LogKey`](signet_log::LogKey) writes it: from the registry; where it has none, from the
    /// data directory, where an earlier version put it, or from `make`, and then kept in the registry.
    pub(crate) async fn log_secret(
        &self,
        file: Option<(&DataDirectory, &str)>,
        registry: &Registry,
        make: impl FnOnce() -> anyhow::Result<Zeroizing<String>>,
    ) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let text = |text: Zeroizing<String>| Zeroizing::new(text.as_bytes().to_vec());
        let Some(sealed) = &self.sealed else {
            return make().map(text);
        };
        let kept = match file {
            Some((directory, name)) => directory.read_secret(name)?,
            None => None,
        };
        let row = if let Some(row) = registry.sealed(LOG_KEY).await? {
            row
        } else {
            let secret = match &kept {
                Some(secret) => secret.clone(),
                None => make().map(text)?,
            };
            let row = sealed.keys().seal_secret(LOG_KEY, &secret)?;
            registry.keep_sealed(LOG_KEY, &row).await?
        };
        let secret = sealed
            .keys()
            .open_secret(LOG_KEY, &row)
            .context("the issuance log's key in the registry cannot be opened")?;
        if let (Some(kept), Some((directory, name))) = (kept, file) {
            let file = directory.path().join(name);
            if kept.trim_ascii() != secret.trim_ascii() {
                bail!(
                    "{} holds another key than the registry, which has the one that signs the issuance log: put the right database \
                     and data directory together, or delete the file if it came here by mistake",
                    file.display()
                );
            }
            warn!(
                file = %file.display(),
                "the issuance log's key is in the registry, sealed; the file is not needed any more: delete it once the database is \
                 backed up together with what its keys are sealed under"
            );
        }
        Ok(secret)
    }
}

async fn device(options: &KeyOptions) -> anyhow::Result<Option<Arc<dyn KeyManager>>> {
    let Some(settings) = options.pkcs11.clone() else {
        return Ok(None);
    };
    let opened = spawn_blocking(move || Pkcs11Keys::open(settings)).await?;
    let opened = opened.context("the device with the CA's keys cannot be used")?;
    Ok(Some(Arc::new(opened)))
}

/// The first start: a data key under the key-encryption key, which is made too where it is ours to make.
async fn begin(
    source: &KekSource,
    directory: &DataDirectory,
    registry: &Registry,
) -> anyhow::Result<(Vec<u8>, SealedKeys)> {
    let kek = match source.read()? {
        Some(kek) => kek,
        None => kek::own(directory)?,
    };
    let (envelope, sealed) = spawn_blocking(move || Envelope::create(&kek)).await??;
    let ours = envelope.encode();
    let kept = registry.keep_sealed(DATA_KEY, &ours).await?;
    if kept == ours {
        info!(key.encryption = %source, "made a data key, which the CA's keys are sealed under");
        return Ok((kept, sealed));
    }
    // Another CA on the same database was quicker.
    let sealed = kek::open(source, directory, &Envelope::decode(&kept)?).await?;
    Ok((kept, sealed))
}
