//! Secrets in files: of their owner alone, short, and read once.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// Longest secret that is read.
const MAX_BYTES: usize = 4096;

/// A file with a secret in it. It is read when it is needed; this is only its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile {
    path: PathBuf,
    /// Permission bits that it must not have.
    refused: u32,
}

/// Why a secret was not read.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file system refused.
    #[error("{} cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Others can read or change it.
    #[error("{} is open to others (mode {mode:04o}): chmod it to 0600, and take what it held as known to them", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to uid {owner}, neither to root nor to the user that reads it", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// A directory, a device.
    #[error("{} is no plain file", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// Nothing in it, or far too much.
    #[error("{} has no secret in it, or more than {MAX_BYTES} bytes", path.display())]
    Size {
        /// The file.
        path: PathBuf,
    },
}

impl SecretFile {
    /// A file that nobody but its owner may read or write.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            refused: 0o077,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
        let path = || self.path.clone();
        let io = |source| SecretFileError::Io { path: path(), source };
        // A pipe with nobody at its other end must not stop us.
        let flags =
            i32::try_from(OFlags::NONBLOCK.bits()).map_err(|_| io(io::ErrorKind::Unsupported.into()))?;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(&self.path)
            .map_err(io)?;
        self.check(&file)?;
        let mut secret = Zeroizing::new(vec![0; MAX_BYTES + 1]);
        let mut length = 0;
        let mut file = file;
        while let Some(room) = secret.get_mut(length..).filter(|room| !room.is_empty()) {
            match file.read(room).map_err(io)? {
                0 => break,
                read => length += read,
            }
        }
        if length == 0 || length > MAX_BYTES {
            return Err(SecretFileError::Size { path: path() });
        }
        secret.truncate(length);
        Ok(secret)
    }

    fn check(&self, file: &File) -> Result<(), SecretFileError> {
        let path = || self.path.clone();
        let metadata = file
            .metadata()
            .map_err(|source| SecretFileError::Io { path: path(), source })?;
        if !metadata.is_file() {
            return Err(SecretFileError::Kind { path: path() });
        }
        let owner = metadata.uid();
        if owner != 0 && owner != rustix::process::geteuid().as_raw() {
            return Err(SecretFileError::Owner { path: path(), owner });
        }
        let mode = metadata.mode() & 0o7777;
        if mode & self.refused != 0 {
            return Err(SecretFileError::Mode { path: path(), mode });
        }
        Ok(())
    }
}

/// The file of a credential that systemd handed to this service (`LoadCredential=`, `LoadCredentialEncrypted=`), if it did, in the
/// directory that `$CREDENTIALS_DIRECTORY` names. systemd gives a service of another user access by a list, which shows as the
/// group's permission to read.
pub fn credential(directory: Option<&Path>, name: &str) -> Option<SecretFile> {
    let path = directory?.join(name);
    path.exists().then_some(SecretFile { path, refused: 0o037 })
}
