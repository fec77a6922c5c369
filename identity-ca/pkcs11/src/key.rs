//! A key in the token.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use signet_keys::{KeyKind, SignError, Signer, der_signature};

use crate::device::Device;
use crate::error::DeviceError;
use crate::spki;

/// Signs by calls to the token. `Debug` shows the key's kind and ID.
pub(crate) struct DeviceKey {
    device: Arc<Device>,
    id: Vec<u8>,
    kind: KeyKind,
    public_key: Vec<u8>,
    /// The private key's handle, and of which opening of the token.
    handle: Mutex<Option<(u64, ObjectHandle)>>,
}

impl DeviceKey {
    /// The key of this ID, after checking that the token has it and that it is the one with this public half.
    pub(crate) fn find(
        device: Arc<Device>,
        id: Vec<u8>,
        kind: KeyKind,
        public_key: &[u8],
    ) -> Result<Self, DeviceError> {
        let found = device.with(|session, _| {
            private(session, &id)?;
            public(session, &id, kind)
        })?;
        if found != public_key {
            return Err(DeviceError::OtherKey);
        }
        Ok(Self {
            device,
            id,
            kind,
            public_key: found,
            handle: Mutex::new(None),
        })
    }

    fn handle(&self, session: &Session, generation: u64) -> Result<ObjectHandle, DeviceError> {
        let mut known = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, handle)) = *known
            && of == generation
        {
            return Ok(handle);
        }
        let handle = private(session, &self.id)?;
        *known = Some((generation, handle));
        Ok(handle)
    }

    fn forget_handle(&self) {
        *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, DeviceError> {
        let signed = self.device.with(|session, generation| {
            let handle = self.handle(session, generation)?;
            let signed = match self.kind {
                KeyKind::P256 => session.sign(&Mechanism::Ecdsa, handle, digest(&SHA256, message).as_ref()),
                KeyKind::P384 => session.sign(&Mechanism::Ecdsa, handle, digest(&SHA384, message).as_ref()),
                KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
                    session.sign(&Mechanism::Sha256RsaPkcs, handle, message)
                }
                KeyKind::Ed25519 => return Err(DeviceError::Refused("Ed25519 is not used here".to_owned())),
            };
            signed.map_err(|error| {
                self.forget_handle();
                error.into()
            })
        })?;
        if self.kind.is_ecdsa() {
            let refused = || DeviceError::Refused("it gave no ECDSA signature".to_owned());
            return der_signature(&signed).ok_or_else(refused);
        }
        Ok(signed)
    }
}

impl Signer for DeviceKey {
    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn kind(&self) -> KeyKind {
        self.kind
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.signature(message)?)
    }

    fn is_remote(&self) -> bool {
        true
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({}, {:02x?})", self.kind, self.id)
    }
}

/// The private key of an ID.
pub(crate) fn private(session: &Session, id: &[u8]) -> Result<ObjectHandle, DeviceError> {
    one(session, ObjectClass::PRIVATE_KEY, id)
}

/// The one object of a class and an ID.
pub(crate) fn one(session: &Session, class: ObjectClass, id: &[u8]) -> Result<ObjectHandle, DeviceError> {
    let template = [
        Attribute::Token(true),
        Attribute::Class(class),
        Attribute::Id(id.to_vec()),
    ];
    match session.find_objects(&template)?.as_slice() {
        [one] => Ok(*one),
        [] => Err(DeviceError::NoKey),
        [..] => Err(DeviceError::OtherKey),
    }
}

/// The public half of an ID, as certificates have it.
pub(crate) fn public(session: &Session, id: &[u8], kind: KeyKind) -> Result<Vec<u8>, DeviceError> {
    let handle = one(session, ObjectClass::PUBLIC_KEY, id)?;
    let wanted = match kind {
        KeyKind::P256 | KeyKind::P384 => vec![AttributeType::EcPoint],
        KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
            vec![AttributeType::Modulus, AttributeType::PublicExponent]
        }
        KeyKind::Ed25519 => return Err(DeviceError::OtherKey),
    };
    let found = session.get_attributes(handle, &wanted)?;
    let key = match found.as_slice() {
        [Attribute::EcPoint(point)] => spki::of_point(kind, point),
        [Attribute::Modulus(modulus), Attribute::PublicExponent(exponent)] => {
            spki::of_rsa(kind, modulus, exponent)
        }
        _ => None,
    };
    key.ok_or(DeviceError::OtherKey)
}
