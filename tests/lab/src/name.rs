//! Names that are safe to put into namespaces, paths and interfaces.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a lab name.
    #[error("`{0}` is not a lab name: 1 to 16 lower-case letters and digits, a letter first")]
    Lab(String),
    /// Not the name of a node or workload.
    #[error(
        "`{0}` is not a name: 1 to 63 lower-case letters, digits and dashes, a letter first, no dash last"
    )]
    Label(String),
    /// A name that the lab itself uses.
    #[error("`{0}` is a name that the lab uses itself; choose another")]
    Reserved(String),
}

/// A lab's name. No dashes, so that `sg-<lab>-<place>` can be taken apart again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabName(String);

impl LabName {
    /// Checks a name.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        let rest = name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if first && rest && name.len() <= 16 {
            Ok(Self(name.to_owned()))
        } else {
            Err(NameError::Lab(name.to_owned()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for LabName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(&name)
    }
}

impl From<LabName> for String {
    fn from(name: LabName) -> Self {
        name.0
    }
}

/// Names of places and folders that a lab makes besides its nodes and workloads.
const RESERVED: [&str; 4] = ["ca", "net", "config", "logs"];

/// Checks the name of a node or workload.
pub(crate) fn check_place(name: &str) -> Result<(), NameError> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let rest = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !first || !rest || name.len() > 63 || name.ends_with('-') {
        return Err(NameError::Label(name.to_owned()));
    }
    if RESERVED.contains(&name) {
        return Err(NameError::Reserved(name.to_owned()));
    }
    Ok(())
}

/// An interface name of at most 15 bytes (Linux' IFNAMSIZ): the prefix and the name, or as much of it as fits and a
/// hash of the whole.
pub(crate) fn interface_name(prefix: &str, name: &str) -> String {
    let room = 15_usize.saturating_sub(prefix.len());
    if name.len() <= room {
        return format!("{prefix}{name}");
    }
    // FNV-1a, folded to 16 bits: stable between runs, and only apart from neighbours, not secret.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let folded = (hash >> 16) ^ (hash & 0xffff);
    let kept: String = name.chars().take(room.saturating_sub(4)).collect();
    format!("{prefix}{kept}{folded:04x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_name_has_no_dash_so_that_namespaces_of_two_labs_never_share_a_prefix() {
        assert!(LabName::parse("demo2").is_ok());
        for bad in ["", "a-b", "2x", "Demo", "abcdefghijklmnopq", "a/b", "."] {
            assert_eq!(LabName::parse(bad), Err(NameError::Lab(bad.to_owned())));
        }
    }

    #[test]
    fn places_are_dns_labels_and_not_the_labs_own_names() {
        assert!(check_place("web-1").is_ok());
        assert_eq!(check_place("ca"), Err(NameError::Reserved("ca".to_owned())));
        for bad in ["", "1a", "a.", "a_b", "web-", "../x"] {
            assert_eq!(check_place(bad), Err(NameError::Label(bad.to_owned())));
        }
    }

    #[test]
    fn interface_names_fit_and_long_ones_stay_apart() {
        assert_eq!(interface_name("sgv-", "web"), "sgv-web");
        let one = interface_name("sgv-", "frontend-service-one");
        let two = interface_name("sgv-", "frontend-service-two");
        assert_eq!((one.len(), two.len()), (15, 15));
        assert_ne!(one, two);
    }
}
