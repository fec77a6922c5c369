use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use signet_tpm::Public;

use crate::error::DevidError;

/// Largest file that is read, bytes.
const MAX_FILE: u64 = 128 * 1024;

/// A key as its TPM wraps it: of no use to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyBlob {
    /// For the TPM alone.
    pub private: Vec<u8>,
    /// What it is.
    pub public: Public,
}

/// Where a node's device identity lies: the wrapped keys, the request for its certificate, and the certificates.
#[derive(Debug, Clone)]
pub struct Directory(PathBuf);

impl Directory {
    /// What lies in there is read when it is needed.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The device identity's certificate, PEM, leaf first: what the owner's authority made of the request.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.0.join("devid.pem")
    }

    /// The request for it.
    #[must_use]
    pub fn request(&self) -> PathBuf {
        self.0.join("devid.csr")
    }

    /// The TPM's endorsement certificate, where the TPM itself has none, or intermediates belong to it; PEM, leaf first.
    #[must_use]
    pub fn endorsement(&self) -> PathBuf {
        self.0.join("ek.pem")
    }

    /// The device identity.
    pub fn device_identity(&self) -> Result<KeyBlob, DevidError> {
        self.key("devid")
    }

    /// The attestation key.
    pub fn attestation_key(&self) -> Result<KeyBlob, DevidError> {
        self.key("ak")
    }

    fn key(&self, name: &str) -> Result<KeyBlob, DevidError> {
        let path = self.0.join(format!("{name}.pub"));
        let public = Public::parse(&read(&path)?).map_err(|_| DevidError::Content {
            path,
            why: "it is no public area of a TPM's key",
        })?;
        let private = read(&self.0.join(format!("{name}.priv")))?;
        Ok(KeyBlob { private, public })
    }

    /// Certificates of a file, leaf first.
    pub fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, DevidError> {
        let wrong = |why| DevidError::Content {
            path: path.to_owned(),
            why,
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
            .collect::<Result<_, _>>()
            .map_err(|_| wrong("it is damaged PEM"))?;
        if chain.is_empty() {
            return Err(wrong("there is no certificate in it"));
        }
        Ok(chain)
    }

    /// Makes the directory, which only its owner may enter, and writes keys and request into it. An identity that is there is not
    /// written over.
    pub(crate) fn save(
        &self,
        device_identity: &KeyBlob,
        attestation_key: &KeyBlob,
        request: &str,
    ) -> Result<(), DevidError> {
        self.vacant()?;
        let failed = |source| DevidError::File {
            what: "make",
            path: self.0.clone(),
            source,
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.0).map_err(failed)?;
        for (name, key) in [("ak", attestation_key), ("devid", device_identity)] {
            write(&self.0.join(format!("{name}.priv")), &key.private)?;
            write(&self.0.join(format!("{name}.pub")), key.public.as_bytes())?;
        }
        write(&self.request(), request.as_bytes())
    }

    /// No identity is there.
    pub(crate) fn vacant(&self) -> Result<(), DevidError> {
        for name in ["devid.priv", "devid.pub", "ak.priv", "ak.pub"] {
            let path = self.0.join(name);
            if fs::symlink_metadata(&path).is_ok() {
                return Err(DevidError::Content {
                    path,
                    why: "there is a device identity already; take it away, or name another directory",
                });
            }
        }
        Ok(())
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DevidError> {
    let failed = |source| DevidError::File {
        what: "read",
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), DevidError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|source| DevidError::File {
            what: "write",
            path: path.to_owned(),
            source,
        })
}
