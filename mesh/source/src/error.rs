//! What is wrong with a source, and where.

use std::fmt;

use thiserror::Error;

/// Most errors that are kept of one reading.
const MAX_ERRORS: usize = 100;

/// One thing that is wrong, with its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub struct SourceError {
    /// The file, or the directory.
    pub file: String,
    /// From 1; 0 where no line is to blame.
    pub line: u64,
    /// In characters, from 1; 0 where no column is to blame.
    pub column: u64,
    /// Path of the field, such as `spec.ingress[0].ports`; empty where no field is to blame.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl SourceError {
    /// Something that is wrong with a file as a whole.
    pub fn file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            field: String::new(),
            message: message.into(),
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        // Quoted from a file: it must not steer a terminal.
        let clean: String = self
            .message
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        write!(f, ": {clean}")
    }
}

/// Everything that is wrong, in the order of files and lines. At most 100 are kept, the others counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    list: Vec<SourceError>,
    more: usize,
}

impl Errors {
    /// Notes an error.
    pub fn push(&mut self, error: SourceError) {
        if self.list.len() < MAX_ERRORS {
            self.list.push(error);
        } else {
            self.more += 1;
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Those that were kept.
    pub fn iter(&self) -> impl Iterator<Item = &SourceError> {
        self.list.iter()
    }

    /// How many were not kept.
    pub fn more(&self) -> usize {
        self.more
    }

    /// A line for each, and one for those that were not kept.
    pub fn lines(&self) -> Vec<String> {
        let more = (self.more > 0).then(|| format!("and {} more errors", self.more));
        self.list.iter().map(ToString::to_string).chain(more).collect()
    }
}

impl Extend<SourceError> for Errors {
    fn extend<I: IntoIterator<Item = SourceError>>(&mut self, errors: I) {
        for error in errors {
            self.push(error);
        }
    }
}

impl From<SourceError> for Errors {
    fn from(error: SourceError) -> Self {
        Self {
            list: vec![error],
            more: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_file_line_column_field_and_message() {
        let error = SourceError {
            file: "a.yaml".into(),
            line: 6,
            column: 3,
            field: "spec.ingres".into(),
            message: "unknown\u{1b}[31m field".into(),
        };
        assert_eq!(error.to_string(), "a.yaml:6:3: spec.ingres: unknown [31m field");
        assert_eq!(
            SourceError::file("a.yaml", "too large").to_string(),
            "a.yaml: too large"
        );
    }

    #[test]
    fn a_flood_of_errors_is_counted_and_not_kept() {
        let mut errors = Errors::default();
        errors.extend((0..103).map(|n| SourceError::file("x", n.to_string())));
        assert_eq!((errors.iter().count(), errors.more()), (100, 3));
        assert_eq!(errors.lines().last().unwrap(), "and 3 more errors");
    }
}
