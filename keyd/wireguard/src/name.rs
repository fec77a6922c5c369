//! Names of network interfaces.

use std::fmt;
use std::str::FromStr;

/// A valid interface name: 1 to 15 bytes (`IFNAMSIZ` less the final zero), without `/`, `:` and white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceName(String);

/// Text that cannot name an interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot name an interface: use 1 to 15 letters, digits, '-', '_' or '.'")]
pub struct DeviceNameError(String);

impl FromStr for DeviceName {
    type Err = DeviceNameError;

    fn from_str(text: &str) -> Result<Self, DeviceNameError> {
        // Narrower than the kernel's own rule: the name becomes part of a path under /proc/sys.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let dots = text.bytes().all(|byte| byte == b'.');
        if text.is_empty() || text.len() > 15 || dots || !text.bytes().all(allowed) {
            return Err(DeviceNameError(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl DeviceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_cannot_leave_their_directory_pass() {
        assert!("sgwg0".parse::<DeviceName>().is_ok());
        for bad in [
            "",
            "..",
            ".",
            "a/b",
            "a b",
            "sixteen-letters!",
            "abcdefghijklmnop",
        ] {
            assert!(bad.parse::<DeviceName>().is_err(), "{bad}");
        }
    }
}
