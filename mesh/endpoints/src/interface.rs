//! Network interfaces of this node.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use thiserror::Error;

/// Longest interface name, bytes (`IFNAMSIZ` without its NUL).
const MAX_NAME: usize = 15;

/// A text is not an interface's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this is not an interface name: write 1 to 15 characters without '/', ':' or blanks")]
pub struct InterfaceNameError;

/// A name that the kernel accepts for an interface (net/core/dev.c, `dev_valid_name`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(Arc<str>);

impl InterfaceName {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, InterfaceNameError> {
        let plain = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
        if text.is_empty() || text.len() > MAX_NAME || text == "." || text == ".." || !text.chars().all(plain)
        {
            return Err(InterfaceNameError);
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The kernel's number of an interface; never 0. An interface that is made again has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ifindex(NonZeroU32);

impl Ifindex {
    /// Takes a number that is not 0.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Ifindex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_kernel_takes() {
        for good in ["eth0", "sgv-web", "a.b", "123456789012345"] {
            assert_eq!(InterfaceName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "1234567890123456", "é"] {
            assert_eq!(InterfaceName::parse(bad), Err(InterfaceNameError), "{bad:?}");
        }
    }
}
