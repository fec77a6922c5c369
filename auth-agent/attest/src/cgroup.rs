//! The control group of a process, and the systemd unit that it lies in.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::str::FromStr;

use rustix::process::Pid;

use crate::attestor::AttestError;
use crate::proc;
use crate::way::{Known, WorkloadAttestor};
use crate::{Process, Selector};

/// Longest path that is taken, bytes (`PATH_MAX`).
const MAX_PATH: usize = 4096;
/// `/proc/PID/cgroup`: one line for the unified hierarchy, and at most a dozen for version 1.
const FILE_LIMIT: u64 = 64 * 1024;
/// Longest unit name (`UNIT_NAME_MAX` of systemd).
const MAX_UNIT: usize = 255;
/// What the kernel puts behind the path of a group that was removed.
const DELETED: &str = " (deleted)";

/// The path of a control group (version 2) from the root of its hierarchy, as `/proc/PID/cgroup` says it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupPath(Box<str>);

/// Not the path of a control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cgroup path must be `/`, or absolute, at most {MAX_PATH} bytes, without control characters, `//`, `.`, `..` or a trailing `/`"
)]
pub struct CgroupPathError;

/// The name of a systemd unit that has a control group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(Box<str>);

/// Not the name of such a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unit must be <name>.service, .scope, .socket, .mount or .swap, of letters, digits and `:-_.\\@`, at most {MAX_UNIT} bytes"
)]
pub struct UnitNameError;

impl CgroupPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The unit of the *system's* systemd that the group is of, or lies in: the first part of the path that is no slice, as
    /// `sd_pid_get_unit(3)` finds it. What a user's own systemd has put below `user@1000.service` is `user@1000.service`.
    pub fn unit(&self) -> Option<UnitName> {
        let mut parts = self.0.split('/').skip(1).map(unescape);
        parts.find(|part| !is_slice(part))?.parse().ok()
    }
}

/// Systemd puts `_` before what could be taken for a file of the kernel's (`cg_escape`).
fn unescape(part: &str) -> &str {
    part.strip_prefix('_').unwrap_or(part)
}

fn is_slice(part: &str) -> bool {
    part.strip_suffix(".slice").is_some_and(|name| !name.is_empty())
}

impl FromStr for CgroupPath {
    type Err = CgroupPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.strip_prefix('/').ok_or(CgroupPathError)?;
        let plain = parts.is_empty() || parts.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if plain && text.len() <= MAX_PATH && !text.contains(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err(CgroupPathError)
        }
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UnitName {
    type Err = UnitNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, kind) = text.rsplit_once('.').ok_or(UnitNameError)?;
        let known = matches!(kind, "service" | "scope" | "socket" | "mount" | "swap");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
        if known && !name.is_empty() && text.len() <= MAX_UNIT && name.bytes().all(plain) {
            Ok(Self(text.into()))
        } else {
            Err(UnitNameError)
        }
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Gives `cgroup:` and `systemd:` selectors.
#[derive(Clone, Copy, Debug)]
pub struct Cgroups;

impl WorkloadAttestor for Cgroups {
    fn attest(&self, process: &Process) -> Result<Known, AttestError> {
        if !process.is_exact {
            return Ok(Known::all([]));
        }
        let group = cgroup(process.pid).map_err(AttestError::Proc)?;
        let unit = group.as_ref().and_then(CgroupPath::unit);
        let unit = unit.map(Selector::SystemdUnit);
        Ok(Known::all(
            group.map(Selector::CgroupPath).into_iter().chain(unit),
        ))
    }
}

/// The control group of a process; nothing where there is no unified hierarchy, and for one that was removed, that lies
/// outside of our own cgroup namespace, or whose name is not text.
pub(crate) fn cgroup(pid: Pid) -> io::Result<Option<CgroupPath>> {
    let mut text = Vec::new();
    File::open(proc::path(pid, "cgroup"))?
        .take(FILE_LIMIT)
        .read_to_end(&mut text)?;
    Ok(parse(&text))
}

/// The unified hierarchy has number 0 and no controllers (cgroups(7)). The kernel refuses line feeds in names of groups.
fn parse(text: &[u8]) -> Option<CgroupPath> {
    let line = text
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"))?;
    let path = str::from_utf8(line).ok()?;
    if path.ends_with(DELETED) {
        return None;
    }
    path.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(path: &str) -> Option<String> {
        path.parse::<CgroupPath>()
            .unwrap()
            .unit()
            .map(|unit| unit.to_string())
    }

    #[test]
    fn the_unit_is_the_first_part_that_is_no_slice() {
        for (path, expected) in [
            ("/system.slice/web.service", Some("web.service")),
            (
                "/system.slice/system-getty.slice/getty@tty1.service",
                Some("getty@tty1.service"),
            ),
            ("/system.slice/web.service/workers/1", Some("web.service")),
            ("/init.scope", Some("init.scope")),
            (
                "/user.slice/user-1000.slice/session-3.scope",
                Some("session-3.scope"),
            ),
            ("/system.slice/_cpu.service", Some("cpu.service")),
            ("/system.slice", None),
            ("/", None),
            ("/kubepods/burstable/pod1", None),
            ("/lxc.payload/system.slice/web.service", None),
            ("/.slice/web.service", None),
        ] {
            assert_eq!(unit(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn what_a_user_names_in_its_own_part_of_the_tree_is_no_unit_of_the_system() {
        let own = "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service";
        assert_eq!(unit(own).as_deref(), Some("user@1000.service"));
    }

    #[test]
    fn the_unified_hierarchy_is_the_one_that_counts() {
        let both = b"1:name=systemd:/a.service\n0::/system.slice/web.service\n";
        assert_eq!(parse(both).unwrap().as_str(), "/system.slice/web.service");
        assert_eq!(parse(b"0::/\n").unwrap().as_str(), "/");
        for none in [
            &b"1:name=systemd:/a.service\n"[..],
            b"",
            b"0::/../outside\n",
            b"0::/gone (deleted)\n",
            b"0::/\xff\n",
            b"10::/a\n",
        ] {
            assert_eq!(parse(none), None);
        }
    }

    #[test]
    fn names_of_units_are_systemd_s() {
        for good in [
            "web.service",
            "a@b.service",
            "dev-sda1.swap",
            "x\\x2dy.mount",
            "docker-0f.scope",
        ] {
            assert_eq!(good.parse::<UnitName>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "web",
            ".service",
            "web.slice",
            "web.timer",
            "a b.service",
            "a/b.service",
            "wéb.service",
        ] {
            assert_eq!(bad.parse::<UnitName>(), Err(UnitNameError), "{bad}");
        }
        assert!(
            format!("{}.service", "a".repeat(248))
                .parse::<UnitName>()
                .is_err()
        );
    }
}
