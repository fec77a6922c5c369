use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use rustls_pki_types::{CertificateDer, UnixTime};
use signet_tpm::{Public, PublicKey};
use webpki::KeyUsage;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey as Parsed;

use crate::device::{DeviceAuthorities, check_bounds};
use crate::{AuthoritiesError, DeviceError, NodeSelector};

/// `tcg-kp-EKCertificate`, 2.23.133.8.1.
const EK_CERTIFICATE: KeyUsage = KeyUsage::required_if_present(&[0x67, 0x81, 0x05, 0x08, 0x01]);

/// Makers whose TPMs are believed.
#[derive(Debug)]
pub struct EndorsementAuthorities(DeviceAuthorities);

/// Why a TPM is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndorsementError {
    /// Its certificate is not what it should be.
    #[error("the TPM's endorsement certificate: {0}")]
    Certificate(#[from] DeviceError),
    /// Its key usage is another.
    #[error("the TPM's endorsement certificate is not for a key that decrypts")]
    KeyUsage,
    /// Neither RSA of 2,048 bits nor P-256.
    #[error("the TPM's endorsement key is neither RSA of 2048 bits nor P-256")]
    Key,
}

impl EndorsementAuthorities {
    /// As [`DeviceAuthorities::from_pem`].
    pub fn from_pem(text: &[u8]) -> Result<Self, AuthoritiesError> {
        DeviceAuthorities::from_pem(text).map(Self)
    }

    /// Checks the certificate of a TPM's endorsement key (TCG EK Credential Profile, 3.2), leaf first: bounds, the path, that
    /// it is for this if it says what it is for, and that it is nobody's authority. Revocation lists are not looked at.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<EndorsementKey, EndorsementError> {
        check_bounds(chain)?;
        let (leaf, intermediates) = chain.split_first().ok_or(DeviceError::None)?;
        let Ok(([], parsed)) = X509Certificate::from_der(leaf) else {
            return Err(DeviceError::Malformed.into());
        };
        if parsed.is_ca() {
            return Err(DeviceError::Authority.into());
        }
        let usage = parsed.key_usage().map_err(|_| DeviceError::Malformed)?;
        if usage.is_some_and(|usage| !usage.value.key_encipherment() && !usage.value.key_agreement()) {
            return Err(EndorsementError::KeyUsage);
        }
        self.0.check_path(leaf, intermediates, EK_CERTIFICATE, now)?;
        let key = parsed.public_key().parsed().map_err(|_| EndorsementError::Key)?;
        Ok(EndorsementKey {
            key: key_of(&key).ok_or(EndorsementError::Key)?,
            spki: digest(&SHA256, parsed.public_key().raw).as_ref().to_vec(),
        })
    }
}

/// An endorsement key that a maker vouches for: it is in a TPM of theirs, and decrypts only what TPMs are asked to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndorsementKey {
    pub(super) key: PublicKey,
    spki: Vec<u8>,
}

impl EndorsementKey {
    /// Which TPM it is, for entries.
    pub(super) fn selector(&self) -> NodeSelector {
        NodeSelector::EndorsementKey(HEXLOWER.encode(&self.spki))
    }

    /// Without a certificate: for what a TPM says of itself, where nobody is to be convinced.
    #[must_use]
    pub fn unproven(public: &Public) -> Self {
        let spki = digest(&SHA256, &public.key().to_spki());
        Self {
            key: public.key().clone(),
            spki: spki.as_ref().to_vec(),
        }
    }
}

fn key_of(parsed: &Parsed<'_>) -> Option<PublicKey> {
    if let Parsed::RSA(key) = parsed {
        let zeros = key.modulus.iter().take_while(|byte| **byte == 0).count();
        let modulus = key.modulus[zeros..].to_vec();
        let exponent = u32::try_from(key.try_exponent().ok()?).ok()?;
        return (modulus.len() == 256 && modulus[0] & 0x80 != 0)
            .then_some(PublicKey::Rsa { modulus, exponent });
    }
    if let Parsed::EC(point) = parsed
        && let Some((4, numbers)) = point.data().split_first()
        && let ([x, y], []) = numbers.as_chunks::<32>()
    {
        return Some(PublicKey::P256 { x: *x, y: *y });
    }
    None
}
