//! Where the view was when the agent ended, kept beside its sockets: a restarted agent asks the CA whether the numbers under
//! which the kernel's proofs stand still mean the same.
//!
//! On a file system that a reboot empties, as the kernel's maps are emptied; so nothing is forced to the disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use tokio::sync::watch;

use crate::replace::{Lasting, replace};
use crate::status::Status;
use crate::view::{Position, View};

/// Longest file that is read, bytes.
const LONGEST: usize = 256;

/// The file: `<revision> <mark>`.
#[derive(Clone, Debug)]
pub struct PlaceFile {
    path: PathBuf,
}

impl PlaceFile {
    /// In the run directory.
    pub fn new(run_dir: &Path) -> Self {
        Self {
            path: run_dir.join("agent.view"),
        }
    }

    /// What was saved last. Nothing readable is nothing known: the CA will say so, and proofs are made anew.
    pub fn load(&self) -> Position {
        fs::read(&self.path)
            .ok()
            .filter(|bytes| bytes.len() <= LONGEST)
            .and_then(|bytes| decode(std::str::from_utf8(&bytes).ok()?))
            .unwrap_or_default()
    }

    fn save(&self, position: &Position) -> io::Result<()> {
        let line = format!("{} {}\n", position.revision, HEXLOWER.encode(&position.mark));
        replace(&self.path, &[line.as_bytes()], Lasting::Memory)
    }
}

fn decode(text: &str) -> Option<Position> {
    let (revision, mark) = text.trim_end().split_once(' ')?;
    Some(Position {
        revision: revision.parse().ok()?,
        mark: HEXLOWER.decode(mark.as_bytes()).ok()?,
    })
}

/// Runs for ever: saves where the view is, but only once no proof of an earlier numbering is left, as `cleared` tells.
pub async fn keep(
    file: PlaceFile,
    mut view: watch::Receiver<Option<Arc<View>>>,
    mut cleared: watch::Receiver<u64>,
    status: Arc<Status>,
) {
    let mut saved = Position::default();
    loop {
        let current = view.borrow_and_update().clone();
        let clean = *cleared.borrow_and_update();
        if let Some(current) = current.filter(|view| view.numbering() == clean && *view.position() != saved) {
            match file.save(current.position()) {
                Ok(()) => saved = current.position().clone(),
                Err(error) => status.fail("state", &anyhow::Error::from(error)),
            }
        }
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            changed = cleared.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_again_and_damage_is_no_place() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = PlaceFile::new(directory.path());
        assert_eq!(file.load(), Position::default());
        for revision in [7, 8] {
            let position = Position {
                revision,
                mark: vec![0xab; 16],
            };
            file.save(&position).expect("saves");
            assert_eq!(file.load(), position);
        }
        for damage in ["", "8", "8 xyz", "x ab", &"8 ab".repeat(100)] {
            fs::write(&file.path, damage).expect("writes");
            assert_eq!(file.load(), Position::default(), "{damage}");
        }
    }
}
