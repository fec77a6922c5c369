//! The keys of the authorities: each is opened once, by a device perhaps that is slow, or away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use signet_keys::{KeyManager, KeyManagerError, KeyRecord, Signer};
use signet_registry::{Authorities, Position, StorageError};
use signet_spiffe::TrustDomain;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tonic::Status;
use tracing::error;

use super::current::{Current, Opens};

/// For all keys that are not open yet. Others wait for it.
const OPEN: Duration = Duration::from_secs(3);

/// Signatures in a device at once.
const AT_ONCE: usize = 32;

/// Until there is room for another one.
const ROOM: Duration = Duration::from_secs(5);

/// The key manager, with the keys that it has opened.
#[derive(Debug)]
pub(crate) struct Opened {
    manager: Arc<dyn KeyManager>,
    known: Mutex<HashMap<Vec<u8>, Arc<dyn Signer>>>,
    /// Whoever opens: one at a time, for as long as the device takes.
    opening: Arc<Semaphore>,
    signing: Arc<Semaphore>,
}

impl Opened {
    pub(crate) fn new(manager: Arc<dyn KeyManager>) -> Self {
        Self {
            manager,
            known: Mutex::default(),
            opening: Arc::new(Semaphore::new(1)),
            signing: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    pub(crate) fn manager(&self) -> &Arc<dyn KeyManager> {
        &self.manager
    }

    /// Those alone stay open that one of these records is of.
    pub(super) fn keep(&self, current: &Current) {
        let records = current.all.iter().filter_map(|one| one.key.as_deref());
        let records: Vec<_> = records
            .filter_map(|record| KeyRecord::decode(record).ok())
            .collect();
        self.known()
            .retain(|public, _| records.iter().any(|record| record.public_key() == public));
    }

    /// The authorities with their keys; with those alone that are open already where the device does not answer in time.
    pub(super) async fn authorities(
        self: &Arc<Self>,
        found: Authorities,
        position: Position,
        domain: &TrustDomain,
        issuer: Option<&str>,
    ) -> Result<Option<Current>, StorageError> {
        if let Ok(turn) = Arc::clone(&self.opening).try_acquire_owned() {
            let (keys, found) = (Arc::clone(self), found.clone());
            let (domain, issuer) = (domain.clone(), issuer.map(str::to_owned));
            let opening = spawn_blocking(move || {
                let _turn = turn;
                Current::open(found, position, &domain, issuer.as_deref(), &*keys)
            });
            if let Ok(opened) = timeout(OPEN, opening).await {
                return opened.unwrap_or(Err(StorageError::Deaf));
            }
            error!("the device with the CA's keys does not answer");
        }
        Current::open(found, position, domain, issuer, &OpenAlready(self))
    }

    /// Signs in a device, which may take long, or for ever: so many at once.
    pub(crate) async fn sign<T: Send + 'static>(
        &self,
        sign: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let busy = || Status::unavailable("the device with this CA's keys does not keep up; try another CA");
        let room = timeout(ROOM, Arc::clone(&self.signing).acquire_owned()).await;
        let Ok(Ok(room)) = room else {
            return Err(busy());
        };
        let signing = spawn_blocking(move || {
            let _room = room;
            sign()
        });
        signing
            .await
            .map_err(|error| crate::refusal::internal("sign", &error))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Arc<dyn Signer>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opens for Opened {
    fn open(&self, record: &KeyRecord) -> Result<Arc<dyn Signer>, KeyManagerError> {
        if let Some(signer) = self.known().get(record.public_key()) {
            return Ok(Arc::clone(signer));
        }
        let signer = self.manager.open(record)?;
        self.known()
            .insert(record.public_key().to_vec(), Arc::clone(&signer));
        Ok(signer)
    }
}

/// Asks no device.
struct OpenAlready<'a>(&'a Opened);

impl Opens for OpenAlready<'_> {
    fn open(&self, record: &KeyRecord) -> Result<Arc<dyn Signer>, KeyManagerError> {
        let known = self.0.known().get(record.public_key()).map(Arc::clone);
        known.ok_or_else(|| KeyManagerError::Unreachable("it does not answer".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use signet_keys::KeyKind;
    use tokio::time::Instant;

    use super::*;
    use crate::testing;

    /// Answers once it is let go.
    #[derive(Debug)]
    struct Stuck(Mutex<mpsc::Receiver<()>>);

    impl Stuck {
        fn wait<T>(&self) -> Result<T, KeyManagerError> {
            let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).recv();
            Err(KeyManagerError::Unreachable("stuck".to_owned()))
        }
    }

    impl KeyManager for Stuck {
        fn name(&self) -> &'static str {
            "stuck"
        }

        fn generate(&self, _: KeyKind) -> Result<(KeyRecord, Arc<dyn Signer>), KeyManagerError> {
            self.wait()
        }

        fn import(&self, _: &[u8]) -> Result<(KeyRecord, Arc<dyn Signer>), KeyManagerError> {
            self.wait()
        }

        fn open(&self, _: &KeyRecord) -> Result<Arc<dyn Signer>, KeyManagerError> {
            self.wait()
        }

        fn forget(&self, _: &KeyRecord) -> Result<(), KeyManagerError> {
            self.wait()
        }
    }

    #[tokio::test]
    async fn a_device_that_hangs_keeps_nobody_from_what_is_published() {
        let ca = testing::ca().await;
        let (release, stuck) = mpsc::channel();
        let keys = Arc::new(Opened::new(Arc::new(Stuck(Mutex::new(stuck)))));
        for _ in 0..2 {
            let found = ca.registry.authorities().await.unwrap();
            let position = ca.signing.latest().position;
            let opened = keys.authorities(found, position, ca.trust_domain(), None);
            let current = timeout(OPEN * 5, opened).await.unwrap().unwrap().unwrap();
            assert!(current.lacks_keys && current.signing().is_err());
            assert_eq!(current.wire, ca.signing.latest().wire);
        }
        assert_eq!(keys.opening.available_permits(), 0, "asked twice");
        drop(release);
    }

    #[tokio::test]
    async fn no_more_than_so_many_signatures_wait_for_a_device() {
        let (release, stuck) = mpsc::channel();
        let keys = Arc::new(Opened::new(Arc::new(Stuck(Mutex::new(stuck)))));
        let mut signing = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let keys = Arc::clone(&keys);
            signing.spawn(async move {
                let manager = Arc::clone(keys.manager());
                keys.sign(move || manager.import(&[]).map(drop)).await
            });
        }
        let end = Instant::now() + ROOM * 5;
        while keys.signing.available_permits() > 0 && Instant::now() < end {
            tokio::task::yield_now().await;
        }
        let refused = keys.sign(|| ()).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unavailable);
        drop(release);
        while let Some(signed) = signing.join_next().await {
            assert!(signed.unwrap().unwrap().is_err());
        }
        keys.sign(|| ()).await.unwrap();
    }
}
