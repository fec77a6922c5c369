//! Replacing a file as a whole: whoever reads it finds the old one or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// How much a file has to outlive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// A crash of the system too.
    Disk,
    /// This process alone: it lies where a reboot empties everything.
    Memory,
}

/// Replaces the file at `path`, or makes it, mode 0600, with these parts one after another. On the way there is a file beside
/// it, with `.new` after its name; one that an earlier run has left is removed.
pub(crate) fn replace(path: &Path, parts: &[&[u8]], lasting: Lasting) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    for part in parts {
        file.write_all(part)?;
    }
    if lasting == Lasting::Disk {
        file.sync_all()?;
    }
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(directory) if lasting == Lasting::Disk => File::open(directory)?.sync_all(),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whatever_an_earlier_run_has_left_beside_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state.pem");
        fs::write(directory.path().join("state.pem.new"), "half of it").expect("writes");
        for (lasting, text) in [(Lasting::Disk, "first"), (Lasting::Memory, "second")] {
            replace(&path, &[text.as_bytes(), b"."], lasting).expect("replaces");
            assert_eq!(fs::read_to_string(&path).expect("reads"), format!("{text}."));
            let mode = fs::metadata(&path).expect("is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(
            fs::read_dir(directory.path()).expect("reads").count(),
            1,
            "nothing beside it"
        );
        let nowhere = directory.path().join("not/there");
        replace(&nowhere, &[b"x"], Lasting::Disk).expect_err("no directory");
    }
}
