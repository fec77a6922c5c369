//! The files of a directory, within bounds.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Errors, SourceError};

/// Most files in a directory.
pub const MAX_FILES: usize = 4_096;
/// Largest file, bytes.
pub const MAX_FILE_BYTES: u64 = 4 << 20;
/// Most bytes in a directory.
pub const MAX_TOTAL_BYTES: u64 = 64 << 20;

/// What tells whether a file is still the one that was read: device, inode, size, and time of change.
type Stamp = (u64, u64, u64, i64, i64);

/// A directory's files with their stamps, in the order of their names. Equal listings: nothing has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    files: Vec<(PathBuf, Stamp)>,
    /// Of the directory itself: another one may take its place.
    pub(crate) directory: (u64, u64),
}

/// Lists the YAML files of a directory: `*.yaml` and `*.yml`, not hidden; links are followed.
pub(crate) fn list(directory: &Path) -> Result<Listing, SourceError> {
    let failed = |error: &io::Error| {
        let hint = if error.kind() == io::ErrorKind::NotFound {
            "create it, or pass another --config-dir"
        } else {
            ""
        };
        let separator = if hint.is_empty() { "" } else { ": " };
        SourceError::file(
            directory.display().to_string(),
            format!("cannot be read: {error}{separator}{hint}"),
        )
    };
    let metadata = fs::metadata(directory).map_err(|error| failed(&error))?;
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| failed(&error))? {
        let path = entry.map_err(|error| failed(&error))?.path();
        if !is_yaml(&path) {
            continue;
        }
        match fs::metadata(&path) {
            Ok(metadata) => files.push((path, stamp(&metadata))),
            // Removed meanwhile, or a link to nowhere: the latter is said when it is read.
            Err(_) if fs::symlink_metadata(&path).is_err() => {}
            Err(_) => files.push((path, Stamp::default())),
        }
        if files.len() > MAX_FILES {
            let message = format!("has more than {MAX_FILES} files: join some of them, separated by `---`");
            return Err(SourceError::file(directory.display().to_string(), message));
        }
    }
    files.sort();
    Ok(Listing {
        files,
        directory: (metadata.dev(), metadata.ino()),
    })
}

fn is_yaml(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden
        && path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    (
        metadata.dev(),
        metadata.ino(),
        metadata.size(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    )
}

/// Reads all files of a listing as text, with their names.
pub(crate) fn read_all(listing: &Listing) -> Result<Vec<(String, String)>, Errors> {
    let mut errors = Errors::default();
    let mut total = 0;
    let mut texts = Vec::with_capacity(listing.files.len());
    for (path, _) in &listing.files {
        match read(path) {
            Ok(text) => {
                total += u64::try_from(text.len()).unwrap_or(u64::MAX);
                texts.push((path.display().to_string(), text));
            }
            Err(error) => errors.push(error),
        }
        if total > MAX_TOTAL_BYTES {
            let message =
                format!("this and the files before it have more than {MAX_TOTAL_BYTES} bytes together");
            errors.push(SourceError::file(path.display().to_string(), message));
            break;
        }
    }
    if errors.is_empty() { Ok(texts) } else { Err(errors) }
}

/// Reads one file as text.
pub(crate) fn read(path: &Path) -> Result<String, SourceError> {
    let failed = |message: String| SourceError::file(path.display().to_string(), message);
    let unreadable = |error: io::Error| failed(format!("cannot be read: {error}"));
    // A pipe must not make us wait for its writer.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(failed("is not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(failed(format!("is larger than {MAX_FILE_BYTES} bytes: split it")));
    }
    String::from_utf8(bytes).map_err(|error| failed(format!("is not UTF-8: {}", error.utf8_error())))
}
