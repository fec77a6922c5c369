//! Revocations on disk: a restarted agent knows them before it has heard from the CA.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use prost::Message as _;
use signet_proto::agent::v1::KeptRevocations;
use signet_spiffe::TrustDomain;

use super::revoked::RevocationTable;
use crate::replace::{Lasting, replace};

/// Name of the file in the data directory.
const NAME: &str = "revocations";

/// Longest file that is read, bytes.
const LONGEST: u64 = 128 * 1024 * 1024;

/// The file. Replaced as a whole: a digest, then the message.
#[derive(Debug)]
pub struct KeptFile {
    directory: PathBuf,
}

/// What an earlier run has left.
#[derive(Debug, Default)]
pub struct Kept {
    /// What it knew to be revoked.
    pub table: RevocationTable,
    /// Whether it may have left proofs that rest on something revoked.
    pub unfinished: bool,
}

impl KeptFile {
    /// In this directory, which is there.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// What was written last; nothing before the first time. A file that cannot be read is taken to revoke everything,
    /// until the CA has told what really is.
    pub fn load(&self, trust_domain: &TrustDomain) -> Kept {
        let lost = |why: &dyn std::fmt::Display| {
            let path = self.directory.join(NAME);
            tracing::error!(path = %path.display(), %why, "the kept revocations are lost: until the CA tells them anew, nobody counts but the CA");
            Kept {
                table: RevocationTable::unreadable("the revocations that this agent had kept are lost"),
                unfinished: true,
            }
        };
        match self.read() {
            Ok(Some(kept)) => Kept {
                unfinished: !kept.applied,
                table: RevocationTable::new(trust_domain, kept.revocations),
            },
            Ok(None) => Kept::default(),
            Err(error) => lost(&error),
        }
    }

    fn read(&self) -> io::Result<Option<KeptRevocations>> {
        let path = self.directory.join(NAME);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > LONGEST => {
                return Err(io::Error::other("it is too long"));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let bytes = fs::read(&path)?;
        let damaged = || io::Error::other("it is damaged");
        let (sum, message) = bytes.split_at_checked(SHA256_OUTPUT_LEN).ok_or_else(damaged)?;
        if digest(&SHA256, message).as_ref() != sum {
            return Err(damaged());
        }
        KeptRevocations::decode(message)
            .map(Some)
            .map_err(io::Error::other)
    }

    /// Writes; a crash leaves either the old or the new state.
    pub fn save(&self, table: &RevocationTable, applied: bool) -> io::Result<()> {
        let kept = KeptRevocations {
            revocations: table.rows().cloned().collect(),
            applied,
        };
        let message = kept.encode_to_vec();
        let sum = digest(&SHA256, &message);
        let path = self.directory.join(NAME);
        replace(&path, &[sum.as_ref(), &message], Lasting::Disk)
    }
}

#[cfg(test)]
mod tests {
    use signet_proto::view::v1::Revocation;
    use signet_proto::view::v1::revocation::Subject;

    use super::*;

    fn domain() -> TrustDomain {
        TrustDomain::parse("t.example").expect("valid")
    }

    fn table() -> RevocationTable {
        let row = Revocation {
            id: "serial:ab".to_owned(),
            subject: Some(Subject::Serial(vec![0xab])),
            ..Revocation::default()
        };
        RevocationTable::new(&domain(), vec![row])
    }

    #[test]
    fn what_was_kept_is_known_again_and_so_is_whether_work_was_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = KeptFile::new(directory.path());
        assert!(!file.load(&domain()).unfinished, "nothing was ever revoked");
        for applied in [false, true] {
            file.save(&table(), applied).expect("saves");
            let kept = file.load(&domain());
            assert_eq!((kept.table, kept.unfinished), (table(), !applied));
        }
    }

    #[test]
    fn a_damaged_file_revokes_everything() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = KeptFile::new(directory.path());
        file.save(&table(), true).expect("saves");
        let path = directory.path().join(NAME);
        let good = fs::read(&path).expect("reads");
        let mut flipped = good.clone();
        flipped[SHA256_OUTPUT_LEN + 3] ^= 1;
        for bad in [&good[..good.len() - 1], &good[..5], &[][..], &flipped] {
            fs::write(&path, bad).expect("writes");
            let kept = file.load(&domain());
            assert!(kept.unfinished && kept.table.set().unreadable().is_some());
        }
    }
}
