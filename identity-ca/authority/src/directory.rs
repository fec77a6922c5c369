//! The CA's data directory: who may read it, who has it open, and the secrets in it.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

const LOCK: &str = "lock";
const AUTHORITY: &str = "authority.pem";

const JWT_KEY: &str = "jwt-key.pem";

/// A file is a key and perhaps a certificate; anything much longer is something else.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// A directory that nobody else can read and no other CA has open. The lock lives as long as the value.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The file system refused.
    #[error("{} cannot be used: {source}", path.display())]
    Io {
        /// The directory or a file in it.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Others could read or change it.
    #[error(
        "{} is open to others (mode {mode:04o}): it must be 0700 for the directory and 0600 for files in it; look at \
         who could have read the key, then run chmod go-rwx on it", path.display()
    )]
    Mode {
        /// The directory or a file in it.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to another user.
    #[error("{} belongs to uid {owner}, the CA runs as uid {ours}", path.display())]
    Owner {
        /// The directory or a file in it.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Our effective user.
        ours: u32,
    },
    /// Not what it should be: a symbolic link, a device, a directory where a file belongs.
    #[error("{} is not a plain {wanted}", path.display())]
    Kind {
        /// The directory or a file in it.
        path: PathBuf,
        /// `file` or `directory`.
        wanted: &'static str,
    },
    /// Another CA has it open.
    #[error("another signet-ca is running on {}", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The authority file is damaged.
    #[error("{} does not hold one PEM private key and one certificate", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The JWT key's file is damaged.
    #[error("{} does not hold a PEM private key", path.display())]
    DamagedKey {
        /// The file.
        path: PathBuf,
    },
}

/// What an earlier version kept in `authority.pem`.
pub struct EarlierAuthority {
    /// The key: PKCS #8, DER.
    pub pkcs8: Zeroizing<Vec<u8>>,
    /// Its self-signed certificate.
    pub root: CertificateDer<'static>,
}

/// Without the key.
impl fmt::Debug for EarlierAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EarlierAuthority(..)")
    }
}

impl DataDirectory {
    /// Opens a directory, made with mode 0700 where it is missing, and locks it.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let io = |source| DirectoryError::Io {
            path: path.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(io)?;
        let metadata = fs::symlink_metadata(path).map_err(io)?;
        if !metadata.is_dir() {
            return Err(DirectoryError::Kind {
                path: path.to_owned(),
                wanted: "directory",
            });
        }
        check_owner(path, &metadata)?;
        let lock_path = path.join(LOCK);
        let mut options = OpenOptions::new();
        let lock = open_private(&lock_path, options.read(true).write(true).create(true))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(DirectoryError::Locked {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(DirectoryError::Io {
                path: lock_path,
                source,
            }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes an empty file of mode 0600 unless it exists, and checks it if it does: for files that others then open by
    /// name, such as a database.
    pub fn private_file(&self, name: &str) -> Result<PathBuf, DirectoryError> {
        let path = self.path.join(name);
        open_private(&path, OpenOptions::new().read(true).append(true).create(true))?;
        Ok(path)
    }

    /// The key and the root certificate that an earlier version kept here, if it did.
    pub fn earlier_authority(&self) -> Result<Option<EarlierAuthority>, DirectoryError> {
        let Some(pem) = self.read_secret(AUTHORITY)? else {
            return Ok(None);
        };
        let damaged = || DirectoryError::Damaged {
            path: self.path.join(AUTHORITY),
        };
        let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| damaged())?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|_| damaged())?;
        let [root] = certificates.as_slice() else {
            return Err(damaged());
        };
        Ok(Some(EarlierAuthority {
            pkcs8: Zeroizing::new(key.secret_pkcs8_der().to_vec()),
            root: root.clone(),
        }))
    }

    /// The key for JWT-SVIDs that an earlier version kept here, if it did: PKCS #8, DER.
    pub fn earlier_jwt_key(&self) -> Result<Option<Zeroizing<Vec<u8>>>, DirectoryError> {
        let Some(pem) = self.read_secret(JWT_KEY)? else {
            return Ok(None);
        };
        let damaged = |_| DirectoryError::DamagedKey {
            path: self.path.join(JWT_KEY),
        };
        let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(damaged)?;
        Ok(Some(Zeroizing::new(key.secret_pkcs8_der().to_vec())))
    }

    /// A secret kept here under a name, if there is one.
    pub fn read_secret(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, DirectoryError> {
        read(&self.path, name)
    }

    /// Keeps a secret, for good or not at all: the file appears under its name once it is whole and on the disk.
    pub fn write_secret(&self, name: &str, secret: &[u8]) -> Result<(), DirectoryError> {
        write(&self.path, name, secret)
    }

    /// Gives a secret another name, whose own one it replaces.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), DirectoryError> {
        let path = self.path.join(from);
        let io = |source| DirectoryError::Io {
            path: path.clone(),
            source,
        };
        fs::rename(&path, self.path.join(to)).map_err(io)?;
        File::open(&self.path)
            .and_then(|directory| directory.sync_all())
            .map_err(io)
    }

    /// One file in it, to be written again and again by whoever knows that the directory is held meanwhile.
    pub fn file(&self, name: &'static str) -> PrivateFile {
        PrivateFile {
            directory: self.path.clone(),
            name,
        }
    }
}

/// A file of a data directory, replaced as a whole.
#[derive(Debug, Clone)]
pub struct PrivateFile {
    directory: PathBuf,
    name: &'static str,
}

impl PrivateFile {
    /// What is in it, if it is there.
    pub fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, DirectoryError> {
        read(&self.directory, self.name)
    }

    /// Writes it, for good or not at all.
    pub fn write(&self, bytes: &[u8]) -> Result<(), DirectoryError> {
        write(&self.directory, self.name, bytes)
    }
}

fn read(directory: &Path, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, DirectoryError> {
    let path = directory.join(name);
    let file = match open_private(&path, OpenOptions::new().read(true)) {
        Ok(file) => file,
        Err(DirectoryError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut secret = Zeroizing::new(Vec::new());
    file.take(MAX_SECRET_BYTES)
        .read_to_end(&mut secret)
        .map_err(|source| DirectoryError::Io { path, source })?;
    Ok(Some(secret))
}

fn write(directory: &Path, name: &str, secret: &[u8]) -> Result<(), DirectoryError> {
    let temporary = directory.join(format!("{name}.new"));
    let path = directory.join(name);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| DirectoryError::Io { path, source }
    };
    let mut file = open_private(
        &temporary,
        OpenOptions::new().write(true).create(true).truncate(true),
    )?;
    file.write_all(secret)
        .and_then(|()| file.sync_all())
        .map_err(io(&temporary))?;
    fs::rename(&temporary, &path).map_err(io(&path))?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(io(directory))
}

/// Opens a file without following links, of mode 0600 where it is made, and refuses one that others can open.
fn open_private(path: &Path, options: &mut OpenOptions) -> Result<File, DirectoryError> {
    let io = |source| DirectoryError::Io {
        path: path.to_owned(),
        source,
    };
    let no_follow =
        i32::try_from(OFlags::NOFOLLOW.bits()).map_err(|_| io(io::ErrorKind::Unsupported.into()))?;
    let file = options
        .mode(0o600)
        .custom_flags(no_follow)
        .open(path)
        .map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(DirectoryError::Kind {
            path: path.to_owned(),
            wanted: "file",
        });
    }
    check_owner(path, &metadata)?;
    Ok(file)
}

fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), DirectoryError> {
    let ours = rustix::process::geteuid().as_raw();
    if metadata.uid() != ours {
        return Err(DirectoryError::Owner {
            path: path.to_owned(),
            owner: metadata.uid(),
            ours,
        });
    }
    let mode = Permissions::mode(&metadata.permissions()) & 0o7777;
    if mode & 0o077 != 0 {
        return Err(DirectoryError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}
