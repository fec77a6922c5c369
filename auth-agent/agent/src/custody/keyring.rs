//! Sealing keys in the kernel's keyring.

use std::time::Duration;
use std::{fmt, io};

use linux_keyutils::{Key, KeyError, KeyRing, KeyRingIdentifier};
use zeroize::Zeroizing;

/// What a state is sealed under; wiped when dropped.
pub type SealingKey = Zeroizing<[u8; 32]>;

/// Why keys cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The kernel refused.
    #[error("the kernel's keyring cannot be used ({step}: {why})")]
    Kernel {
        /// What.
        step: &'static str,
        /// Its answer.
        why: String,
    },
    /// What is under the name is no key of ours.
    #[error("what lies in the kernel's keyring is no sealing key")]
    Foreign,
}

/// Where sealing keys are: they survive this process, and no reboot.
pub trait Keys: fmt::Debug + Send + Sync {
    /// Puts a key there, in place of what has the name, for so long at most.
    ///
    /// # Errors
    /// See [`KeysError`].
    fn put(&self, name: &str, key: &SealingKey, life: Duration) -> Result<(), KeysError>;

    /// The key; none if there is none any more.
    ///
    /// # Errors
    /// See [`KeysError`].
    fn get(&self, name: &str) -> Result<Option<SealingKey>, KeysError>;

    /// Wipes the key, if there is one.
    ///
    /// # Errors
    /// See [`KeysError`].
    fn remove(&self, name: &str) -> Result<(), KeysError>;
}

/// The keyring of the user whom the agent runs as (`user-keyring(7)`): kernel memory, which is not swapped.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelKeys;

impl KernelKeys {
    fn ring() -> Result<KeyRing, KeysError> {
        let user = KeyRing::from_special_id(KeyRingIdentifier::User, true).map_err(failed("open it"))?;
        // What is in it can be read by who *possesses* it: through a keyring of his own. The session's need not lead there: under
        // systemd that depends on KeyringMode.
        let own =
            KeyRing::from_special_id(KeyRingIdentifier::Thread, true).map_err(failed("make a thread's"))?;
        own.link_keyring(user).map_err(failed("link it"))?;
        Ok(user)
    }

    fn find(ring: KeyRing, name: &str) -> Result<Option<Key>, KeysError> {
        match ring.search(name) {
            Ok(key) => Ok(Some(key)),
            Err(KeyError::KeyDoesNotExist | KeyError::KeyExpired | KeyError::KeyRevoked) => Ok(None),
            Err(error) => Err(failed("search it")(error)),
        }
    }
}

fn failed(step: &'static str) -> impl Fn(KeyError) -> KeysError {
    move |error| KeysError::Kernel {
        step,
        why: if matches!(error, KeyError::AccessDenied | KeyError::PermissionDenied) {
            "it is not allowed".to_owned()
        } else if let KeyError::Unknown(number) = error {
            io::Error::from_raw_os_error(number).to_string()
        } else {
            error.to_string()
        },
    }
}

impl Keys for KernelKeys {
    fn put(&self, name: &str, key: &SealingKey, life: Duration) -> Result<(), KeysError> {
        let ring = Self::ring()?;
        let added = ring.add_key(name, &**key).map_err(failed("add a key"))?;
        // 0 would be for ever.
        let seconds = usize::try_from(life.as_secs().max(1)).unwrap_or(usize::MAX);
        added.set_timeout(seconds).map_err(|error| {
            // It must not stay for ever; that it cannot even be revoked then is told by the first failure.
            let _ = added.revoke();
            failed("limit a key's life")(error)
        })
    }

    fn get(&self, name: &str) -> Result<Option<SealingKey>, KeysError> {
        let Some(key) = Self::find(Self::ring()?, name)? else {
            return Ok(None);
        };
        let mut secret = SealingKey::new([0; 32]);
        match key.read(&mut *secret) {
            Ok(32) => Ok(Some(secret)),
            Ok(_) => Err(KeysError::Foreign),
            Err(KeyError::KeyExpired | KeyError::KeyRevoked) => Ok(None),
            Err(error) => Err(failed("read a key")(error)),
        }
    }

    fn remove(&self, name: &str) -> Result<(), KeysError> {
        let ring = Self::ring()?;
        let Some(key) = Self::find(ring, name)? else {
            return Ok(());
        };
        // Its memory is wiped at once, whoever else holds on to it.
        match key.revoke() {
            Ok(()) | Err(KeyError::KeyRevoked | KeyError::KeyExpired) => {}
            Err(error) => return Err(failed("revoke a key")(error)),
        }
        // The kernel would sweep it up some time.
        let _ = ring.unlink_key(key);
        Ok(())
    }
}

/// Keys in this process, for tests of what lies above.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryKeys(std::sync::Arc<std::sync::Mutex<std::collections::BTreeMap<String, [u8; 32]>>>);

#[cfg(test)]
impl MemoryKeys {
    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").keys().cloned().collect()
    }

    /// What a reboot leaves.
    pub(super) fn reboot(&self) {
        self.0.lock().expect("not poisoned").clear();
    }
}

#[cfg(test)]
impl Keys for MemoryKeys {
    fn put(&self, name: &str, key: &SealingKey, _: Duration) -> Result<(), KeysError> {
        self.0
            .lock()
            .expect("not poisoned")
            .insert(name.to_owned(), **key);
        Ok(())
    }

    fn get(&self, name: &str) -> Result<Option<SealingKey>, KeysError> {
        Ok(self
            .0
            .lock()
            .expect("not poisoned")
            .get(name)
            .map(|key| SealingKey::new(*key)))
    }

    fn remove(&self, name: &str) -> Result<(), KeysError> {
        self.0.lock().expect("not poisoned").remove(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_until_it_is_removed_replaced_or_has_ended() {
        let (keys, name) = (KernelKeys, format!("signet-test:{}", std::process::id()));
        let secret = |byte| SealingKey::new([byte; 32]);
        match keys.put(&name, &secret(1), Duration::from_mins(1)) {
            Ok(()) => {}
            Err(error) => {
                return signet_skip::skip(
                    "custody::keyring::tests::a_key_is_found_until_it_is_removed_replaced_or_has_ended",
                    &error.to_string(),
                );
            }
        }
        // From another thread, which has another keyring of its own.
        let found = std::thread::spawn({
            let name = name.clone();
            move || keys.get(&name).expect("answers")
        });
        assert_eq!(found.join().expect("ends").as_deref(), Some(&[1; 32]));
        keys.put(&name, &secret(2), Duration::from_mins(1))
            .expect("replaces");
        assert_eq!(keys.get(&name).expect("answers").as_deref(), Some(&[2; 32]));
        keys.remove(&name).expect("removes");
        assert_eq!(keys.get(&name).expect("answers"), None);
        keys.remove(&name).expect("there is nothing to remove");
    }
}
