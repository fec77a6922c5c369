//! Labels of workloads, and the selectors that look at them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::name::Name;

/// Longest label name and label value, characters.
const MAX_LABEL: usize = 63;

/// Why a text is not a label's key or value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelError {
    /// The prefix before the slash is no DNS name.
    #[error("the part before '/' is not a DNS name")]
    Prefix,
    /// The key has nothing behind its slash, or is empty.
    #[error("the key is empty: write a name such as \"app\"")]
    Empty,
    /// Longer than allowed.
    #[error("{0} characters are too many: at most {MAX_LABEL} are allowed")]
    TooLong(usize),
    /// Something else than letters, digits, '-', '_' and '.', or one of those three at an end.
    #[error("use letters, digits, '-', '_' and '.', with a letter or digit at both ends")]
    Character,
}

/// A label's key, `[prefix/]name`, as Kubernetes writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelKey(Arc<str>);

/// A label's value; may be empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelValue(Arc<str>);

impl LabelKey {
    /// Parses `[prefix/]name`.
    pub fn parse(text: &str) -> Result<Self, LabelError> {
        let name = match text.split_once('/') {
            Some((prefix, name)) => {
                Name::parse(prefix).map_err(|_| LabelError::Prefix)?;
                name
            }
            None => text,
        };
        if name.is_empty() {
            return Err(LabelError::Empty);
        }
        check(name)?;
        Ok(Self(text.into()))
    }

    /// The key as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LabelValue {
    /// Parses a value.
    pub fn parse(text: &str) -> Result<Self, LabelError> {
        if !text.is_empty() {
            check(text)?;
        }
        Ok(Self(text.into()))
    }

    /// The value as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str) -> Result<(), LabelError> {
    if text.len() > MAX_LABEL {
        return Err(LabelError::TooLong(text.len()));
    }
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: char| c.is_ascii_alphanumeric();
    if text.chars().all(inner) && text.starts_with(edge) && text.ends_with(edge) {
        Ok(())
    } else {
        Err(LabelError::Character)
    }
}

/// Labels of a workload, or the `matchLabels` of a selector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<LabelKey, LabelValue>);

impl Labels {
    /// Whether all of `wanted` are among these, with the same values. Nothing wanted: always.
    pub fn contain(&self, wanted: &Self) -> bool {
        wanted.0.iter().all(|(key, value)| self.0.get(key) == Some(value))
    }

    /// The pairs in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&LabelKey, &LabelValue)> {
        self.0.iter()
    }
}

impl FromIterator<(LabelKey, LabelValue)> for Labels {
    fn from_iter<I: IntoIterator<Item = (LabelKey, LabelValue)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}={}", key.as_str(), value.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| (LabelKey::parse(k).unwrap(), LabelValue::parse(v).unwrap()))
            .collect()
    }

    #[test]
    fn keys_and_values_follow_the_rules_of_kubernetes() {
        assert!(LabelKey::parse("app.kubernetes.io/name").is_ok());
        assert!(LabelKey::parse("App_1").is_ok());
        assert_eq!(LabelKey::parse(""), Err(LabelError::Empty));
        assert_eq!(LabelKey::parse("x/"), Err(LabelError::Empty));
        assert_eq!(LabelKey::parse("X/y"), Err(LabelError::Prefix));
        assert_eq!(LabelKey::parse("a b"), Err(LabelError::Character));
        assert_eq!(LabelKey::parse("-a"), Err(LabelError::Character));
        assert_eq!(LabelKey::parse(&"a".repeat(64)), Err(LabelError::TooLong(64)));
        assert!(LabelValue::parse("").is_ok());
        assert_eq!(LabelValue::parse("a/b"), Err(LabelError::Character));
    }

    #[test]
    fn a_selector_wants_every_one_of_its_pairs() {
        let web = labels(&[("app", "web"), ("tier", "front")]);
        assert!(web.contain(&labels(&[])));
        assert!(web.contain(&labels(&[("app", "web")])));
        assert!(!web.contain(&labels(&[("app", "api")])));
        assert!(!web.contain(&labels(&[("app", "web"), ("zone", "a")])));
        assert_eq!(web.to_string(), "app=web,tier=front");
    }
}
