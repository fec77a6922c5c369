use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use rustls_pki_types::CertificateDer;
use signet_tpm::{handle, template};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::directory::Directory;
use crate::error::DevidError;
use crate::tpm::{Loaded, Tpm};

/// The certificate of a TPM's endorsement key, which its maker has put there.
#[derive(Debug, Clone)]
pub struct EndorsementCertificate {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    spki: Vec<u8>,
    template: Vec<u8>,
}

impl EndorsementCertificate {
    /// The one in a file, or else the TPM's own: of the P-256 key, which is fast, before the RSA one.
    pub fn find(tpm: &mut Tpm, directory: &Directory) -> Result<Self, DevidError> {
        let file = directory.endorsement();
        if file.exists() {
            return Self::new(Directory::chain(&file)?);
        }
        for index in [handle::EK_CERTIFICATE_P256, handle::EK_CERTIFICATE_RSA_2048] {
            if let Some(bytes) = tpm.read_nv(index)?
                && let Ok((padding, _)) = X509Certificate::from_der(&bytes)
            {
                let certificate = bytes[..bytes.len() - padding.len()].to_vec();
                return Self::new(vec![certificate.into()]);
            }
        }
        Err(DevidError::NoEndorsement(file))
    }

    fn new(chain: Vec<CertificateDer<'static>>) -> Result<Self, DevidError> {
        let leaf = chain.first().ok_or(DevidError::EndorsementKind)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| DevidError::EndorsementKind)?;
        let spki = parsed.public_key().raw.to_vec();
        let key = parsed
            .public_key()
            .parsed()
            .map_err(|_| DevidError::EndorsementKind)?;
        let template = if let PublicKey::RSA(key) = key
            && key.key_size() == 2048
        {
            template::endorsement_rsa()
        } else if let Ok(PublicKey::EC(point)) = parsed.public_key().parsed()
            && point.key_size() == 256
        {
            template::endorsement_p256()
        } else {
            return Err(DevidError::EndorsementKind);
        };
        Ok(Self {
            chain,
            spki,
            template,
        })
    }

    /// SHA-256 of its public key, in hexadecimal digits: `ek-sha256` of a node entry.
    #[must_use]
    pub fn sha256(&self) -> String {
        HEXLOWER.encode(digest(&SHA256, &self.spki).as_ref())
    }

    /// Makes its key, which is the same each time.
    pub fn key(&self, tpm: &mut Tpm) -> Result<Loaded, DevidError> {
        let key = tpm.endorsement(&self.template)?;
        if key.public.key().to_spki() == self.spki {
            Ok(key)
        } else {
            Err(DevidError::OtherEndorsement)
        }
    }
}
