//! The node's key and SVID on disk, so that a restarted agent needs no new token.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustls_pki_types::pem;
use signet_tls::SvidKeyPair;
use zeroize::Zeroizing;

use super::pem::{decode, encode};
use crate::replace::{Lasting, replace};

/// Name of the file in the data directory.
const NAME: &str = "node-svid.pem";

/// Why the state cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refused.
    #[error("failed to {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others can read the key.
    #[error("{path} can be read by others; make its mode 0600, or delete it and use a new join token")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// Not what this agent wrote.
    #[error("{path} is damaged; delete it and use a new join token")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: pem::Error,
    },
}

/// The file with the node's key and SVID: mode 0600 in a directory of mode 0700, replaced as a whole.
#[derive(Debug)]
pub struct StateFile {
    directory: PathBuf,
}

impl StateFile {
    /// Makes the directory where it is missing.
    pub fn new(directory: &Path) -> Result<Self, StateError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| StateError::Io {
                action: "create",
                path: directory.to_owned(),
                source,
            })?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// What was saved last; nothing before the first time.
    pub fn load(&self) -> Result<Option<SvidKeyPair>, StateError> {
        let path = self.directory.join(NAME);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(StateError::Io {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(StateError::Exposed { path });
        }
        match fs::read(&path).map(Zeroizing::new) {
            Ok(text) => match decode(&text) {
                Ok(pair) => Ok(Some(pair)),
                Err(source) => Err(StateError::Damaged { path, source }),
            },
            Err(source) => Err(StateError::Io {
                action: "read",
                path,
                source,
            }),
        }
    }

    /// Saves; a crash leaves either the old or the new state.
    pub fn save(&self, pair: &SvidKeyPair) -> Result<(), StateError> {
        let path = self.directory.join(NAME);
        let text = encode(pair);
        replace(&path, &[text.as_bytes()], Lasting::Disk).map_err(|source| StateError::Io {
            action: "write",
            path: path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;

    use super::*;
    use crate::ca::csr::new_request;

    #[test]
    fn what_is_saved_is_loaded_and_only_by_its_owner() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateFile::new(&directory.path().join("agent")).expect("made");
        assert!(state.load().expect("loads").is_none());
        for byte in [1, 2] {
            let pair = new_request()
                .expect("a key")
                .with_chain(vec![CertificateDer::from(vec![byte; 9])]);
            state.save(&pair).expect("saves");
            assert_eq!(state.load().expect("loads").expect("is there").chain, pair.chain);
        }
        let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode(&directory.path().join("agent")), 0o700);
        let file = directory.path().join("agent").join(NAME);
        assert_eq!(mode(&file), 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("set");
        assert!(matches!(state.load(), Err(StateError::Exposed { .. })));
    }

    #[test]
    fn a_damaged_file_is_named_and_not_used() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateFile::new(directory.path()).expect("made");
        let file = directory.path().join(NAME);
        fs::write(&file, "nothing").expect("writes");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
        assert!(matches!(state.load(), Err(StateError::Damaged { .. })));
    }
}
