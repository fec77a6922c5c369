//! Whether a directory is a place for a socket: nobody else may put something else there.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Others of the owner's group may write.
const GROUP_WRITES: u32 = 0o020;
/// Everybody may write.
const OTHERS_WRITE: u32 = 0o002;
/// What is in the directory belongs to those who put it there (`inode(7)`, `S_ISVTX`).
const STICKY: u32 = 0o1000;

/// Why a directory is no place for a socket.
#[derive(Debug)]
pub(crate) struct Unsafe {
    /// This one, or one above it.
    pub(crate) directory: PathBuf,
    /// What is wrong with it.
    pub(crate) why: &'static str,
}

/// Checks a directory and all above it, wherever symbolic links lead: each belongs to root or to `user`, and nobody else may
/// put anything else in the place of what is there. The real path comes back.
///
/// What was found stays so, for only root and `user` could change it.
pub(crate) fn check(directory: &Path, user: u32) -> io::Result<Result<PathBuf, Unsafe>> {
    let real = directory.canonicalize()?;
    for place in real.ancestors() {
        if let Some(why) = fault(&place.symlink_metadata()?, user) {
            let directory = place.to_owned();
            return Ok(Err(Unsafe { directory, why }));
        }
    }
    Ok(Ok(real))
}

fn fault(found: &Metadata, user: u32) -> Option<&'static str> {
    if found.uid() != 0 && found.uid() != user {
        return Some("it belongs to another user");
    }
    if found.mode() & STICKY != 0 {
        return None;
    }
    if found.mode() & OTHERS_WRITE != 0 {
        return Some("everybody can write to it");
    }
    // Root's group has nobody in it whom root has not let in.
    (found.mode() & GROUP_WRITES != 0 && found.gid() != 0).then_some("its group can write to it")
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    /// An own directory in a directory that the test may spoil.
    fn nested() -> (tempfile::TempDir, PathBuf) {
        let above = tempfile::tempdir().unwrap();
        let place = above.path().join("run");
        create_dir(&place).unwrap();
        set_permissions(&place, Permissions::from_mode(0o755)).unwrap();
        (above, place)
    }

    fn user() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn why(place: &Path) -> Option<&'static str> {
        check(place, user()).unwrap().err().map(|found| found.why)
    }

    #[test]
    fn a_directory_that_others_can_change_or_one_above_it_is_no_place() {
        for (mode, expected) in [
            (0o755, None),
            (0o700, None),
            (0o1777, None),
            (0o777, Some("everybody can write to it")),
            (0o757, Some("everybody can write to it")),
        ] {
            for spoil_above in [false, true] {
                let (above, place) = nested();
                let spoiled = if spoil_above { above.path() } else { &place };
                set_permissions(spoiled, Permissions::from_mode(mode)).unwrap();
                assert_eq!(why(&place), expected, "{mode:o} {spoil_above}");
            }
        }
        let (_above, place) = nested();
        set_permissions(&place, Permissions::from_mode(0o775)).unwrap();
        chown(&place, None, Some(4242)).unwrap();
        assert_eq!(why(&place), Some("its group can write to it"));
    }

    #[test]
    fn a_directory_of_another_user_is_no_place_even_behind_a_link() {
        let (above, place) = nested();
        let link = above.path().join("link");
        symlink(&place, &link).unwrap();
        assert_eq!(
            check(&link, user()).unwrap().unwrap(),
            place.canonicalize().unwrap()
        );
        chown(&place, Some(4242), None).unwrap();
        for path in [&place, &link] {
            assert_eq!(why(path), Some("it belongs to another user"));
        }
        assert_eq!(
            check(&place, 4242).unwrap().err().map(|found| found.directory),
            None
        );
        chown(above.path(), Some(4243), None).unwrap();
        assert_eq!(check(&place, 4242).unwrap().unwrap_err().directory, above.path());
    }
}
