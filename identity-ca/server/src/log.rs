//! The issuance log: entries before anything is handed out, and the heads that are signed.

use std::sync::Arc;

use signet_authority::{DataDirectory, DirectoryError, IssuedSvid, PrivateFile};
use signet_log::{
    Caller, Change, ChangeKind, Checkpoint, CheckpointError, Document, Entry, Hash, Issuance, KeyError,
    LogKey, Record, VerifierKey, origin,
};
use signet_registry::{
    AppendError, Coming, Issued, LogWriter, Registry, Shown, SignedBy, StorageError, StoredCheckpoint,
    Submission,
};
use signet_spiffe::{NodeName, SerialNumber, TrustDomain, UnixTime};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::spawn_blocking;
use tracing::warn;
use zeroize::Zeroizing;

use crate::audit::AUDIT;
use crate::keys::Keys;
use crate::random;

/// File of the log's key in the data directory of an earlier version.
const KEY: &str = "log.key";

/// File beside it with the last head that this CA signed, as a note. The registry has it too, but an older registry has an older
/// one. It says nothing where it was put back together with the registry, or is gone.
const HEAD: &str = "log.head";

/// Subject of the entry that says that an older registry was accepted.
const RESTORED: &str = "registry-restored";

/// Writes the log and signs its heads.
#[derive(Debug)]
pub(crate) struct Log {
    writer: LogWriter,
    key: LogKey,
    /// One head at a time, so that each is compared with the last one.
    last: Arc<Mutex<LastHead>>,
}

/// The last head that this CA signed, kept apart from the registry.
#[derive(Debug)]
struct LastHead {
    note: Option<String>,
    file: Option<PrivateFile>,
}

/// Why a head was not signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadError {
    /// The last signed head is not of this log.
    #[error(
        "the issuance log contradicts its last checkpoint, of {size} entries: the database was changed, or is an older copy; \
         keep it, and restore the newest backup"
    )]
    Contradiction { size: u64 },
    /// The last signed head is of another key.
    #[error(
        "the issuance log's last checkpoint cannot be read with the key in the registry: {0}; restore both from one backup"
    )]
    Checkpoint(#[from] CheckpointError),
    /// The registry is of an earlier day than the last head that this CA signed.
    #[error(
        "the registry is not the one that this CA has signed: {HEAD} has a checkpoint of {signed} entries, and the registry's log \
         of {has} entries is not its continuation. If nobody put an older registry back, keep all files as evidence and restore the \
         newest backup. If that was done on purpose, start once with --accept-restored-registry: what was issued and revoked since \
         is forgotten, so revoke again what has to be"
    )]
    Restored { signed: u64, has: u64 },
    /// The file with the last head says nothing.
    #[error(
        "the last checkpoint in {HEAD} cannot be read with the key in the registry: {0}; restore both from one backup, or, where it is known \
         why, start once with --accept-restored-registry"
    )]
    Head(#[source] CheckpointError),
    /// The file with the last head.
    #[error("the last checkpoint cannot be kept: {0}")]
    File(#[from] DirectoryError),
    /// It was being written when the process began to end.
    #[error("the last checkpoint was not kept: the CA is shutting down")]
    Interrupted,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What the log should have been, where another one was accepted; nothing where that cannot be read any more.
#[derive(Debug)]
#[must_use = "the log has to say that it was put back"]
pub(crate) struct Lost(Option<Checkpoint>);

impl Log {
    /// A log whose last head is kept in that directory, if anywhere.
    pub(crate) fn new(writer: LogWriter, key: LogKey, directory: Option<&DataDirectory>) -> Self {
        Self {
            writer,
            key,
            last: Arc::new(Mutex::new(LastHead {
                note: None,
                file: directory.map(|directory| directory.file(HEAD)),
            })),
        }
    }

    /// What checks its checkpoints.
    pub(crate) fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// Logs an X.509-SVID, and takes it down for revocation. Until this has returned, nobody may get it.
    pub(crate) async fn issued(
        &self,
        svid: &IssuedSvid,
        signer: SignedBy,
        caller: Caller,
        node: Option<NodeName>,
        shown: Option<Shown>,
        now: UnixTime,
    ) -> Result<(), AppendError> {
        let leaf = svid.chain.first().map(AsRef::as_ref).unwrap_or_default();
        let serial = SerialNumber::new(svid.serial.as_bytes()).map_err(|_| AppendError::Serial)?;
        let issued = node.clone().map(|node| Issued {
            serial,
            spiffe_id: svid.id.clone(),
            node,
            not_before: svid.not_before,
            not_after: svid.not_after,
        });
        let issuance = Issuance {
            document: Document::X509,
            serial: svid.serial.as_bytes().to_vec(),
            spiffe_id: svid.id.clone(),
            node,
            not_before: svid.not_before.as_secs(),
            not_after: svid.not_after.as_secs(),
            sha256: Hash::sha256(leaf),
        };
        let entry = Entry {
            at: now.as_secs(),
            caller,
            record: Record::Issuance(issuance),
        };
        self.append(Submission {
            entry,
            issued,
            shown,
            signer: Some(signer),
        })
        .await
    }

    /// Says that an SVID is about to be logged.
    pub(crate) fn announce(&self) -> Coming {
        self.writer.announce()
    }

    /// Logs an SVID of any kind. Until this has returned, nobody may get it.
    pub(crate) async fn append(&self, submission: Submission) -> Result<(), AppendError> {
        self.writer.append(submission).await
    }

    /// Whether the log is still the one that was signed: by what it says itself, and by what was kept apart from it. With
    /// `accept` it may be another than the latter; what it should have been is returned then.
    pub(crate) async fn check(&self, registry: &Registry, accept: bool) -> Result<Option<Lost>, HeadError> {
        let stored = registry.last_checkpoint().await?;
        if let Some(last) = &stored {
            self.agrees(registry, last).await?;
        }
        let mut last = self.last.lock().await;
        let kept = match &last.file {
            Some(file) => file.read()?,
            None => None,
        };
        let Some(kept) = kept else {
            if let (Some(_), Some(stored)) = (&last.file, stored) {
                warn!(
                    target: AUDIT,
                    { log.size = stored.size },
                    "the registry has a checkpoint and the data directory has no {HEAD}: nothing tells whether the registry is an older \
                     copy. That is so where this CA joins others or comes from an earlier version; otherwise find out who removed it, and \
                     compare with a checkpoint that was kept elsewhere (`signet ca log verify --checkpoint`)"
                );
            }
            return Ok(None);
        };
        let kept = String::from_utf8_lossy(&kept).into_owned();
        let signed = match self.verifier().open(&kept) {
            Ok(signed) => signed,
            Err(_) if accept => return Ok(Some(Lost(None))),
            Err(error) => return Err(HeadError::Head(error)),
        };
        let head = StoredCheckpoint {
            size: signed.size(),
            note: kept.clone(),
        };
        match self.agrees(registry, &head).await {
            Ok(()) => {
                last.note = Some(kept);
                Ok(None)
            }
            Err(HeadError::Contradiction { .. }) if accept => Ok(Some(Lost(Some(signed)))),
            Err(HeadError::Contradiction { size }) => Err(HeadError::Restored {
                signed: size,
                has: registry.log_size().await?,
            }),
            Err(error) => Err(error),
        }
    }

    /// Takes another log for the right one from now on, and has the log say so.
    pub(crate) async fn restored(
        &self,
        registry: &Registry,
        Lost(lost): Lost,
        now: UnixTime,
    ) -> anyhow::Result<()> {
        let size = registry.log_size().await?;
        warn!(
            target: AUDIT,
            { log.size = size, log.signed = lost.as_ref().map(Checkpoint::size) },
            "a restored registry is accepted: what came after it is forgotten"
        );
        let change = Change {
            kind: ChangeKind::Setting,
            subject: RESTORED.to_owned(),
            before: lost.as_ref().map(Checkpoint::root),
            after: Some(registry.log_root(size).await?),
        };
        let entry = Entry {
            at: now.as_secs(),
            caller: Caller::Ca,
            record: Record::Change(change),
        };
        let submission = Submission {
            entry,
            issued: None,
            shown: None,
            signer: None,
        };
        self.append(submission).await?;
        self.checkpoint(registry, now).await?;
        Ok(())
    }

    /// The signed head of now. Signs nothing that contradicts what was signed before.
    pub(crate) async fn checkpoint(
        &self,
        registry: &Registry,
        now: UnixTime,
    ) -> Result<StoredCheckpoint, HeadError> {
        let last = Arc::clone(&self.last).lock_owned().await;
        if let Some(note) = &last.note {
            let head = StoredCheckpoint {
                size: self.verifier().open(note)?.size(),
                note: note.clone(),
            };
            self.agrees(registry, &head).await?;
        }
        let size = registry.log_size().await?;
        if let Some(stored) = registry.last_checkpoint().await? {
            self.agrees(registry, &stored).await?;
            if stored.size == size {
                let _last = keep(last, &stored.note).await?;
                return Ok(stored);
            }
        }
        let note = self.key.sign(size, registry.log_root(size).await?)?;
        let checkpoint = StoredCheckpoint { size, note };
        let _last = keep(last, &checkpoint.note).await?;
        registry.keep_checkpoint(&checkpoint, now).await?;
        Ok(checkpoint)
    }

    async fn agrees(&self, registry: &Registry, last: &StoredCheckpoint) -> Result<(), HeadError> {
        let contradiction = HeadError::Contradiction { size: last.size };
        let signed = self.verifier().open(&last.note)?;
        // A tree that is smaller now, or has a hole, has no such root.
        let root = match registry.log_root(last.size).await {
            Ok(root) => root,
            Err(StorageError::Log(_)) => return Err(contradiction),
            Err(error) => return Err(error.into()),
        };
        if signed.size() == last.size && signed.root() == root {
            Ok(())
        } else {
            Err(contradiction)
        }
    }
}

/// Keeps a head before anybody sees it. Whoever waits may go away meanwhile: what is being written has the guard, so nobody
/// else writes until it is done.
async fn keep(
    mut last: OwnedMutexGuard<LastHead>,
    note: &str,
) -> Result<OwnedMutexGuard<LastHead>, HeadError> {
    if last.note.as_deref() == Some(note) {
        return Ok(last);
    }
    let note = note.to_owned();
    let written = spawn_blocking(move || {
        if let Some(file) = &last.file {
            file.write(note.as_bytes())?;
        }
        last.note = Some(note);
        Ok(last)
    });
    written.await.map_err(|_| HeadError::Interrupted)?
}

/// The log's key, kept with the CA's others; made where there is none.
pub(crate) async fn key(
    trust_domain: &TrustDomain,
    keys: &Keys,
    directory: Option<&DataDirectory>,
    registry: &Registry,
) -> anyhow::Result<LogKey> {
    let make = || {
        let seed = Zeroizing::new(random::bytes()?);
        Ok(LogKey::secret_text(&origin(trust_domain), &seed)?)
    };
    let file = directory.map(|directory| (directory, KEY));
    let secret = keys.log_secret(file, registry, make).await?;
    let text = std::str::from_utf8(&secret).map_err(|_| KeyError::Malformed)?;
    Ok(LogKey::from_secret_text(text)?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
    use signet_authority::{Authority, Serial, SigningKey};
    use signet_registry::MAX_WAITING;
    use signet_spiffe::SpiffeId;
    use tonic::Code;

    use super::*;
    use crate::refusal;

    #[tokio::test]
    async fn who_comes_when_too_many_wait_is_told_to_come_back() {
        let registry = Registry::in_memory().await.unwrap();
        let domain = TrustDomain::parse("td").unwrap();
        // Nobody writes: the future that would is held, not run.
        let (writer, _writing) = registry.log_writer();
        let key = key(&domain, &Keys::in_memory(), None, &registry).await.unwrap();
        let log = Arc::new(Log::new(writer, key, None));
        let now = UnixTime::now();
        let signing = SigningKey::generate().unwrap();
        let life = Duration::from_hours(1);
        let authority =
            Authority::create(domain.clone(), signing, Serial::from_random([1; 16]), now, life).unwrap();
        let svid = Arc::new(IssuedSvid {
            id: SpiffeId::ca(&domain),
            chain: authority.bundle().authorities().to_vec(),
            serial: Serial::from_random([2; 16]),
            not_before: now,
            not_after: now,
        });
        let id = || SignedBy::Former(authority.key_id().to_string().parse().unwrap());
        for _ in 0..MAX_WAITING {
            let signer = id();
            let (log, svid) = (Arc::clone(&log), Arc::clone(&svid));
            tokio::spawn(async move { log.issued(&svid, signer, Caller::Ca, None, None, now).await });
        }
        let refused = loop {
            // Before the queue is full this waits, with nobody to end it.
            let attempt = log.issued(&svid, id(), Caller::Ca, None, None, now);
            if let Ok(outcome) = tokio::time::timeout(Duration::from_millis(10), attempt).await {
                break outcome.unwrap_err();
            }
        };
        assert!(matches!(refused, AppendError::Full));
        assert_eq!(refusal::append("issue", &refused).code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn a_head_that_is_being_written_keeps_others_out_though_nobody_waits_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(&directory.path().join("data")).unwrap();
        // Opening it to write takes until somebody reads.
        let slow = directory.path().join("log.head.new");
        mknodat(CWD, &slow, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let registry = Registry::in_memory().await.unwrap();
        let (writer, _writing) = registry.log_writer();
        let domain = TrustDomain::parse("td").unwrap();
        let key = key(&domain, &Keys::in_memory(), None, &registry).await.unwrap();
        let log = Log::new(writer, key, Some(&directory));

        let last = Arc::clone(&log.last).lock_owned().await;
        let given_up = tokio::time::timeout(Duration::ZERO, keep(last, "a head")).await;
        assert!(given_up.is_err(), "a pipe that nobody reads was opened");
        let is_kept_out = log.last.try_lock().is_err();
        let reader: File = open(&slow, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
            .unwrap()
            .into();
        assert!(is_kept_out, "another one would write beside it");
        assert_eq!(log.last.lock().await.note, None, "it was not written");
        drop(reader);
    }
}
