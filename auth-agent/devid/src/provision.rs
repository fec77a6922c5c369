use std::cell::RefCell;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData,
    SignatureAlgorithm, SigningKey,
};
use signet_tpm::template::{self, Kind};

use crate::Address;
use crate::directory::Directory;
use crate::endorsement::EndorsementCertificate;
use crate::error::DevidError;
use crate::tpm::{Loaded, Passwords, Tpm};

/// What a device identity is to be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its key.
    pub kind: Kind,
    /// Common name of the certificate that is asked for.
    pub common_name: String,
    /// DNS names of it.
    pub dns: Vec<String>,
}

/// A device identity that was made.
#[derive(Debug)]
pub struct Made {
    /// The request for its certificate, PEM.
    pub request: String,
    /// `ek-sha256` of this TPM, unless it has no endorsement certificate.
    pub endorsement: Result<String, DevidError>,
}

/// Makes a device identity and an attestation key in the TPM, and writes them and the request for the certificate to `directory`.
pub fn create(
    address: &Address,
    passwords: &Passwords,
    directory: &Directory,
    wanted: &Wanted,
) -> Result<Made, DevidError> {
    directory.vacant()?;
    let mut tpm = Tpm::open(address, passwords)?;
    let storage = tpm.storage()?;
    let devid = tpm.create(&storage, &template::device_identity(wanted.kind))?;
    let attestation_key = tpm.create(&storage, &template::attestation())?;
    let key = tpm.load(&storage, &devid, "the DevID key")?;
    tpm.forget(&storage)?;
    let request = request(&mut tpm, key, wanted)?;
    directory.save(&devid, &attestation_key, &request)?;
    let endorsement =
        EndorsementCertificate::find(&mut tpm, directory).map(|certificate| certificate.sha256());
    Ok(Made { request, endorsement })
}

fn request(tpm: &mut Tpm, key: Loaded, wanted: &Wanted) -> Result<String, DevidError> {
    let mut params = CertificateParams::new(wanted.dns.clone())?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, wanted.common_name.as_str());
    let signer = InTpm {
        public: key.public.key().to_raw(),
        kind: wanted.kind,
        tpm: RefCell::new((tpm, None)),
        key,
    };
    let request = params.serialize_request(&signer);
    // What the TPM said tells more.
    if let Some(error) = signer.tpm.into_inner().1 {
        return Err(error);
    }
    Ok(request?.pem()?)
}

/// A key that signs requests.
struct InTpm<'a> {
    tpm: RefCell<(&'a mut Tpm, Option<DevidError>)>,
    key: Loaded,
    kind: Kind,
    public: Vec<u8>,
}

impl PublicKeyData for InTpm<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.kind {
            Kind::P256 => &PKCS_ECDSA_P256_SHA256,
            Kind::Rsa2048 => &PKCS_RSA_SHA256,
        }
    }
}

impl SigningKey for InTpm<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut tpm = self.tpm.borrow_mut();
        match tpm.0.sign(&self.key, digest(&SHA256, message).as_ref()) {
            Ok(signature) => Ok(signature.to_x509()),
            Err(error) => {
                tpm.1 = Some(error);
                Err(rcgen::Error::RemoteKeyError)
            }
        }
    }
}
