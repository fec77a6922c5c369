//! One reading of a directory.

use std::path::Path;

use signet_endpoints::Workload;

use crate::error::Errors;
use crate::files::{Listing, list, read_all};
use crate::set::Set;

/// How often a directory that changes under the reader is read again.
const ATTEMPTS: usize = 5;

/// What a directory held, and what tells whether it still does.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The set, or what is wrong.
    pub result: Result<Set, Errors>,
    /// Where something is wrong: the workloads whose documents are good. They are not in force; but whoever has no other
    /// set knows by them what to let nothing through to.
    pub found: Vec<Workload>,
    /// `None` where the directory could not be listed.
    pub(crate) listing: Option<Listing>,
}

/// Reads a directory as it was at one instant: should a file change while others are read, all are read again.
pub fn read_directory(directory: &Path) -> Reading {
    let mut reading = attempt(directory);
    for _ in 1..ATTEMPTS {
        if list(directory).ok() == reading.listing {
            break;
        }
        reading = attempt(directory);
    }
    reading
}

fn attempt(directory: &Path) -> Reading {
    let listing = match list(directory) {
        Ok(listing) => listing,
        Err(error) => {
            return Reading {
                result: Err(error.into()),
                found: Vec::new(),
                listing: None,
            };
        }
    };
    let parsed = match read_all(&listing) {
        Err(errors) => Err((errors, Vec::new())),
        Ok(files) => Set::parse_with_found(files.iter().map(|(name, text)| (name.as_str(), text.as_str()))),
    };
    let (result, found) = match parsed {
        Ok(set) => (Ok(set), Vec::new()),
        Err((errors, found)) => (Err(errors), found),
    };
    Reading {
        result,
        found,
        listing: Some(listing),
    }
}
