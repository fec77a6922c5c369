//! Inputs that are tried first ever after: what broke something once, and what was interesting otherwise.

use std::fmt;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::PathBuf;

/// What became of an input when it was written down, and has to become of it still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Expected {
    Accepted,
    Refused,
}

impl Expected {
    fn prefix(self) -> &'static str {
        match self {
            Self::Accepted => "accepted-",
            Self::Refused => "refused-",
        }
    }
}

/// The folder of one target.
#[derive(Debug)]
pub(crate) struct Corpus(PathBuf);

impl fmt::Display for Corpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Corpus {
    pub(crate) fn new(crate_folder: &str, target: &str) -> Self {
        Self([crate_folder, "fuzz-corpus", target].iter().collect())
    }

    /// All of them, always in the same order. Those that broke something may be accepted or refused since.
    pub(crate) fn inputs(&self) -> Vec<(Option<Expected>, Vec<u8>)> {
        let Ok(entries) = fs::read_dir(&self.0) else {
            return Vec::new();
        };
        let expected = |name: &str| {
            let all = [Expected::Accepted, Expected::Refused];
            all.into_iter().find(|one| name.starts_with(one.prefix()))
        };
        let mut inputs: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                Some((expected(&name), fs::read(entry.path()).ok()?))
            })
            .collect();
        inputs.sort();
        inputs
    }

    /// Writes an input down; says where.
    pub(crate) fn keep(&self, expected: Option<Expected>, input: &[u8]) -> io::Result<PathBuf> {
        let mut hasher = DefaultHasher::new();
        input.hash(&mut hasher);
        let prefix = expected.map_or("", Expected::prefix);
        let path = self.0.join(format!("{prefix}{:016x}", hasher.finish()));
        fs::create_dir_all(&self.0)?;
        fs::write(&path, input)?;
        Ok(path)
    }
}
