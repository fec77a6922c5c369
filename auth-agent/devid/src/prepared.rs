use aws_lc_rs::digest::{SHA256, digest};
use signet_tpm::PublicKey;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::Address;
use crate::directory::Directory;
use crate::endorsement::EndorsementCertificate;
use crate::error::DevidError;
use crate::tpm::{Loaded, Passwords, Tpm};

/// TLS's `SignatureScheme` of what the two kinds of key make.
const ECDSA_P256_SHA256: u16 = 0x0403;
const RSA_PKCS1_SHA256: u16 = 0x0401;

/// What a node shows of its device identity.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The device identity's certificate, DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// `TPMT_PUBLIC` of the device identity.
    pub devid: Vec<u8>,
    /// `TPMT_PUBLIC` of the attestation key.
    pub attestation_key: Vec<u8>,
    /// `TPMS_ATTEST`.
    pub certification: Vec<u8>,
    /// `TPMT_SIGNATURE` of it.
    pub signature: Vec<u8>,
    /// The endorsement key's certificate, DER, leaf first.
    pub endorsement_chain: Vec<Vec<u8>>,
}

/// A TPM with all keys ready to answer: to make them can take it longer than a CA waits.
#[derive(Debug)]
pub struct Prepared {
    tpm: Tpm,
    shown: Shown,
    device_identity: Loaded,
    attestation_key: Loaded,
    endorsement: Loaded,
}

impl Prepared {
    /// Reads the files, loads the keys, and has the TPM say what there is to say.
    pub fn new(address: &Address, passwords: &Passwords, directory: &Directory) -> Result<Self, DevidError> {
        let path = directory.certificate();
        let chain = Directory::chain(&path)?;
        let (devid, ak) = (directory.device_identity()?, directory.attestation_key()?);
        let same = chain.first().is_some_and(|leaf| {
            X509Certificate::from_der(leaf)
                .is_ok_and(|(_, parsed)| parsed.public_key().raw == devid.public.key().to_spki())
        });
        if !same {
            let why = "the certificate is not of the key in devid.pub";
            return Err(DevidError::Content { path, why });
        }
        let mut tpm = Tpm::open(address, passwords)?;
        let certificate = EndorsementCertificate::find(&mut tpm, directory)?;
        let storage = tpm.storage()?;
        let device_identity = tpm.load(&storage, &devid, "the DevID key")?;
        let attestation_key = tpm.load(&storage, &ak, "the attestation key")?;
        tpm.forget(&storage)?;
        let (certification, signature) = tpm.certify(&device_identity, &attestation_key)?;
        let endorsement = certificate.key(&mut tpm)?;
        let der = |chain: &[rustls_pki_types::CertificateDer<'_>]| {
            chain.iter().map(|certificate| certificate.to_vec()).collect()
        };
        Ok(Self {
            shown: Shown {
                chain: der(&chain),
                devid: devid.public.as_bytes().to_vec(),
                attestation_key: ak.public.as_bytes().to_vec(),
                certification,
                signature,
                endorsement_chain: der(&certificate.chain),
            },
            tpm,
            device_identity,
            attestation_key,
            endorsement,
        })
    }

    /// What there is to show.
    #[must_use]
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// Opens what a CA has sealed for this TPM.
    pub fn open(&mut self, blob: &[u8], secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, DevidError> {
        self.tpm
            .activate(&self.attestation_key, &self.endorsement, blob, secret)
    }

    /// Signs with the device identity: TLS's scheme, and the signature as certificates have it.
    pub fn sign(&mut self, message: &[u8]) -> Result<(u16, Vec<u8>), DevidError> {
        let digest = digest(&SHA256, message);
        let signature = self.tpm.sign(&self.device_identity, digest.as_ref())?;
        let scheme = match self.device_identity.public.key() {
            PublicKey::P256 { .. } => ECDSA_P256_SHA256,
            PublicKey::Rsa { .. } => RSA_PKCS1_SHA256,
        };
        Ok((scheme, signature.to_x509()))
    }
}
