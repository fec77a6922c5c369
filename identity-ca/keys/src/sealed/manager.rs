//! The manager whose keys are in their records.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::aead::{self, Key};
use super::envelope::ID;
use crate::kind::KeyKind;
use crate::manager::{KeyManager, KeyManagerError};
use crate::record::KeyRecord;
use crate::signer::Signer;
use crate::software::{Secret, SoftwareKey};

pub(super) const NAME: &str = "sealed";

/// Keys that lie in their records, each sealed under the data key of an [`Envelope`](super::Envelope) with its kind and public half as additional
/// data: a record that was exchanged for another does not open.
pub struct SealedKeys {
    id: [u8; ID],
    data_key: Key,
}

impl SealedKeys {
    pub(super) fn new(id: [u8; ID], data_key: Key) -> Self {
        Self { id, data_key }
    }

    /// The same key in a record of another data key's.
    pub fn reseal(&self, record: &KeyRecord, under: &Self) -> Result<KeyRecord, KeyManagerError> {
        let (secret, key) = self.unseal(record)?;
        under.seal(&key, &secret)
    }

    /// Seals any other secret of the CA's under the name of what it is.
    pub fn seal_secret(&self, name: &str, secret: &[u8]) -> Result<Vec<u8>, KeyManagerError> {
        let sealed = aead::seal(&self.data_key, &secret_aad(name), secret);
        let sealed = sealed.ok_or(KeyManagerError::Changed)?;
        Ok([&self.id[..], &sealed].concat())
    }

    /// What was sealed under that name.
    pub fn open_secret(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyManagerError> {
        aead::open(&self.data_key, &secret_aad(name), self.body(sealed)?).ok_or(KeyManagerError::Changed)
    }

    fn seal(&self, key: &SoftwareKey, secret: &Secret) -> Result<KeyRecord, KeyManagerError> {
        let failed = || KeyManagerError::Generate { kind: key.kind() };
        let aad = key_aad(key.kind(), key.public_key());
        let sealed = aead::seal(&self.data_key, &aad, secret).ok_or_else(failed)?;
        let body = [&self.id[..], &sealed].concat();
        Ok(KeyRecord::new(NAME, key.kind(), key.public_key(), body)?)
    }

    fn unseal(&self, record: &KeyRecord) -> Result<(Secret, SoftwareKey), KeyManagerError> {
        let aad = key_aad(record.kind(), record.public_key());
        let secret = aead::open(&self.data_key, &aad, self.body(record.body())?);
        let secret = secret.ok_or(KeyManagerError::Changed)?;
        let key = SoftwareKey::from_pkcs8(&secret).filter(|key| key.public_key() == record.public_key());
        Ok((secret, key.ok_or(KeyManagerError::Changed)?))
    }

    /// What follows the data key's ID, if that is ours.
    fn body<'a>(&self, sealed: &'a [u8]) -> Result<&'a [u8], KeyManagerError> {
        let (id, body) = sealed.split_first_chunk::<ID>().ok_or(KeyManagerError::Changed)?;
        if *id == self.id {
            Ok(body)
        } else {
            Err(KeyManagerError::OtherDataKey)
        }
    }
}

impl KeyManager for SealedKeys {
    fn name(&self) -> &'static str {
        NAME
    }

    fn generate(&self, kind: KeyKind) -> Result<(KeyRecord, Arc<dyn Signer>), KeyManagerError> {
        let (key, secret) = SoftwareKey::generate(kind)?;
        Ok((self.seal(&key, &secret)?, Arc::new(key)))
    }

    fn import(&self, pkcs8: &[u8]) -> Result<(KeyRecord, Arc<dyn Signer>), KeyManagerError> {
        let key = SoftwareKey::from_pkcs8(pkcs8).ok_or(KeyManagerError::Pkcs8)?;
        let secret = Secret::new(pkcs8.to_vec());
        Ok((self.seal(&key, &secret)?, Arc::new(key)))
    }

    fn open(&self, record: &KeyRecord) -> Result<Arc<dyn Signer>, KeyManagerError> {
        let (_, key) = self.unseal(record)?;
        Ok(Arc::new(key))
    }

    /// The key is in the record alone.
    fn forget(&self, _: &KeyRecord) -> Result<(), KeyManagerError> {
        Ok(())
    }
}

impl fmt::Debug for SealedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedKeys(..)")
    }
}

fn key_aad(kind: KeyKind, public_key: &[u8]) -> Vec<u8> {
    let mut aad = b"signet sealed key\0".to_vec();
    aad.push(kind.code());
    aad.extend(public_key);
    aad
}

fn secret_aad(name: &str) -> Vec<u8> {
    let mut aad = b"signet sealed secret\0".to_vec();
    aad.extend(name.as_bytes());
    aad
}
