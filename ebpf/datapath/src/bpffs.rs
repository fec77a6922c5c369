//! The pin directory.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::mount::{MountFlags, mount};

use crate::error::DatapathError;

/// Where the file system is mounted on every distribution.
const USUAL: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` (include/uapi/linux/magic.h).
const MAGIC: u32 = 0xcafe_4a11;

/// Makes sure that `directory` exists, lies on a bpf file system and is ours alone. [`Datapath::load`](crate::Datapath::load)
/// does it, too; done before, by somebody who may mount, it leaves that one nothing to mount.
///
/// # Errors
/// The directory cannot be made, or nothing can be mounted.
pub fn prepare(directory: &Path) -> Result<(), DatapathError> {
    let existing = nearest_existing(directory);
    if !is_bpffs(&existing).map_err(|source| failed("look at", &existing, source))? {
        let point = if directory.starts_with(USUAL) {
            Path::new(USUAL)
        } else {
            directory
        };
        make(point)?;
        mount(
            "bpf",
            point,
            "bpf",
            MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
            None,
        )
        .map_err(|source| failed("mount a bpf file system on", point, source.into()))?;
        tracing::info!(path = %point.display(), "mounted a bpf file system");
    }
    make(directory)?;
    make(&links(directory))
}

/// Where attachments are pinned.
pub(crate) fn links(directory: &Path) -> PathBuf {
    directory.join("links")
}

fn make(directory: &Path) -> Result<(), DatapathError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| failed("create", directory, source))
}

fn nearest_existing(directory: &Path) -> PathBuf {
    directory
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"))
        .to_owned()
}

fn is_bpffs(path: &Path) -> io::Result<bool> {
    // The field's type differs between architectures; the magic has 32 bits.
    Ok(statfs(path)?.f_type & 0xffff_ffff == i64::from(MAGIC))
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> DatapathError {
    DatapathError::PinDirectory {
        action,
        path: path.to_owned(),
        source,
    }
}
