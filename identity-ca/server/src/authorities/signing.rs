//! Which authorities sign now. What the registry says at the last seen position, never what it said before.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use signet_keys::{KeyManager, KeyManagerError, KeyRecord, Signer};
use signet_registry::{Position, StorageError};
use signet_spiffe::BundleSet;
use signet_tls::BundleSource as _;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;

use super::current::{Current, Opens};
use super::rotation::Rotation;
use crate::ca::Ca;

/// The authorities of a running CA.
#[derive(Debug)]
pub(crate) struct Signing {
    current: watch::Sender<Arc<Current>>,
    keys: Arc<Opened>,
    /// What JWT-SVIDs have as `iss`.
    issuer: Option<String>,
    pub(crate) rotation: Rotation,
    /// Wakes whoever takes the steps that are due.
    pub(crate) due: Notify,
    /// What keeps steps from being taken, by what they are.
    trouble: Mutex<BTreeMap<&'static str, String>>,
}

/// The key manager, with the keys that it has opened: each is opened once.
#[derive(Debug)]
pub(crate) struct Opened {
    manager: Arc<dyn KeyManager>,
    known: Mutex<HashMap<Vec<u8>, Arc<dyn Signer>>>,
}

impl Opened {
    pub(crate) fn new(manager: Arc<dyn KeyManager>) -> Self {
        Self {
            manager,
            known: Mutex::default(),
        }
    }

    pub(crate) fn manager(&self) -> &Arc<dyn KeyManager> {
        &self.manager
    }

    /// Those alone stay open that one of these records is of.
    fn keep(&self, current: &Current) {
        let records = current.all.iter().filter_map(|one| one.key.as_deref());
        let records: Vec<_> = records
            .filter_map(|record| KeyRecord::decode(record).ok())
            .collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|public, _| records.iter().any(|record| record.public_key() == public));
    }
}

impl Opens for Opened {
    fn open(&self, record: &KeyRecord) -> Result<Arc<dyn Signer>, KeyManagerError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signer) = known().get(record.public_key()) {
            return Ok(Arc::clone(signer));
        }
        let signer = self.manager.open(record)?;
        known().insert(record.public_key().to_vec(), Arc::clone(&signer));
        Ok(signer)
    }
}

impl Signing {
    pub(crate) fn new(first: Current, keys: Arc<Opened>, issuer: Option<String>, rotation: Rotation) -> Self {
        Self {
            current: watch::Sender::new(Arc::new(first)),
            keys,
            issuer,
            rotation,
            due: Notify::new(),
            trouble: Mutex::default(),
        }
    }

    /// As they were when somebody last looked. For what may lag behind: pages, status.
    pub(crate) fn latest(&self) -> Arc<Current> {
        Arc::clone(&self.current.borrow())
    }

    /// Wakes after each change that was seen.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Current>> {
        self.current.subscribe()
    }

    /// Notes what keeps a step from being taken, or that nothing does. Says whether that is news.
    pub(crate) fn note_trouble(&self, step: &'static str, what: Option<String>) -> bool {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let before = trouble.get(step);
        if before == what.as_ref() {
            return false;
        }
        match what {
            Some(what) => drop(trouble.insert(step, what)),
            None => drop(trouble.remove(step)),
        }
        true
    }

    /// What keeps steps from being taken.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble
            .iter()
            .map(|(step, what)| format!("{step}: {what}"))
            .collect()
    }

    pub(crate) fn keys(&self) -> &Arc<Opened> {
        &self.keys
    }
}

impl Ca {
    /// The authorities as of the latest committed change, wherever it was made.
    pub(crate) async fn authorities(&self) -> Result<Arc<Current>, StorageError> {
        let wanted = self.known.authorities(&self.registry).await?;
        self.authorities_at(wanted).await
    }

    /// The same for who has just looked where the registry is.
    pub(crate) async fn authorities_known(&self) -> Result<Arc<Current>, StorageError> {
        self.authorities_at(self.known.authorities_seen()).await
    }

    async fn authorities_at(&self, wanted: Position) -> Result<Arc<Current>, StorageError> {
        let known = self.signing.latest();
        if known.position == wanted {
            return Ok(known);
        }
        // One at a time; and what this CA verifies against changes with them, so whoever honours revocations has to wait.
        let _in_order = self.honouring.lock().await;
        let wanted = self.known.authorities(&self.registry).await?;
        let known = self.signing.latest();
        if known.position == wanted {
            return Ok(known);
        }
        let found = self.registry.authorities().await?;
        let (keys, issuer) = (Arc::clone(&self.signing.keys), self.signing.issuer.clone());
        let domain = self.trust_domain().clone();
        let opening =
            spawn_blocking(move || Current::open(found, wanted, &domain, issuer.as_deref(), &*keys));
        let opened = opening.await.unwrap_or(Err(StorageError::Deaf))?;
        let current = opened.ok_or(StorageError::Corrupt {
            column: "authorities",
        })?;
        self.signing.keys.keep(&current);
        let current = Arc::new(current);
        let verified = self.bundles.bundles();
        let own = BundleSet::single(current.bundle.x509.clone());
        self.bundles
            .replace(own.with_revocations(Arc::clone(verified.revocations())));
        self.signing.current.send_replace(Arc::clone(&current));
        Ok(current)
    }
}
