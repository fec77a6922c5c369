use std::io;

use rustix::io::Errno;

use crate::executable::Executable;
use crate::hash_cache::HashCache;
use crate::proc::{self, Credentials};
use crate::{EndpointTable, Facts, Process, Selectors};
use crate::{ancestors, cgroup};

/// Longest executable that is hashed, bytes.
const EXECUTABLE_LIMIT: u64 = 512 * 1024 * 1024;

/// Reads facts about processes. Shared by all; keeps digests of executables.
#[derive(Debug)]
pub struct Attestor {
    hashes: HashCache,
    executable_limit: u64,
}

/// Why a process is not attested.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// It ended before all was read, so that what was read may be another's.
    #[error("the process ended while it was attested")]
    Ended,
    /// It is not who it was when it connected.
    #[error("the process has changed its user or group since it connected; connect again")]
    CredentialsChanged,
    /// `/proc` does not tell.
    #[error("cannot read what /proc says of the process")]
    Proc(#[source] io::Error),
}

impl Default for Attestor {
    fn default() -> Self {
        Self::with_executable_limit(EXECUTABLE_LIMIT)
    }
}

impl Attestor {
    /// Executables longer than `limit` bytes get no `unix:sha256` selector. The default is 512 MiB.
    pub fn with_executable_limit(limit: u64) -> Self {
        Self {
            hashes: HashCache::default(),
            executable_limit: limit,
        }
    }

    /// Reads the facts and makes selectors of them. Blocks: reads the whole executable the first time it is seen.
    ///
    /// # Errors
    /// See [`AttestError`]; none of them may end in an identity.
    pub fn attest(&self, process: &Process, endpoints: &EndpointTable) -> Result<Selectors, AttestError> {
        Ok(self.facts(process)?.selectors(endpoints))
    }

    /// Reads the facts. Blocks, like [`attest`](Self::attest).
    ///
    /// # Errors
    /// See [`AttestError`].
    pub fn facts(&self, process: &Process) -> Result<Facts, AttestError> {
        let facts = self.read(process);
        // The PID named this process at every read above if it is alive now: a PID is free only after its process.
        if process.is_alive().map_err(AttestError::Proc)? {
            facts
        } else {
            Err(AttestError::Ended)
        }
    }

    fn read(&self, process: &Process) -> Result<Facts, AttestError> {
        let (path, sha256) = match Executable::open(process.pid) {
            // It may be another's, like the namespace below.
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
        let netns = proc::netns(process.pid).map_err(AttestError::Proc)?;
        // Whose they are is known by the pidfd alone.
        let (ancestors, cgroup) = if process.is_exact {
            let cgroup = cgroup::cgroup(process.pid).map_err(AttestError::Proc)?;
            (ancestors::paths(process.pid), cgroup)
        } else {
            (Vec::new(), None)
        };
        // Last, so that the executable above cannot be that of a set-user-ID program it has turned into meanwhile.
        let Credentials { uid, gid, groups } = proc::credentials(process.pid).map_err(AttestError::Proc)?;
        if (uid, gid) != (process.uid, process.gid) {
            return Err(AttestError::CredentialsChanged);
        }
        Ok(Facts {
            uid: process.uid,
            gid: process.gid,
            path,
            sha256,
            groups: if process.is_exact { groups } else { Vec::new() },
            ancestors,
            cgroup,
            netns: netns.filter(|_| process.is_exact),
        })
    }
}

/// A file system that root may not read (FUSE, NFS with root squash): the selectors are withheld, the others stand.
fn is_denied(error: &io::Error) -> bool {
    [Errno::ACCESS, Errno::PERM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
