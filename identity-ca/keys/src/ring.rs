//! Several managers at once.

use std::sync::Arc;

use crate::kind::KeyKind;
use crate::manager::{KeyManager, KeyManagerError};
use crate::record::KeyRecord;
use crate::signer::Signer;

/// One manager that makes keys, and others whose keys are still in use: so a CA changes from one to another by
/// rotation.
#[derive(Debug, Clone)]
pub struct KeyRing {
    making: Arc<dyn KeyManager>,
    others: Vec<Arc<dyn KeyManager>>,
}

impl KeyRing {
    /// New keys are made by `making`; those of `others` can be opened.
    pub fn new(making: Arc<dyn KeyManager>, others: impl IntoIterator<Item = Arc<dyn KeyManager>>) -> Self {
        Self {
            making,
            others: others.into_iter().collect(),
        }
    }

    fn of(&self, record: &KeyRecord) -> Result<&Arc<dyn KeyManager>, KeyManagerError> {
        std::iter::once(&self.making)
            .chain(&self.others)
            .find(|manager| manager.name() == record.manager())
            .ok_or_else(|| KeyManagerError::OtherManager {
                manager: record.manager().to_owned(),
                how: match record.manager() {
                    "memory" => "the process that had it has ended",
                    "pkcs11" => {
                        "give --pkcs11-module or --pkcs11-uri until all keys in the device are retired"
                    }
                    _ => "give the options that it was started with before",
                },
            })
    }
}

impl KeyManager for KeyRing {
    fn name(&self) -> &'static str {
        self.making.name()
    }

    fn generate(&self, kind: KeyKind) -> Result<(KeyRecord, Arc<dyn Signer>), KeyManagerError> {
        self.making.generate(kind)
    }

    fn import(&self, pkcs8: &[u8]) -> Result<(KeyRecord, Arc<dyn Signer>), KeyManagerError> {
        self.making.import(pkcs8)
    }

    fn open(&self, record: &KeyRecord) -> Result<Arc<dyn Signer>, KeyManagerError> {
        self.of(record)?.open(record)
    }

    fn forget(&self, record: &KeyRecord) -> Result<(), KeyManagerError> {
        self.of(record)?.forget(record)
    }
}
