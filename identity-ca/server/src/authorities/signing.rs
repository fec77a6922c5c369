//! Which authorities sign now. What the registry says at the last seen position, never what it said before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use signet_registry::{Position, StorageError};
use signet_spiffe::BundleSet;
use signet_tls::BundleSource as _;
use tokio::sync::{Mutex, Notify, watch};
use tracing::error;

use super::current::Current;
use super::opened::Opened;
use super::rotation::Rotation;
use crate::ca::Ca;

/// The authorities of a running CA.
#[derive(Debug)]
pub(crate) struct Signing {
    current: watch::Sender<Arc<Current>>,
    keys: Arc<Opened>,
    /// Held by the one who reads them: who reads earlier must not write later.
    reading: Mutex<()>,
    /// What JWT-SVIDs have as `iss`.
    issuer: Option<String>,
    pub(crate) rotation: Rotation,
    /// Wakes whoever takes the steps that are due.
    pub(crate) due: Notify,
    /// What keeps steps from being taken, by what they are.
    trouble: SyncMutex<BTreeMap<&'static str, String>>,
}

impl Signing {
    pub(crate) fn new(first: Current, keys: Arc<Opened>, issuer: Option<String>, rotation: Rotation) -> Self {
        Self {
            current: watch::Sender::new(Arc::new(first)),
            keys,
            reading: Mutex::default(),
            issuer,
            rotation,
            due: Notify::new(),
            trouble: SyncMutex::default(),
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
        let _in_order = self.signing.reading.lock().await;
        let wanted = self.known.authorities(&self.registry).await?;
        let known = self.signing.latest();
        if known.position == wanted {
            return Ok(known);
        }
        self.read_authorities(wanted).await
    }

    /// Tries keys again that could not be opened: a device comes back without a change in the registry.
    pub(super) async fn try_keys_again(&self) -> Result<Arc<Current>, StorageError> {
        let _in_order = self.signing.reading.lock().await;
        let wanted = self.known.authorities(&self.registry).await?;
        self.read_authorities(wanted).await
    }

    async fn read_authorities(&self, wanted: Position) -> Result<Arc<Current>, StorageError> {
        if let Err(error) = self.keys.refresh(&self.registry).await {
            error!(
                error = format!("{error:#}"),
                "what the keys are sealed under cannot be opened"
            );
        }
        let found = self.registry.authorities().await?;
        let Signing { keys, issuer, .. } = &self.signing;
        let opened = keys.authorities(found, wanted, self.trust_domain(), issuer.as_deref());
        let current = opened.await?.ok_or(StorageError::Corrupt {
            column: "authorities",
        })?;
        keys.keep(&current);
        let current = Arc::new(current);
        // What this CA verifies against changes with them, so whoever honours revocations has to wait; for nobody's device.
        let _honouring = self.honouring.lock().await;
        let verified = self.bundles.bundles();
        let own = BundleSet::single(current.bundle.x509.clone());
        self.bundles
            .replace(own.with_revocations(Arc::clone(verified.revocations())));
        self.signing.current.send_replace(Arc::clone(&current));
        Ok(current)
    }
}
