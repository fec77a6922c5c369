use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use signet_tpm::{Attributes, Certification, Malformed, Name, Public, PublicKey, Scheme, Signature};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::credential::{Credential, SealError, seal};
use super::endorsement::EndorsementKey;
use crate::{DeviceCertificate, ProvenKey, SignatureError, Transcript};

/// What every key of these has to be: made in the TPM, and never to leave it.
const RESIDENT: Attributes = Attributes::all([
    Attributes::FIXED_TPM,
    Attributes::FIXED_PARENT,
    Attributes::SENSITIVE_DATA_ORIGIN,
    Attributes::SIGN,
]);

/// What a TPM says of a device identity.
#[derive(Debug, Clone, Copy)]
pub struct Residency<'a> {
    /// `TPMT_PUBLIC` of the device identity.
    pub devid: &'a [u8],
    /// `TPMT_PUBLIC` of the attestation key.
    pub attestation_key: &'a [u8],
    /// `TPMS_ATTEST` of `TPM2_Certify` of the one by the other.
    pub certification: &'a [u8],
    /// `TPMT_SIGNATURE` of it.
    pub signature: &'a [u8],
}

/// Why that does not show that the key is in a TPM. Whoever says it is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResidencyError {
    /// A structure that is none.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// Which one.
        what: &'static str,
        /// Where.
        why: Malformed,
    },
    /// The certificate is about another key.
    #[error("the certificate is not of the DevID key that the TPM has")]
    OtherKey,
    /// It may have been made elsewhere, or leave the TPM.
    #[error(
        "{what} is not a signing key that was made in its TPM and cannot leave it (fixedTPM, fixedParent, sensitiveDataOrigin, sign)"
    )]
    NotResident {
        /// Which key.
        what: &'static str,
    },
    /// It decrypts, too, or a device identity signs only what the TPM says.
    #[error("the DevID key is not for signing alone")]
    DevidUse,
    /// It signs whatever it is given: anybody can make a statement with it.
    #[error(
        "the attestation key is not restricted to what its TPM says, in a fixed scheme (restricted, ECDSA or RSASSA with SHA-256)"
    )]
    NotRestricted,
    /// Not of the attestation key.
    #[error("the statement about the DevID key is not signed by the attestation key")]
    Signature,
    /// The statement is about another key.
    #[error("the attestation key's statement is about another key")]
    OtherName,
}

impl DeviceCertificate {
    /// Checks that the certificate's key is in the TPM of an attestation key. Whether that one is in the TPM of `endorsement`
    /// shows only when it answers.
    pub fn in_tpm(
        self,
        said: &Residency<'_>,
        endorsement: EndorsementKey,
    ) -> Result<ResidentCertificate, ResidencyError> {
        let malformed = |what| move |why| ResidencyError::Malformed { what, why };
        let devid = Public::parse(said.devid).map_err(malformed("the DevID key's public area"))?;
        let signer =
            Public::parse(said.attestation_key).map_err(malformed("the attestation key's public area"))?;
        check_devid(&devid, &self)?;
        check_signature(&signer, said)?;
        let statement =
            Certification::parse(said.certification).map_err(malformed("the attestation key's statement"))?;
        if statement.name != devid.name().as_bytes() {
            return Err(ResidencyError::OtherName);
        }
        Ok(ResidentCertificate {
            certificate: self.with_fact(endorsement.selector()),
            attestation_key: signer.name(),
            endorsement,
        })
    }
}

fn check_devid(devid: &Public, certificate: &DeviceCertificate) -> Result<(), ResidencyError> {
    let what = "the DevID key";
    if !devid.attributes().contains(RESIDENT) {
        return Err(ResidencyError::NotResident { what });
    }
    let no_use = Attributes::all([Attributes::DECRYPT, Attributes::RESTRICTED]);
    if devid.attributes().meets(no_use) {
        return Err(ResidencyError::DevidUse);
    }
    let (_, parsed) = X509Certificate::from_der(certificate.der()).map_err(|_| ResidencyError::OtherKey)?;
    if parsed.public_key().raw == devid.key().to_spki() {
        Ok(())
    } else {
        Err(ResidencyError::OtherKey)
    }
}

fn check_signature(signer: &Public, said: &Residency<'_>) -> Result<(), ResidencyError> {
    let what = "the attestation key";
    if !signer.attributes().contains(RESIDENT) {
        return Err(ResidencyError::NotResident { what });
    }
    if !signer.attributes().contains(Attributes::RESTRICTED) || signer.attributes().meets(Attributes::DECRYPT)
    {
        return Err(ResidencyError::NotRestricted);
    }
    let signature = Signature::parse(said.signature).map_err(|why| ResidencyError::Malformed {
        what: "the signature of the attestation key's statement",
        why,
    })?;
    let (algorithm, bytes): (&'static dyn VerificationAlgorithm, _) =
        match (signer.key(), signer.scheme(), signature) {
            (PublicKey::P256 { .. }, Scheme::Ecdsa, Signature::Ecdsa { r, s }) => {
                (&ECDSA_P256_SHA256_FIXED, [r, s].concat())
            }
            (PublicKey::Rsa { .. }, Scheme::RsaSsa, Signature::RsaSsa(bytes)) => {
                (&RSA_PKCS1_2048_8192_SHA256, bytes)
            }
            (
                PublicKey::P256 { .. } | PublicKey::Rsa { .. },
                Scheme::Ecdsa | Scheme::RsaSsa,
                Signature::Ecdsa { .. } | Signature::RsaSsa(_),
            ) => return Err(ResidencyError::Signature),
            (_, Scheme::Any | Scheme::RsaPss, _) => return Err(ResidencyError::NotRestricted),
        };
    UnparsedPublicKey::new(algorithm, signer.key().to_raw())
        .verify(said.certification, &bytes)
        .map_err(|_| ResidencyError::Signature)
}

/// A certificate that is believed, whose key is in a TPM if the attestation key is in the one of the endorsement key.
#[derive(Debug)]
#[must_use = "only what the TPM answers proves it"]
pub struct ResidentCertificate {
    certificate: DeviceCertificate,
    attestation_key: Name,
    endorsement: EndorsementKey,
}

impl ResidentCertificate {
    /// What the certificate says, and which TPM it is.
    pub fn certificate(&self) -> &DeviceCertificate {
        &self.certificate
    }

    /// Seals a secret that only the TPM of both keys can open. Secret and randomness are of this exchange alone.
    pub fn seal(&self, secret: &[u8; 32], randomness: &[u8; 32]) -> Result<Credential, SealError> {
        seal(&self.endorsement.key, &self.attestation_key, secret, randomness)
    }

    /// Checks the `DevID` key's signature over `transcript`, in which the secret stands that was sealed: whoever can make it has
    /// opened that, and has the key.
    pub fn verify(
        self,
        transcript: &Transcript<'_>,
        scheme: u16,
        signature: &[u8],
    ) -> Result<ProvenKey, SignatureError> {
        self.certificate.verify(transcript, scheme, signature)
    }
}
