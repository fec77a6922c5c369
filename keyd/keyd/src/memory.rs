//! `keyd.json`: what a restarted daemon needs to recognise its own device. It holds nothing secret.
//!
//! The file is a hint, never an authority: the device says which keys are in it, `NODES` says what is encrypted. It
//! is written before the device is changed, so that every peer in the device is named in it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::EngineError;

const VERSION: u32 = 1;
/// Greatest file that is read, bytes; 65,536 peers fit.
const MAX_SIZE: u64 = 16 << 20;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    /// Of the format.
    pub(crate) version: u32,
    /// Whether the mode was `wireguard`.
    pub(crate) encrypt: bool,
    /// Counts our keys; never goes down.
    pub(crate) key_epoch: u64,
    /// Bytes of the public key that `key_epoch` belongs to; empty: none.
    pub(crate) public_key: Vec<u8>,
    /// By node number.
    pub(crate) peers: BTreeMap<u32, RememberedPeer>,
}

/// What is remembered of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RememberedPeer {
    pub(crate) node: String,
    pub(crate) public_key: Vec<u8>,
}

/// The file.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    path: PathBuf,
    written: Option<Memory>,
}

impl MemoryFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, written: None }
    }

    /// What an earlier process remembered; `None` if there was none, or if its file cannot be understood.
    pub(crate) fn read(&self) -> Option<Memory> {
        match self.try_read() {
            Ok(memory) => Some(memory),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot use what an earlier signet-keyd remembered");
                None
            }
        }
    }

    fn try_read(&self) -> io::Result<Memory> {
        let mut text = String::new();
        File::open(&self.path)?.take(MAX_SIZE).read_to_string(&mut text)?;
        let memory: Memory = serde_json::from_str(&text)?;
        if memory.version != VERSION {
            return Err(io::Error::other("it is of another version"));
        }
        Ok(memory)
    }

    /// Replaces the file, whole or not at all. Nothing is written if nothing changed.
    pub(crate) fn write(&mut self, mut memory: Memory) -> Result<(), EngineError> {
        memory.version = VERSION;
        if self.written.as_ref() == Some(&memory) {
            return Ok(());
        }
        self.try_write(&memory).map_err(|source| EngineError::Memory {
            path: self.path.clone(),
            source,
        })?;
        self.written = Some(memory);
        Ok(())
    }

    fn try_write(&self, memory: &Memory) -> io::Result<()> {
        let temporary = self.path.with_extension("json.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        serde_json::to_writer(&mut file, memory)?;
        file.flush()?;
        std::fs::rename(&temporary, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_read_again_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyd.json");
        let mut file = MemoryFile::new(path.clone());
        assert_eq!(file.read(), None);
        let mut memory = Memory {
            version: VERSION,
            encrypt: true,
            key_epoch: 7,
            ..Memory::default()
        };
        memory.peers.insert(
            2,
            RememberedPeer {
                node: "n2".to_owned(),
                public_key: vec![1; 32],
            },
        );
        file.write(memory.clone()).unwrap();
        assert_eq!(MemoryFile::new(path.clone()).read(), Some(memory));
        assert_eq!(
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_file_that_makes_no_sense_is_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyd.json");
        for text in [
            "",
            "{",
            r#"{"version":9,"encrypt":true,"key_epoch":1,"public_key":[],"peers":{}}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(MemoryFile::new(path.clone()).read(), None, "{text}");
        }
    }
}
