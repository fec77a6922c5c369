//! The sealed file.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use signet_spiffe::SpiffeId;
use zeroize::Zeroizing;

use super::keyring::{Keys, KeysError, SealingKey};
use crate::replace::{Lasting, replace};

/// Name of the file in the data directory.
const NAME: &str = "kept-state";
/// What the first line begins with: the purpose, and the version of all that follows.
const PURPOSE: &str = "signet-agent-state 1";
/// Longest first line, bytes.
const LONGEST_LINE: usize = 4096;
/// Longest file, bytes.
const LONGEST: usize = 128 * 1024 * 1024;
/// What sealing adds at the end, bytes.
pub(super) const TAG: usize = 16;

/// Why a state is of no use. It has been removed then, and so has its key.
#[derive(Debug, thiserror::Error)]
pub enum Unsealable {
    /// The system refused.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// Its beginning is not ours.
    #[error("it is no state of an agent of this version")]
    Unknown,
    /// Somebody else's.
    #[error("it is of {0}")]
    Other(String),
    /// The key has gone.
    #[error("what it is sealed under has gone: the machine was restarted, or everything in it has ended")]
    NoKey,
    /// It is not what was sealed under the key.
    #[error("it is not what this agent wrote last: damaged, changed, or put back to an earlier state")]
    Changed,
    /// No keyring.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// Why a state cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The system refused.
    #[error("failed to write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Too much of it.
    #[error("the state is too large to be kept: {0} bytes")]
    TooLong(usize),
    /// No randomness, or no cipher.
    #[error("the system gives no randomness")]
    Randomness,
    /// No keyring.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// The file, and the names of its keys. Each write takes a new key under the other one of two names; then the old one is wiped,
/// and with it whatever was sealed under it, wherever there still is a copy.
#[derive(Debug)]
pub struct SealedFile {
    path: PathBuf,
    owner: String,
    prefix: String,
    keys: Box<dyn Keys>,
    /// Under which of the two names the key of the file is.
    slot: Slot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    A,
    B,
}

impl Slot {
    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::A, Self::B].into_iter().find(|slot| slot.name() == text)
    }
}

impl SealedFile {
    /// In this directory, which is there, of this node.
    ///
    /// # Errors
    /// No keyring that keeps anything.
    pub fn new(directory: &Path, owner: &SpiffeId, keys: Box<dyn Keys>) -> Result<Self, KeysError> {
        // The same directory under another name is the same.
        let place = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        let mut told = owner.as_str().as_bytes().to_vec();
        told.push(0);
        told.extend(place.as_os_str().as_encoded_bytes());
        let place = digest(&SHA256, &told);
        let file = Self {
            path: directory.join(NAME),
            owner: owner.to_string(),
            prefix: format!("signet-agent:{}", HEXLOWER.encode(&place.as_ref()[..16])),
            keys,
            slot: Slot::A,
        };
        file.probe()?;
        Ok(file)
    }

    /// Whether there is a state, of whatever worth.
    pub fn is_in(directory: &Path) -> bool {
        directory.join(NAME).exists()
    }

    /// Removes what an agent has left that kept its state, without asking for a keyring that works.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(directory: &Path) -> io::Result<bool> {
        match fs::remove_file(directory.join(NAME)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the keyring gives back what it is given.
    fn probe(&self) -> Result<(), KeysError> {
        let name = format!("{}:probe", self.prefix);
        let key = SealingKey::new([1; 32]);
        self.keys.put(&name, &key, Duration::from_secs(10))?;
        let found = self.keys.get(&name)?;
        self.keys.remove(&name)?;
        if found == Some(key) {
            Ok(())
        } else {
            Err(KeysError::Foreign)
        }
    }

    fn key_name(&self, slot: Slot) -> String {
        format!("{}:{}", self.prefix, slot.name())
    }

    fn line(&self, slot: Slot) -> String {
        format!("{PURPOSE} {} {}\n", self.owner, slot.name())
    }

    /// What was saved last; nothing if nothing was. What is of no use is removed.
    ///
    /// # Errors
    /// See [`Unsealable`].
    pub fn load(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Unsealable> {
        let state = self.open();
        match &state {
            Ok(Some(_)) => {
                // What a run that was killed in the middle of a write has left.
                self.keys.remove(&self.key_name(self.slot.other()))?;
            }
            Ok(None) | Err(_) => self.destroy()?,
        }
        state
    }

    fn open(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Unsealable> {
        let Some(bytes) = read(&self.path)? else {
            return Ok(None);
        };
        let begin = &bytes[..bytes.len().min(LONGEST_LINE)];
        let end = begin
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or(Unsealable::Unknown)?;
        let line = std::str::from_utf8(&begin[..end]).map_err(|_| Unsealable::Unknown)?;
        let rest = line.strip_prefix(PURPOSE).and_then(|rest| rest.strip_prefix(' '));
        let (owner, slot) = rest
            .and_then(|rest| rest.split_once(' '))
            .ok_or(Unsealable::Unknown)?;
        if owner != self.owner {
            return Err(Unsealable::Other(
                owner.chars().filter(|c| !c.is_control()).collect(),
            ));
        }
        let slot = Slot::parse(slot).ok_or(Unsealable::Unknown)?;
        let key = self.keys.get(&self.key_name(slot))?.ok_or(Unsealable::NoKey)?;
        let sealed = &bytes[end + 1..];
        let (nonce, sealed) = sealed
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(Unsealable::Changed)?;
        let mut state = Zeroizing::new(sealed.to_vec());
        let cipher = cipher(&key).ok_or(Unsealable::Changed)?;
        let additional = Aad::from(self.line(slot));
        let length = cipher
            .open_in_place(Nonce::assume_unique_for_key(*nonce), additional, &mut state)
            .map_err(|_| Unsealable::Changed)?
            .len();
        state.truncate(length);
        self.slot = slot;
        Ok(Some(state))
    }

    /// Seals and replaces the file; the state before is gone then. Its key ends after `life`, whatever happens. Gives the file's
    /// length. `state` should have room for `TAG` more bytes: what grows leaves copies behind.
    ///
    /// # Errors
    /// See `SealError`. What was there before is there still, unless the new one is.
    pub fn save(&mut self, mut state: Zeroizing<Vec<u8>>, life: Duration) -> Result<usize, SealError> {
        let slot = self.slot.other();
        let line = self.line(slot);
        let length = line.len() + NONCE_LEN + state.len() + TAG;
        if length > LONGEST {
            return Err(SealError::TooLong(length));
        }
        let mut key = SealingKey::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *key).map_err(|_| SealError::Randomness)?;
        // A key seals once.
        let nonce = [0; NONCE_LEN];
        cipher(&key)
            .ok_or(SealError::Randomness)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(line.as_str()),
                &mut *state,
            )
            .map_err(|_| SealError::Randomness)?;
        self.keys.put(&self.key_name(slot), &key, life)?;
        // A reboot takes the key: what is lost of the file with it is no loss.
        if let Err(source) = replace(&self.path, &[line.as_bytes(), &nonce, &state], Lasting::Memory) {
            self.keys.remove(&self.key_name(slot))?;
            let path = self.path.clone();
            return Err(SealError::Io { path, source });
        }
        self.slot = slot;
        self.keys.remove(&self.key_name(slot.other()))?;
        Ok(length)
    }

    /// Wipes the keys, then removes the file.
    ///
    /// # Errors
    /// The keyring's. The file is removed all the same.
    pub fn destroy(&mut self) -> Result<(), KeysError> {
        let removed = [Slot::A, Slot::B].map(|slot| self.keys.remove(&self.key_name(slot)));
        for path in [self.path.clone(), self.path.with_extension("new")] {
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Nobody can read it any more.
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a state that counts no more stays");
                }
            }
        }
        removed.into_iter().collect()
    }
}

fn cipher(key: &SealingKey) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, &**key).ok().map(LessSafeKey::new)
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    let most = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() > LONGEST {
        return Err(io::Error::other("it is too long"));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::keyring::MemoryKeys;
    use super::*;

    const LIFE: Duration = Duration::from_mins(1);

    struct Site {
        directory: tempfile::TempDir,
        keys: MemoryKeys,
    }

    impl Site {
        fn new() -> Self {
            Self {
                directory: tempfile::tempdir().expect("a directory"),
                keys: MemoryKeys::default(),
            }
        }

        fn file(&self) -> SealedFile {
            self.file_of("spiffe://t.example/signet/node/n1")
        }

        fn file_of(&self, owner: &str) -> SealedFile {
            let owner = SpiffeId::parse(owner).expect("valid");
            SealedFile::new(self.directory.path(), &owner, Box::new(self.keys.clone())).expect("keys")
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join(NAME)
        }

        fn is_empty(&self) -> bool {
            self.keys.names().is_empty() && fs::read_dir(self.directory.path()).expect("reads").count() == 0
        }
    }

    fn state(text: &str) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(text.as_bytes().to_vec())
    }

    #[test]
    fn what_is_saved_is_loaded_by_the_next_life_and_shows_nothing() {
        let site = Site::new();
        assert!(site.file().load().expect("loads").is_none());
        let mut file = site.file();
        for text in ["the first secret", "the second secret", "the third secret"] {
            let length = file.save(state(text), LIFE).expect("saves");
            let bytes = fs::read(site.path()).expect("is there");
            assert_eq!(bytes.len(), length);
            assert!(!bytes.windows(6).any(|window| window == b"secret"));
            assert_eq!(site.keys.names().len(), 1, "the old key is gone");
            let loaded = site.file().load().expect("loads").expect("is there");
            assert_eq!(&**loaded, text.as_bytes());
        }
        let mode = fs::metadata(site.path()).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_was_damaged_cut_or_put_back_is_refused_and_removed() {
        let site = Site::new();
        let damage: [fn(&mut Vec<u8>); 6] = [
            |bytes| bytes.truncate(bytes.len() - 1),
            |bytes| bytes.truncate(60),
            |bytes| bytes.push(0),
            |bytes| *bytes.last_mut().expect("long") ^= 1,
            |bytes| {
                let nonce = bytes.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
                bytes[nonce] ^= 1;
            },
            |bytes| {
                let slot = bytes.iter().position(|byte| *byte == b'\n').expect("a line") - 1;
                bytes[slot] ^= b'a' ^ b'b';
            },
        ];
        for (number, damage) in damage.into_iter().enumerate() {
            site.file().save(state("secret"), LIFE).expect("saves");
            let mut bytes = fs::read(site.path()).expect("is there");
            damage(&mut bytes);
            fs::write(site.path(), bytes).expect("writes");
            let refused = site.file().load().expect_err("refused");
            assert!(
                matches!(refused, Unsealable::Changed | Unsealable::NoKey),
                "{number}: {refused}"
            );
            assert!(site.is_empty(), "{number}: removed");
        }
        // An earlier one of its own, whose key had the same name.
        let mut file = site.file();
        file.save(state("first"), LIFE).expect("saves");
        let first = fs::read(site.path()).expect("is there");
        for text in ["second", "third"] {
            file.save(state(text), LIFE).expect("saves");
        }
        fs::write(site.path(), first).expect("writes");
        assert!(matches!(site.file().load(), Err(Unsealable::Changed)));
        assert!(site.is_empty());
    }

    #[test]
    fn a_state_of_another_node_version_or_boot_is_refused_and_removed() {
        let site = Site::new();
        site.file_of("spiffe://t.example/signet/node/n2")
            .save(state("secret"), LIFE)
            .expect("saves");
        let refused = site.file().load().expect_err("another's");
        assert_eq!(refused.to_string(), "it is of spiffe://t.example/signet/node/n2");
        assert!(!site.path().exists());
        site.keys.reboot();

        // With the name changed it is still sealed for the other.
        site.file().save(state("secret"), LIFE).expect("saves");
        for (from, to) in [("state 1", "state 2"), ("signet-", "Signet-")] {
            let bytes = fs::read(site.path()).expect("is there");
            let text: Vec<u8> = bytes.clone();
            let at = text
                .windows(from.len())
                .position(|window| window == from.as_bytes())
                .expect("in its line");
            let mut other = bytes.clone();
            other[at..at + to.len()].copy_from_slice(to.as_bytes());
            fs::write(site.path(), other).expect("writes");
            assert!(matches!(site.file().load(), Err(Unsealable::Unknown)));
            assert!(site.is_empty());
            site.file().save(state("secret"), LIFE).expect("saves");
        }

        site.keys.reboot();
        assert!(matches!(site.file().load(), Err(Unsealable::NoKey)));
        assert!(site.is_empty());
    }

    #[test]
    fn what_is_destroyed_or_does_not_fit_leaves_no_key() {
        let site = Site::new();
        let mut file = site.file();
        file.save(state("secret"), LIFE).expect("saves");
        file.destroy().expect("destroys");
        assert!(site.is_empty());
        let long = Zeroizing::new(vec![0; LONGEST]);
        assert!(matches!(file.save(long, LIFE), Err(SealError::TooLong(_))));
        assert!(site.is_empty());
        // A write that fails takes its key with it, and leaves what was there.
        file.save(state("kept"), LIFE).expect("saves");
        fs::create_dir(site.path().with_extension("new")).expect("in the way");
        file.save(state("lost"), LIFE).expect_err("cannot be written");
        assert_eq!(site.keys.names().len(), 1);
        assert_eq!(&**site.file().load().expect("loads").expect("is there"), b"kept");
        // As long as it may be: nothing longer is read.
        let huge = File::create(site.path()).expect("made");
        huge.set_len(u64::try_from(LONGEST).expect("fits") + 1)
            .expect("grows");
        assert!(matches!(site.file().load(), Err(Unsealable::Io(_))));
    }
}
