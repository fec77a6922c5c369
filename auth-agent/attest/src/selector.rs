use std::fmt;
use std::str::FromStr;

use crate::cgroup::{CgroupPath, CgroupPathError, UnitName, UnitNameError};
use crate::endpoint::{EndpointName, EndpointNameError};

/// Longest path that is taken as a selector, bytes (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// One thing that is known of a workload, or asked of it: `type:value`.
///
/// ```
/// use signet_attest::Selector;
/// let selector: Selector = "unix:uid:1000".parse()?;
/// assert_eq!(selector, Selector::UnixUid(1000));
/// assert_eq!(selector.to_string(), "unix:uid:1000");
/// # Ok::<(), signet_attest::ParseSelectorError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// `unix:uid:<u32>`, effective user.
    UnixUid(u32),
    /// `unix:gid:<u32>`, effective group; supplementary groups do not count.
    UnixGid(u32),
    /// `unix:supplementary_gid:<u32>`, one of the supplementary groups.
    UnixSupplementaryGid(u32),
    /// `unix:path:<absolute path>` of the executable.
    UnixPath(UnixPath),
    /// `unix:sha256:<64 hexadecimal digits>` of the executable's content.
    UnixSha256(Sha256),
    /// `unix:parent:path:<absolute path>` of the executable of one of the processes above it, the parent's or one further
    /// up, to the eighth.
    UnixParentPath(UnixPath),
    /// `cgroup:path:<absolute path>` of its control group (version 2).
    CgroupPath(CgroupPath),
    /// `systemd:unit:<unit>` that its control group lies in.
    SystemdUnit(UnitName),
    /// `endpoint:<namespace>/<name>` of the workload endpoint whose network namespace the process is in.
    Endpoint(EndpointName),
}

/// Why a text is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSelectorError {
    /// Not one of the known types.
    #[error(
        "unknown selector type; use unix:uid:<n>, unix:gid:<n>, unix:supplementary_gid:<n>, unix:path:<absolute path>, \
         unix:sha256:<64 hex digits>, unix:parent:path:<absolute path>, cgroup:path:<absolute path>, \
         systemd:unit:<unit> or endpoint:<namespace>/<name>"
    )]
    UnknownType,
    /// Not a decimal u32 in its shortest form.
    #[error("user and group must be a number from 0 to 4294967295, without sign or leading zero")]
    Number,
    /// Not an absolute path in its shortest form.
    #[error(
        "path must be absolute, at most 4096 bytes, without control characters, `//`, `.`, `..` or a trailing `/`"
    )]
    Path,
    /// Not a SHA-256 digest.
    #[error("sha256 must be 64 lowercase hexadecimal digits")]
    Sha256,
    /// Not a control group.
    #[error(transparent)]
    Cgroup(#[from] CgroupPathError),
    /// Not a unit.
    #[error(transparent)]
    Unit(#[from] UnitNameError),
    /// Not an endpoint.
    #[error("endpoint must be <namespace>/<name>")]
    Endpoint(#[from] EndpointNameError),
}

impl FromStr for Selector {
    type Err = ParseSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(endpoint) = text.strip_prefix("endpoint:") {
            return Ok(Self::Endpoint(endpoint.parse()?));
        }
        if let Some(path) = text.strip_prefix("cgroup:path:") {
            return Ok(Self::CgroupPath(path.parse()?));
        }
        if let Some(unit) = text.strip_prefix("systemd:unit:") {
            return Ok(Self::SystemdUnit(unit.parse()?));
        }
        if let Some(path) = text.strip_prefix("unix:parent:path:") {
            return Ok(Self::UnixParentPath(path.parse()?));
        }
        let unix = text
            .strip_prefix("unix:")
            .ok_or(ParseSelectorError::UnknownType)?;
        match unix.split_once(':') {
            Some(("uid", value)) => Ok(Self::UnixUid(number(value)?)),
            Some(("gid", value)) => Ok(Self::UnixGid(number(value)?)),
            Some(("supplementary_gid", value)) => Ok(Self::UnixSupplementaryGid(number(value)?)),
            Some(("path", value)) => Ok(Self::UnixPath(value.parse()?)),
            Some(("sha256", value)) => Ok(Self::UnixSha256(value.parse()?)),
            Some(_) | None => Err(ParseSelectorError::UnknownType),
        }
    }
}

/// One text per number, so that equal selectors are equal texts everywhere.
fn number(text: &str) -> Result<u32, ParseSelectorError> {
    let number: u32 = text.parse().map_err(|_| ParseSelectorError::Number)?;
    if number.to_string() == text {
        Ok(number)
    } else {
        Err(ParseSelectorError::Number)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnixUid(uid) => write!(f, "unix:uid:{uid}"),
            Self::UnixGid(gid) => write!(f, "unix:gid:{gid}"),
            Self::UnixPath(path) => write!(f, "unix:path:{path}"),
            Self::UnixSha256(digest) => write!(f, "unix:sha256:{digest}"),
            Self::UnixSupplementaryGid(gid) => write!(f, "unix:supplementary_gid:{gid}"),
            Self::UnixParentPath(path) => write!(f, "unix:parent:path:{path}"),
            Self::CgroupPath(path) => write!(f, "cgroup:path:{path}"),
            Self::SystemdUnit(unit) => write!(f, "systemd:unit:{unit}"),
            Self::Endpoint(name) => write!(f, "endpoint:{name}"),
        }
    }
}

/// An absolute path in its shortest form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixPath(Box<str>);

impl UnixPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UnixPath {
    type Err = ParseSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let segments = text.strip_prefix('/').ok_or(ParseSelectorError::Path)?;
        let plain = segments
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | ".."));
        if plain && text.len() <= MAX_PATH && !text.contains(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err(ParseSelectorError::Path)
        }
    }
}

impl fmt::Display for UnixPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// A digest that was computed.
    pub fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl FromStr for Sha256 {
    type Err = ParseSelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut digest = [0; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != digest.len() || !rest.is_empty() {
            return Err(ParseSelectorError::Sha256);
        }
        for (byte, &[high, low]) in digest.iter_mut().zip(pairs) {
            *byte = (nibble(high)? << 4) | nibble(low)?;
        }
        Ok(Self(digest))
    }
}

fn nibble(digit: u8) -> Result<u8, ParseSelectorError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(ParseSelectorError::Sha256),
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn every_type_reads_back_as_it_was_written() {
        for text in [
            "unix:uid:0",
            "unix:uid:4294967295",
            "unix:gid:1000",
            "unix:path:/usr/bin/x",
            "unix:path:/opt/with space:and colon",
            "unix:supplementary_gid:27",
            "unix:parent:path:/usr/sbin/cron",
            "cgroup:path:/",
            "cgroup:path:/system.slice/web.service",
            "systemd:unit:web@1.service",
            "endpoint:shop/web",
            "endpoint:shop/web.0",
        ] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
        let digest = format!("unix:sha256:{DIGEST}");
        assert_eq!(digest.parse::<Selector>().unwrap().to_string(), digest);
    }

    #[test]
    fn what_has_no_single_meaning_is_refused() {
        for (text, error) in [
            ("", ParseSelectorError::UnknownType),
            ("unix:", ParseSelectorError::UnknownType),
            ("unix:uid", ParseSelectorError::UnknownType),
            ("Unix:uid:1", ParseSelectorError::UnknownType),
            ("k8s:ns:default", ParseSelectorError::UnknownType),
            ("unix:parent:uid:1", ParseSelectorError::UnknownType),
            ("systemd:slice:a.slice", ParseSelectorError::UnknownType),
            ("unix:supplementary_gid:-1", ParseSelectorError::Number),
            ("unix:parent:path:sh", ParseSelectorError::Path),
            ("cgroup:path:/a/../b", ParseSelectorError::Cgroup(CgroupPathError)),
            ("cgroup:path:/a/", ParseSelectorError::Cgroup(CgroupPathError)),
            ("systemd:unit:web", ParseSelectorError::Unit(UnitNameError)),
            ("unix:uid:", ParseSelectorError::Number),
            ("unix:uid:+1", ParseSelectorError::Number),
            ("unix:uid:01", ParseSelectorError::Number),
            ("unix:uid:-1", ParseSelectorError::Number),
            ("unix:uid:1 ", ParseSelectorError::Number),
            ("unix:gid:4294967296", ParseSelectorError::Number),
            ("unix:path:", ParseSelectorError::Path),
            ("unix:path:/", ParseSelectorError::Path),
            ("unix:path:bin/x", ParseSelectorError::Path),
            ("unix:path:/usr//bin/x", ParseSelectorError::Path),
            ("unix:path:/usr/../bin/x", ParseSelectorError::Path),
            ("unix:path:/usr/./x", ParseSelectorError::Path),
            ("unix:path:/usr/bin/", ParseSelectorError::Path),
            ("unix:path:/usr/\n", ParseSelectorError::Path),
            ("unix:path:/usr/\0", ParseSelectorError::Path),
            ("unix:sha256:", ParseSelectorError::Sha256),
            ("unix:sha256:00", ParseSelectorError::Sha256),
        ] {
            assert_eq!(text.parse::<Selector>(), Err(error), "{text:?}");
        }
        assert!(
            format!("unix:path:/{}", "x".repeat(MAX_PATH))
                .parse::<Selector>()
                .is_err()
        );
        assert!(
            format!("unix:sha256:{}", DIGEST.to_uppercase())
                .parse::<Selector>()
                .is_err()
        );
        assert!(format!("unix:sha256:{DIGEST}0").parse::<Selector>().is_err());
        assert!("endpoint:web".parse::<Selector>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_reads_back_as_itself(text in "(unix:|endpoint:|cgroup:|systemd:)?(uid:|path:/|gid:|unit:)?\\PC{0,40}") {
            if let Ok(selector) = text.parse::<Selector>() {
                prop_assert_eq!(selector.to_string(), text);
            }
        }
    }
}
