//! One process at a time changes a lab.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::{LabError, LabPaths};

/// How long to wait for another process that changes the lab.
const PATIENCE: Duration = Duration::from_mins(1);

/// The lab's lock, held until dropped or until the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, waiting while another process has it.
    pub(crate) fn take(paths: &LabPaths) -> Result<Self, LabError> {
        let path = paths.lock();
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(LabError::io("make", parent))?;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path)
                .map_err(LabError::io("open", &path))?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // The holder before us may have removed the file that we opened.
                let ours = file.metadata().map_err(LabError::io("read", &path))?;
                if fs::metadata(&path).is_ok_and(|there| there.ino() == ours.ino()) {
                    let written = file
                        .set_len(0)
                        .and_then(|()| file.rewind())
                        .and_then(|()| write!(file, "{}", std::process::id()));
                    written.map_err(LabError::io("write", &path))?;
                    return Ok(Self { file });
                }
                continue;
            }
            if Instant::now() >= deadline {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(LabError::Locked {
                    lab: paths.lab().clone(),
                    holder,
                });
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Removes the lock's file: the last act of removing a lab.
    pub(crate) fn remove(self, paths: &LabPaths) {
        // Left behind, it would do no harm: it is an unlocked, empty file.
        let _ = fs::remove_file(paths.lock());
        drop(self.file);
    }
}
