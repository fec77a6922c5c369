//! Selectors: what must be known of a workload before it gets an identity.

use std::fmt;
use std::str::FromStr;

use signet_spiffe::NodeName;

/// Longest path of an executable (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// Longest name of a systemd unit.
const MAX_UNIT: usize = 255;

/// Longest name of an endpoint (a DNS subdomain, RFC 1123).
const MAX_ENDPOINT: usize = 253;

/// A selector that an agent can understand. The CA reads no meaning into it beyond its syntax; each meaning has one
/// spelling, so that equal selectors are equal texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector(String);

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Not one of the known types.
    #[error(
        "a selector is one of unix:uid:<number>, unix:gid:<number>, unix:supplementary_gid:<number>, \
         unix:path:<absolute path>, unix:sha256:<64 hex digits>, unix:parent:path:<absolute path>, \
         cgroup:path:<absolute path>, systemd:unit:<unit>, endpoint:<namespace>/<name>"
    )]
    Type,
    /// Not a number in its shortest spelling.
    #[error("a user or group is a number from 0 to 4294967295 without leading zeros, not a name")]
    Number,
    /// Not an absolute path in its shortest spelling.
    #[error(
        "a path is absolute, at most {MAX_PATH} bytes, without control characters, empty parts, . and .."
    )]
    Path,
    /// Not a SHA-256.
    #[error("a SHA-256 has 64 hexadecimal digits in lower case")]
    Sha256,
    /// Not a unit that has a control group.
    #[error(
        "a unit is <name>.service, .scope, .socket, .mount or .swap, of letters, digits and `:-_.\\@`, at most {MAX_UNIT} bytes"
    )]
    Unit,
    /// Not an endpoint.
    #[error("an endpoint is <namespace>/<name>: a DNS label, and a DNS name")]
    Endpoint,
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let (kind, value) = split(text).ok_or(SelectorError::Type)?;
        let (valid, otherwise) = match kind {
            "unix:uid" | "unix:gid" | "unix:supplementary_gid" => (is_number(value), SelectorError::Number),
            "unix:path" => (is_path(value), SelectorError::Path),
            "unix:parent" => match value.split_once(':') {
                Some(("path", value)) => (is_path(value), SelectorError::Path),
                Some(_) | None => return Err(SelectorError::Type),
            },
            "cgroup:path" => (value == "/" || is_path(value), SelectorError::Path),
            "systemd:unit" => (is_unit(value), SelectorError::Unit),
            "unix:sha256" => (is_sha256(value), SelectorError::Sha256),
            "endpoint" => (is_endpoint(value), SelectorError::Endpoint),
            _ => return Err(SelectorError::Type),
        };
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(otherwise)
        }
    }
}

/// `unix`, `cgroup` and `systemd` have a second word, other types have one.
fn split(text: &str) -> Option<(&str, &str)> {
    let first = text.find(':')?;
    let colon = if ["unix", "cgroup", "systemd"].contains(&text.get(..first)?) {
        first + 1 + text.get(first + 1..)?.find(':')?
    } else {
        first
    };
    Some((text.get(..colon)?, text.get(colon + 1..)?))
}

fn is_number(value: &str) -> bool {
    value
        .parse::<u32>()
        .is_ok_and(|number| number.to_string() == value)
}

fn is_path(value: &str) -> bool {
    let Some(parts) = value.strip_prefix('/') else {
        return false;
    };
    value.len() <= MAX_PATH
        && !value.contains(char::is_control)
        && parts.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn is_sha256(value: &str) -> bool {
    value.len() == 64
        && value
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_unit(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    value.rsplit_once('.').is_some_and(|(name, kind)| {
        matches!(kind, "service" | "scope" | "socket" | "mount" | "swap")
            && !name.is_empty()
            && value.len() <= MAX_UNIT
            && name.bytes().all(plain)
    })
}

fn is_endpoint(value: &str) -> bool {
    let label = |text: &str| NodeName::parse(text).is_ok();
    value.split_once('/').is_some_and(|(namespace, name)| {
        label(namespace) && name.len() <= MAX_ENDPOINT && name.split('.').all(label)
    })
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> SelectorError {
        text.parse::<Selector>().expect_err(text)
    }

    #[test]
    fn each_type_has_its_syntax() {
        let sha = format!("unix:sha256:{}", "0f".repeat(32));
        for good in [
            "unix:uid:0",
            "unix:gid:4294967295",
            "unix:path:/usr/bin/a b",
            "unix:path:/a:b",
            "unix:supplementary_gid:27",
            "unix:parent:path:/usr/sbin/cron",
            "cgroup:path:/",
            "cgroup:path:/system.slice/web.service",
            "systemd:unit:web@1.service",
            &sha,
            "endpoint:shop/web",
            "endpoint:shop/web-0.example",
        ] {
            assert_eq!(good.parse::<Selector>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "unix",
            "unix:uid",
            "uid:1",
            "unix:name:x",
            "unix:parent:uid:1",
            "unix:parent:x",
            "cgroup:x",
            "systemd:slice:a.slice",
            "k8s:sa:x",
            "Endpoint:a/b",
            "unix::",
        ] {
            assert_eq!(refusal(bad), SelectorError::Type, "{bad}");
        }
        for bad in [
            "unix:uid:",
            "unix:uid:-1",
            "unix:uid:01",
            "unix:uid:+1",
            "unix:gid:4294967296",
            "unix:uid:root",
        ] {
            assert_eq!(refusal(bad), SelectorError::Number, "{bad}");
        }
        let long = format!("unix:path:/{}", "a".repeat(4096));
        for bad in [
            "unix:path:",
            "unix:path:a",
            "unix:path:/",
            "unix:path:/a/",
            "unix:path:/a//b",
            "unix:path:/a/../b",
            "unix:path:/a\nunix:uid:0",
            &long,
        ] {
            assert_eq!(refusal(bad), SelectorError::Path, "{bad}");
        }
        for bad in [
            sha.to_uppercase().replace("UNIX:SHA256", "unix:sha256"),
            format!("{sha}0"),
            "unix:sha256:".into(),
        ] {
            assert_eq!(refusal(&bad), SelectorError::Sha256, "{bad}");
        }
        for bad in [
            "systemd:unit:web",
            "systemd:unit:.service",
            "systemd:unit:a b.service",
            "systemd:unit:a.timer",
        ] {
            assert_eq!(refusal(bad), SelectorError::Unit, "{bad}");
        }
        assert_eq!(refusal("cgroup:path:/a/.."), SelectorError::Path);
        assert_eq!(refusal("unix:parent:path:sh"), SelectorError::Path);
        for bad in [
            "endpoint:",
            "endpoint:web",
            "endpoint:a/b/c",
            "endpoint:A/b",
            "endpoint:/b",
            "endpoint:a/",
            "endpoint:a/b..c",
        ] {
            assert_eq!(refusal(bad), SelectorError::Endpoint, "{bad}");
        }
    }
}
