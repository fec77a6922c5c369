//! Keys that end with the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::kind::KeyKind;
use crate::manager::{KeyManager, KeyManagerError};
use crate::record::KeyRecord;
use crate::signer::Signer;
use crate::software::SoftwareKey;

const NAME: &str = "memory";

/// Keeps keys in memory and nowhere else, by their public halves.
#[derive(Debug, Default)]
pub struct MemoryKeys {
    keys: Mutex<HashMap<Vec<u8>, Arc<SoftwareKey>>>,
}

impl MemoryKeys {
    fn keep(&self, key: SoftwareKey) -> Result<(KeyRecord, Arc<dyn Signer>), KeyManagerError> {
        let key = Arc::new(key);
        let record = KeyRecord::new(NAME, key.kind(), key.public_key(), Vec::new())?;
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(record.public_key().to_vec(), Arc::clone(&key));
        Ok((record, key))
    }
}

impl KeyManager for MemoryKeys {
    fn name(&self) -> &'static str {
        NAME
    }

    fn generate(&self, kind: KeyKind) -> Result<(KeyRecord, Arc<dyn Signer>), KeyManagerError> {
        let (key, _) = SoftwareKey::generate(kind)?;
        self.keep(key)
    }

    fn import(&self, pkcs8: &[u8]) -> Result<(KeyRecord, Arc<dyn Signer>), KeyManagerError> {
        self.keep(SoftwareKey::from_pkcs8(pkcs8).ok_or(KeyManagerError::Pkcs8)?)
    }

    fn open(&self, record: &KeyRecord) -> Result<Arc<dyn Signer>, KeyManagerError> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.get(record.public_key()) {
            Some(key) => Ok(Arc::<SoftwareKey>::clone(key)),
            None => Err(KeyManagerError::Gone(
                "it was in the memory of a process that has ended".to_owned(),
            )),
        }
    }

    fn forget(&self, record: &KeyRecord) -> Result<(), KeyManagerError> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.remove(record.public_key());
        Ok(())
    }
}
