//! The manager whose keys are in a token.

use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::Session;
use signet_keys::{KeyKind, KeyManager, KeyManagerError, KeyRecord, Signer};
use tracing::warn;

use crate::device::Device;
use crate::error::DeviceError;
use crate::key::{DeviceKey, one, private, public};
use crate::settings::Pkcs11Settings;
use crate::spki;

const NAME: &str = "pkcs11";

/// What the token shows of our keys besides.
const LABEL: &[u8] = b"signet-ca";

/// Bytes of `CKA_ID`.
const ID: usize = 16;

/// Keys that a token makes, holds and signs with. A record has the key's `CKA_ID` alone: it is found again in whatever token is
/// given, and only if its public half is the registry's.
#[derive(Debug, Clone)]
pub struct Pkcs11Keys {
    device: Arc<Device>,
}

impl Pkcs11Keys {
    /// Opens the token. Blocks, for as long as the device takes.
    pub fn open(settings: Pkcs11Settings) -> Result<Self, DeviceError> {
        Ok(Self {
            device: Arc::new(Device::open(settings)?),
        })
    }

    fn make(&self, kind: KeyKind, id: &[u8]) -> Result<Vec<u8>, DeviceError> {
        let (mechanism, parameters) = match kind {
            KeyKind::P256 | KeyKind::P384 => {
                let curve = spki::curve(kind).unwrap_or_default().to_vec();
                (Mechanism::EccKeyPairGen, vec![Attribute::EcParams(curve)])
            }
            KeyKind::Rsa2048 => (Mechanism::RsaPkcsKeyPairGen, rsa(2048)),
            KeyKind::Rsa3072 => (Mechanism::RsaPkcsKeyPairGen, rsa(3072)),
            KeyKind::Rsa4096 => (Mechanism::RsaPkcsKeyPairGen, rsa(4096)),
            KeyKind::Ed25519 => {
                return Err(DeviceError::Refused(
                    "tokens are asked for P-256, P-384 and RSA keys".to_owned(),
                ));
            }
        };
        let mut public_template = parameters;
        public_template.extend([
            Attribute::Token(true),
            Attribute::Verify(true),
            Attribute::Id(id.to_vec()),
            Attribute::Label(LABEL.to_vec()),
        ]);
        let private_template = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Decrypt(false),
            Attribute::Unwrap(false),
            Attribute::Derive(false),
            Attribute::Id(id.to_vec()),
            Attribute::Label(LABEL.to_vec()),
        ];
        self.device.with(|session, _| {
            // The first attempt may have come through although its answer did not.
            destroy(session, id)?;
            session.generate_key_pair(&mechanism, &public_template, &private_template)?;
            if !stays_inside(session, id)? {
                destroy(session, id)?;
                return Err(DeviceError::Extractable);
            }
            public(session, id, kind)
        })
    }
}

/// What a token says of a key of which it was told that it must not leave.
fn stays_inside(session: &Session, id: &[u8]) -> Result<bool, DeviceError> {
    let key = private(session, id)?;
    let said = session.get_attributes(key, &[AttributeType::Sensitive, AttributeType::Extractable])?;
    Ok(said.contains(&Attribute::Sensitive(true)) && said.contains(&Attribute::Extractable(false)))
}

fn rsa(bits: u32) -> Vec<Attribute> {
    // 65537, as everybody has it.
    vec![
        Attribute::ModulusBits(u64::from(bits).into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
    ]
}

fn destroy(session: &Session, id: &[u8]) -> Result<(), DeviceError> {
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        match one(session, class, id) {
            Ok(object) => session.destroy_object(object)?,
            Err(DeviceError::NoKey) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl KeyManager for Pkcs11Keys {
    fn name(&self) -> &'static str {
        NAME
    }

    fn generate(&self, kind: KeyKind) -> Result<(KeyRecord, Arc<dyn Signer>), KeyManagerError> {
        let mut id = vec![0; ID];
        let random = SystemRandom::new().fill(&mut id);
        random.map_err(|_| KeyManagerError::Generate { kind })?;
        let public = self.make(kind, &id).map_err(|error| refused(kind, error))?;
        let record = KeyRecord::new(NAME, kind, &public, id.clone())?;
        let signer = DeviceKey::find(Arc::clone(&self.device), id, kind, &public);
        Ok((record, Arc::new(signer.map_err(unreachable)?)))
    }

    fn import(&self, _: &[u8]) -> Result<(KeyRecord, Arc<dyn Signer>), KeyManagerError> {
        Err(KeyManagerError::Import { manager: NAME })
    }

    fn open(&self, record: &KeyRecord) -> Result<Arc<dyn Signer>, KeyManagerError> {
        let (device, id) = (Arc::clone(&self.device), record.body().to_vec());
        let signer = DeviceKey::find(device, id, record.kind(), record.public_key());
        match signer {
            Ok(signer) => Ok(Arc::new(signer)),
            Err(error @ (DeviceError::NoKey | DeviceError::OtherKey)) => {
                Err(KeyManagerError::Gone(error.to_string()))
            }
            Err(error) => Err(unreachable(error)),
        }
    }

    fn forget(&self, record: &KeyRecord) -> Result<(), KeyManagerError> {
        let gone = self.device.with(|session, _| {
            match public(session, record.body(), record.kind()) {
                // Whoever wrote another ID into the registry destroys nothing of others.
                Ok(found) if found != record.public_key() => Err(DeviceError::OtherKey),
                Ok(_) | Err(DeviceError::NoKey) => destroy(session, record.body()),
                Err(error) => Err(error),
            }
        });
        gone.inspect_err(|error| warn!(%error, "a key could not be destroyed in the token"))
            .map_err(unreachable)
    }
}

fn refused(kind: KeyKind, error: DeviceError) -> KeyManagerError {
    if let DeviceError::Refused(reason) = error {
        return KeyManagerError::Kind {
            manager: NAME,
            kind,
            reason,
        };
    }
    unreachable(error)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn unreachable(error: DeviceError) -> KeyManagerError {
    KeyManagerError::Unreachable(error.to_string())
}
