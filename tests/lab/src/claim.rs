//! Labs that belong to one run of one program, and go with it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, flock};

use crate::paths::{CLAIM_SUFFIX, RUN_ROOT};
use crate::{LabError, LabName, LabPaths, down};

/// A lab's name that nobody else uses while this lives. The kernel lets go of it with the process, however that ends; the
/// next [`sweep`] then removes what is left of the lab.
#[derive(Debug)]
pub struct Claim {
    paths: LabPaths,
    file: File,
}

impl Claim {
    /// A name of this run's own: `stem`, at most 8 characters, with the process id and a number.
    ///
    /// # Errors
    /// The stem gives no lab name, or the claim's file cannot be made.
    pub fn take(stem: &str) -> Result<Self, LabError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{stem}{}{}", base36(std::process::id()), base36(number));
            // Held by a process with our number in another PID namespace, or being swept: the next one is free.
            if let Some(claim) = Self::try_take(&LabName::parse(&name)?)? {
                return Ok(claim);
            }
        }
    }

    /// Takes a certain name; `None`: somebody has it.
    fn try_take(name: &LabName) -> Result<Option<Self>, LabError> {
        let paths = LabPaths::new(name);
        let path = paths.claim();
        fs::create_dir_all(RUN_ROOT).map_err(LabError::io("make", RUN_ROOT))?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(LabError::io("open", &path))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let ours = file.metadata().map_err(LabError::io("read", &path))?;
        // A sweep may have removed the file between our opening and locking it.
        let there = fs::metadata(&path).is_ok_and(|there| there.ino() == ours.ino());
        Ok(there.then_some(Self { paths, file }))
    }

    /// The name.
    pub fn name(&self) -> &LabName {
        self.paths.lab()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let path = self.paths.claim();
        let ours = self.file.metadata().map(|file| file.ino()).ok();
        if fs::metadata(&path).map(|there| there.ino()).ok() == ours {
            // Left behind, the next sweep removes it.
            let _ = fs::remove_file(&path);
        }
        let _ = fs::remove_dir(RUN_ROOT);
    }
}

/// Removes the labs of programs that have ended without doing so themselves. Returns their names.
///
/// # Errors
/// One of them could not be removed; the others are tried all the same.
pub fn sweep() -> Result<Vec<LabName>, LabError> {
    let entries = match fs::read_dir(RUN_ROOT) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(LabError::io("read", RUN_ROOT)(error)),
    };
    let names = entries.filter_map(|entry| claimed(&entry.ok()?.path()));
    let mut swept = Vec::new();
    let mut failed = Ok(());
    for name in names {
        // What cannot be locked is in use.
        let Some(claim) = Claim::try_take(&name)? else {
            continue;
        };
        match down(&name) {
            Ok(_) => swept.push(name),
            Err(error) => {
                // Its file must stay, so that the next sweep tries again.
                std::mem::forget(claim);
                failed = Err(error);
            }
        }
    }
    failed.map(|()| swept)
}

/// The lab that a file claims.
fn claimed(path: &Path) -> Option<LabName> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_prefix('.')?.strip_suffix(CLAIM_SUFFIX)?;
    LabName::parse(name).ok()
}

/// Lower-case letters and digits.
fn base36(mut number: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.extend(char::from_digit(number % 36, 36));
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_process_id_fits_into_a_name() {
        // pid_max is at most 2^22 (kernel/pid.c).
        let name = format!("e2esuite{}{}", base36(1 << 22), base36(35));
        assert_eq!(LabName::parse(&name).map(|name| name.as_str().len()), Ok(14));
        assert_eq!(base36(0), "0");
        assert_eq!(base36(35 + 36), "1z");
    }

    #[test]
    fn only_claims_of_labs_are_swept() {
        assert_eq!(
            claimed(Path::new("/run/signet-lab/.e2e1.claim")),
            LabName::parse("e2e1").ok()
        );
        for other in [".e2e1.lock", "e2e1", "e2e1.claim", ".a-b.claim", ".claim"] {
            assert_eq!(claimed(Path::new(other)), None, "{other}");
        }
    }
}
