//! The state of this life and of the one before.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use signet_spiffe::{NodeName, SpiffeId, TrustDomain};

use super::content::{Content, Serials};
use super::file::{SealError, SealedFile};
use super::keyring::Keys;
use super::report::State;
use super::restore::{Refused, Restored, restore};
use crate::ca::StateFile;
use crate::clock::unix_now;
use crate::status::Status;
use crate::view::{Forget, ViewStore};

/// How long the key of a state without SVIDs lives.
const WITHOUT_SVIDS: Duration = Duration::from_hours(1);

/// Keeps the state of this life for the next one.
#[derive(Debug)]
pub struct Custody {
    pub(super) node: NodeName,
    pub(super) trust_domain: TrustDomain,
    /// SHA-256 of the trust bundle that the agent was started with.
    pub(super) started_with: Vec<u8>,
    pub(super) status: Arc<Status>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// None: nothing is kept.
    file: Option<SealedFile>,
    /// Goes up with each [`Custody::forget`]: what was gathered before must not be written after.
    epoch: u64,
    /// Whose keys are in the file.
    serials: Serials,
    /// SHA-256 of what was sealed, where there is a file.
    sealed: Option<Vec<u8>>,
}

/// Whether something is kept, and what it is sealed under.
#[derive(Debug)]
pub enum Keep {
    /// Under a key that is there.
    Under(Box<dyn Keys>),
    /// No more. There an earlier life may have had a key.
    Nothing(Box<dyn Keys>),
}

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is in the file.
    Done,
    /// It was there already.
    Same,
    /// All that was gathered before is to be forgotten.
    Overtaken,
}

impl Custody {
    /// In this directory, which is there, for an agent that was started with that trust bundle. Where nothing is to be kept, nothing
    /// stays of what was.
    pub fn new(
        directory: &Path,
        node: &NodeName,
        trust_domain: &TrustDomain,
        started_with: &str,
        keep: Keep,
        status: &Arc<Status>,
    ) -> Arc<Self> {
        let owner = SpiffeId::node(trust_domain, node);
        let file = match keep {
            Keep::Under(keys) => match SealedFile::new(directory, &owner, keys) {
                Ok(file) => {
                    status
                        .custody
                        .set(State::Empty("there is nothing to keep yet".to_owned()));
                    Some(file)
                }
                Err(error) => {
                    tracing::warn!(%error, "nothing is kept for the agent's next life: restarted without a CA it will have nothing for its workloads");
                    status.custody.set(State::Unavailable(error.to_string()));
                    remove(directory);
                    None
                }
            },
            Keep::Nothing(keys) => {
                // A system that forbids the keyring altogether has let nobody make the file.
                if SealedFile::is_in(directory)
                    && let Ok(mut file) = SealedFile::new(directory, &owner, keys)
                    && let Err(error) = file.destroy()
                {
                    tracing::warn!(%error, "the key of an earlier life's state cannot be removed");
                }
                remove(directory);
                None
            }
        };
        Arc::new(Self {
            node: node.clone(),
            trust_domain: trust_domain.clone(),
            started_with: digest(&SHA256, started_with.as_bytes()).as_ref().to_vec(),
            status: status.clone(),
            inner: Mutex::new(Inner {
                file,
                epoch: 0,
                serials: Serials::new(),
                sealed: None,
            }),
        })
    }

    /// What the life before has left and what of it still counts, which is nothing where its node has no SVID of its own any more.
    pub fn restore(&self, store: &ViewStore, own: &StateFile) -> Option<Restored> {
        let loaded = {
            let mut inner = self.lock();
            inner.file.as_mut()?.load()
        };
        let restored = match loaded {
            Ok(None) => return None,
            Ok(Some(bytes)) => restore(&bytes, self, store, own),
            Err(error) => Err(Refused::File(error)),
        };
        match restored {
            Ok(restored) => {
                let svids = restored.svids.len();
                self.status
                    .custody
                    .restored(u32::try_from(svids).unwrap_or(u32::MAX));
                // What did not count has to go from the file as well.
                self.lock().serials.clone_from(&restored.serials);
                tracing::info!(
                    view.revision = restored.view.revision(),
                    svids,
                    dropped = restored.serials.len().saturating_sub(svids),
                    "going on with the state of the life before"
                );
                Some(restored)
            }
            Err(refused) => {
                let error = anyhow::Error::from(refused);
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the state of the life before is of no use, and has been removed"
                );
                self.forget("the state of the life before was of no use");
                None
            }
        }
    }

    /// Whether anything is to be kept.
    pub(super) fn is_on(&self) -> bool {
        self.lock().file.is_some()
    }

    /// A moment before what is gathered from now on.
    pub(super) fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// Whether there is something in the file that is not among these.
    pub(super) fn holds_more_than(&self, serials: &Serials) -> bool {
        !self.lock().serials.is_subset(serials)
    }

    /// Writes what was gathered since `epoch`.
    pub(super) fn save(&self, epoch: u64, content: Content) -> Result<Written, SealError> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(file) = inner.file.as_mut().filter(|_| inner.epoch == epoch) else {
            return Ok(Written::Overtaken);
        };
        let sum = digest(&SHA256, &content.bytes).as_ref().to_vec();
        if inner.sealed.as_ref() == Some(&sum) {
            return Ok(Written::Same);
        }
        let life = content.end.map_or(WITHOUT_SVIDS, |end| {
            Duration::from_secs(u64::try_from(end.saturating_sub(unix_now())).unwrap_or(0))
        });
        match file.save(content.bytes, life) {
            Ok(length) => {
                inner.serials = content.serials;
                inner.sealed = Some(sum);
                self.status.custody.set(State::Kept {
                    bytes: u64::try_from(length).unwrap_or(u64::MAX),
                    svids: u32::try_from(inner.serials.len()).unwrap_or(u32::MAX),
                });
                Ok(Written::Done)
            }
            Err(error) => {
                // What is dropped here must not come back from there.
                if !inner.serials.is_subset(&content.serials) {
                    inner.forget();
                    self.status.custody.set(State::Empty(error.to_string()));
                }
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(directory: &Path) {
    match SealedFile::remove(directory) {
        Ok(false) => {}
        Ok(true) => tracing::info!("removed the state that an earlier life had kept"),
        Err(error) => {
            tracing::warn!(%error, "the state that an earlier life has kept cannot be removed");
        }
    }
}

impl Inner {
    /// Says whether there was something.
    fn forget(&mut self) -> bool {
        self.epoch += 1;
        let was = self.sealed.take().is_some() || !self.serials.is_empty();
        self.serials.clear();
        if let Some(file) = &mut self.file
            && let Err(error) = file.destroy()
        {
            tracing::error!(%error, "the key of the kept state cannot be removed");
        }
        was
    }
}

impl Forget for Custody {
    fn forget(&self, why: &str) {
        let mut inner = self.lock();
        if inner.file.is_none() {
            return;
        }
        if inner.forget() {
            tracing::info!(why, "the kept state has been destroyed");
        }
        self.status.custody.set(State::Empty(why.to_owned()));
    }
}
