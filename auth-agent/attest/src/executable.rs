//! The running executable of a process: `/proc/PID/exe`.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use rustix::fs::{Mode, OFlags, fstat, fstatfs, open};
use rustix::process::Pid;

use crate::hash_cache::{FileVersion, HashCache};
use crate::proc;
use crate::{Sha256, UnixPath};

/// `FUSE_SUPER_MAGIC` of linux/magic.h. The kernel fills it in itself, whatever the file system's owner answers.
const FUSE: i64 = 0x6573_5546;
const BUFFER: usize = 64 * 1024;

/// The executable, opened through the kernel's own link: it is the running file, not what now lies at its path.
#[derive(Debug)]
pub(crate) struct Executable {
    file: File,
    version: FileVersion,
    fuse: bool,
    size: u64,
}

impl Executable {
    pub(crate) fn open(pid: Pid) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = File::from(open(proc::path(pid, "exe"), flags, Mode::empty())?);
        let stat = fstat(&file)?;
        Ok(Self {
            version: FileVersion::of(&stat),
            fuse: is_fuse(&file)?,
            size: stat.st_size.try_into().unwrap_or(u64::MAX),
            file,
        })
    }

    /// The path, if in our own mount namespace it leads to this file; nothing for a deleted or replaced one.
    pub(crate) fn path(&self, pid: Pid) -> io::Result<Option<UnixPath>> {
        let path = std::fs::read_link(proc::path(pid, "exe"))?;
        let Some(parsed) = path.to_str().and_then(|text| text.parse::<UnixPath>().ok()) else {
            return Ok(None);
        };
        Ok(self.is_at(Path::new(parsed.as_str()))?.then_some(parsed))
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        match rustix::fs::lstat(path) {
            Ok(stat) => Ok(FileVersion::of(&stat) == self.version),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::ACCESS) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The digest of the content; nothing for FUSE, for a file longer than `limit` bytes, and for one that changes
    /// while it is read.
    pub(crate) fn sha256(mut self, limit: u64, cache: &HashCache) -> io::Result<Option<Sha256>> {
        if self.fuse || self.size > limit {
            return Ok(None);
        }
        if let Some(digest) = cache.get(&self.version) {
            return Ok(Some(digest));
        }
        let Some(digest) = digest_of(&mut self.file, limit)? else {
            return Ok(None);
        };
        if FileVersion::of(&fstat(&self.file)?) != self.version {
            return Ok(None);
        }
        if self.version.is_settled(unix_now()) {
            cache.insert(self.version, digest);
        }
        Ok(Some(digest))
    }
}

#[expect(
    clippy::useless_conversion,
    reason = "the field's type differs between architectures"
)]
fn is_fuse(file: impl AsFd) -> io::Result<bool> {
    Ok(i64::from(fstatfs(file)?.f_type) == FUSE)
}

fn digest_of(file: &mut impl Read, limit: u64) -> io::Result<Option<Sha256>> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; BUFFER];
    let mut total: u64 = 0;
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        total = total.saturating_add(read as u64);
        if total > limit {
            return Ok(None);
        }
        context.update(buffer.get(..read).unwrap_or_default());
    }
    let digest = context.finish();
    Ok(digest.as_ref().try_into().ok().map(Sha256::new))
}

/// A clock that stands before 1970 settles nothing, so nothing is cached.
fn unix_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| since.as_secs().try_into().ok())
        .unwrap_or(i64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_sha_256_and_bounded() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest_of(&mut &b"abc"[..], 3).unwrap().unwrap().to_string(), abc);
        assert_eq!(digest_of(&mut &b"abc"[..], 2).unwrap(), None);
    }

    #[test]
    fn our_own_executable_has_its_path_and_a_digest() {
        let pid = rustix::process::getpid();
        let executable = Executable::open(pid).unwrap();
        let own = std::env::current_exe().unwrap();
        assert_eq!(
            executable.path(pid).unwrap().unwrap().as_str(),
            own.to_str().unwrap()
        );
        let expected = digest_of(&mut File::open(own).unwrap(), u64::MAX).unwrap();
        assert_eq!(
            executable.sha256(u64::MAX, &HashCache::default()).unwrap(),
            expected
        );
    }

    #[test]
    fn an_executable_over_the_limit_has_no_digest() {
        let executable = Executable::open(rustix::process::getpid()).unwrap();
        assert_eq!(executable.sha256(1000, &HashCache::default()).unwrap(), None);
    }
}
