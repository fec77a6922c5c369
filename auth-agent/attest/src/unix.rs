//! What the kernel says of a process: user, groups, program, and the programs above it.

use std::io;

use rustix::io::Errno;

use crate::ancestors;
use crate::attestor::AttestError;
use crate::executable::Executable;
use crate::hash_cache::HashCache;
use crate::proc::{self, Credentials};
use crate::way::{Known, WorkloadAttestor};
use crate::{Process, Selector};

/// Longest executable that is hashed, bytes.
const EXECUTABLE_LIMIT: u64 = 512 * 1024 * 1024;

/// Gives `unix:` selectors; keeps digests of executables.
#[derive(Debug)]
pub struct Unix {
    hashes: HashCache,
    executable_limit: u64,
}

impl Default for Unix {
    fn default() -> Self {
        Self::with_executable_limit(EXECUTABLE_LIMIT)
    }
}

impl Unix {
    /// Executables longer than `limit` bytes get no `unix:sha256` selector. The default is 512 MiB.
    pub fn with_executable_limit(limit: u64) -> Self {
        Self {
            hashes: HashCache::default(),
            executable_limit: limit,
        }
    }
}

impl WorkloadAttestor for Unix {
    fn attest(&self, process: &Process) -> Result<Known, AttestError> {
        let (path, sha256) = match Executable::open(process.pid) {
            // It may be another's.
            Ok(_) if !process.is_exact => (None, None),
            Ok(executable) => {
                let path = executable.path(process.pid).map_err(AttestError::Proc)?;
                (
                    path,
                    executable
                        .sha256(self.executable_limit, &self.hashes)
                        .map_err(AttestError::Proc)?,
                )
            }
            Err(error) if is_denied(&error) => (None, None),
            Err(error) => return Err(AttestError::Proc(error)),
        };
        let ancestors = if process.is_exact {
            ancestors::paths(process.pid)
        } else {
            Vec::new()
        };
        // Last, so that the executable above cannot be that of a set-user-ID program it has turned into meanwhile.
        let Credentials { uid, gid, groups } = proc::credentials(process.pid).map_err(AttestError::Proc)?;
        if (uid, gid) != (process.uid, process.gid) {
            return Err(AttestError::CredentialsChanged);
        }
        let groups = if process.is_exact { groups } else { Vec::new() };
        let one = [Selector::UnixUid(uid), Selector::UnixGid(gid)].into_iter();
        Ok(Known::all(
            one.chain(path.map(Selector::UnixPath))
                .chain(sha256.map(Selector::UnixSha256))
                .chain(groups.into_iter().map(Selector::UnixSupplementaryGid))
                .chain(ancestors.into_iter().map(Selector::UnixParentPath)),
        ))
    }
}

/// A file system that root may not read (FUSE, NFS with root squash): the selectors are withheld, the others stand.
fn is_denied(error: &io::Error) -> bool {
    [Errno::ACCESS, Errno::PERM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
