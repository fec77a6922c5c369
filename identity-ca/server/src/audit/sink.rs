//! Where the audit stream goes: a file that others may rename away, or standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Where the audit stream goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditLog {
    /// Standard output, for a service manager that keeps it.
    Stdout,
    /// Appended to a file, made with mode 0600 where it is missing.
    File(PathBuf),
}

impl std::str::FromStr for AuditLog {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("the audit log is a file's path, or - for standard output".to_owned()),
            "-" => Ok(Self::Stdout),
            path => Ok(Self::File(path.into())),
        }
    }
}

/// An open one.
#[derive(Debug)]
pub(crate) enum Sink {
    Stdout,
    File {
        path: PathBuf,
        /// `None` after a failure: it is opened anew.
        file: Option<File>,
    },
}

impl Sink {
    pub(crate) fn open(log: &AuditLog) -> io::Result<Self> {
        Ok(match log {
            AuditLog::Stdout => Self::Stdout,
            AuditLog::File(path) => Self::File {
                path: path.clone(),
                file: Some(open(path)?),
            },
        })
    }

    /// Goes on in a new file where the old one has been renamed or removed. Says whether it does.
    pub(crate) fn follow(&mut self) -> io::Result<bool> {
        let Self::File { path, file } = self else {
            return Ok(false);
        };
        let there = path.symlink_metadata().ok().map(|is| (is.dev(), is.ino()));
        let here = match file {
            Some(file) => file.metadata().ok().map(|is| (is.dev(), is.ino())),
            None => None,
        };
        if here.is_some() && here == there {
            return Ok(false);
        }
        *file = None;
        *file = Some(open(path)?);
        Ok(true)
    }

    /// All of it or nothing: what was written of it before a failure is taken back.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut to = io::stdout().lock();
                to.write_all(bytes)?;
                to.flush()
            }
            Self::File { file: None, .. } => Err(io::Error::other("it is not open")),
            Self::File { file: Some(file), .. } => {
                let length = file.metadata()?.len();
                file.write_all(bytes).inspect_err(|_| {
                    // Nothing to be done where this fails as well: the next line begins behind half a one.
                    let _ = file.set_len(length);
                })
            }
        }
    }

    /// Until it is on the disk. After a failure the file is opened anew: the kernel tells of lost pages once, and the next sync of this
    /// one would succeed without them.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout | Self::File { file: None, .. } => Ok(()),
            Self::File { file, .. } => {
                let synced = file.as_ref().map_or(Ok(()), File::sync_data);
                if synced.is_err() {
                    *file = None;
                }
                synced
            }
        }
    }
}

/// A link could lead anywhere, and a pipe or a device keeps nothing.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_renamed_is_followed_by_a_new_one_and_links_and_pipes_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let mut sink = Sink::open(&AuditLog::File(path.clone())).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        sink.append(b"one\n").unwrap();
        assert!(!sink.follow().unwrap());
        let old = directory.path().join("audit.log.1");
        std::fs::rename(&path, &old).unwrap();
        assert!(sink.follow().unwrap());
        sink.append(b"two\n").unwrap();
        sink.sync().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(sink.follow().unwrap());
        sink.append(b"three\n").unwrap();
        assert_eq!(std::fs::read(&old).unwrap(), b"one\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"three\n");
        // Somebody puts a link there: nothing is written through it.
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(sink.follow().is_err() && sink.append(b"x").is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(sink.follow().unwrap(), "and goes on once it is gone");
        assert!(Sink::open(&AuditLog::File("/dev/null".into())).is_err());
    }
}
