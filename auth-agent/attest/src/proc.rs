//! The small files of `/proc/PID`.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use rustix::process::Pid;

use crate::NetnsInode;

/// `/proc/PID/status` is about 1.5 KiB; a list of 65536 supplementary groups makes it longer.
const STATUS_LIMIT: u64 = 64 * 1024;

/// Most supplementary groups that are told; of a process that has more, none is.
pub(crate) const MAX_GROUPS: usize = 1024;

/// Effective user and group, and supplementary groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

pub(crate) fn path(pid: Pid, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{file}", pid.as_raw_nonzero()))
}

fn status(pid: Pid) -> io::Result<Vec<u8>> {
    let mut status = Vec::new();
    File::open(path(pid, "status"))?
        .take(STATUS_LIMIT)
        .read_to_end(&mut status)?;
    Ok(status)
}

pub(crate) fn credentials(pid: Pid) -> io::Result<Credentials> {
    parse_status(&status(pid)?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no Uid and Gid in /proc/PID/status"))
}

/// Lines `Uid:` and `Gid:` list real, effective, saved and filesystem ID (`proc_pid_status(5)`).
///
/// The first line is `Name:`, which the process chooses; the kernel escapes line feeds in it.
fn parse_status(status: &[u8]) -> Option<Credentials> {
    let effective = |key: &[u8]| -> Option<u32> {
        let line = status
            .split(|byte| *byte == b'\n')
            .find_map(|line| line.strip_prefix(key))?;
        str::from_utf8(line)
            .ok()?
            .split_ascii_whitespace()
            .nth(1)?
            .parse()
            .ok()
    };
    Some(Credentials {
        uid: effective(b"Uid:")?,
        gid: effective(b"Gid:")?,
        groups: parse_groups(status).unwrap_or_default(),
    })
}

/// The line `Groups:`; nothing of one that is cut off, too long or damaged.
fn parse_groups(status: &[u8]) -> Option<Vec<u32>> {
    // Whole lines end with a line feed.
    let lines = status.split_inclusive(|byte| *byte == b'\n');
    let line = lines
        .filter_map(|line| line.strip_suffix(b"\n"))
        .find_map(|line| line.strip_prefix(b"Groups:"))?;
    let groups = str::from_utf8(line).ok()?.split_ascii_whitespace();
    let groups: Vec<u32> = groups.map(|group| group.parse().ok()).collect::<Option<_>>()?;
    (groups.len() <= MAX_GROUPS).then_some(groups)
}

/// The parent (`PPid:`); nothing for one that is of another PID namespace, or none.
pub(crate) fn parent(pid: Pid) -> io::Result<Option<Pid>> {
    Ok(parse_parent(&status(pid)?))
}

fn parse_parent(status: &[u8]) -> Option<Pid> {
    let line = status
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"PPid:"))?;
    let number: i32 = str::from_utf8(line).ok()?.trim_ascii().parse().ok()?;
    Pid::from_raw(number.max(0))
}

pub(crate) fn netns(pid: Pid) -> io::Result<Option<NetnsInode>> {
    let stat = rustix::fs::stat(path(pid, "ns/net"))?;
    Ok(NetnsInode::new(stat.st_ino))
}

/// The PID namespace, by what the file system says of it.
pub(crate) fn pid_namespace(pid: Pid) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::stat(path(pid, "ns/pid"))?;
    Ok((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_ids_are_read_whatever_the_name_is() {
        let status = b"Name:\tUid:\\n\xff\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9\n";
        let groups = vec![9];
        assert_eq!(
            parse_status(status),
            Some(Credentials {
                uid: 2,
                gid: 6,
                groups
            })
        );
        assert_eq!(parse_status(b"Name:\tx\nUid:\t1\t2\t3\t4\n"), None);
        assert_eq!(parse_status(b"Uid:\t1\nGid:\t5\t6\t7\t8\n"), None);
        assert_eq!(parse_status(b"Uid:\t1\t-2\t3\t4\nGid:\t5\t6\t7\t8\n"), None);
        assert_eq!(parse_status(b""), None);
    }

    #[test]
    fn groups_are_told_if_all_of_them_can_be() {
        let groups = |text: &str| parse_groups(text.as_bytes());
        assert_eq!(
            groups("Gid:\t1\nGroups:\t4 24 1000 \nNStgid:\t1\n"),
            Some(vec![4, 24, 1000])
        );
        assert_eq!(groups("Groups:\t \n"), Some(vec![]));
        for bad in [
            "Groups:\t4 2",
            "Groups:\t4 x\n",
            "Groups:\t-1\n",
            "Name:\tGroups: 4\n",
            "",
        ] {
            assert_eq!(groups(bad), None, "{bad:?}");
        }
        let many = |count: usize| format!("Groups:\t{}\n", "7 ".repeat(count));
        assert_eq!(groups(&many(MAX_GROUPS)).unwrap().len(), MAX_GROUPS);
        assert_eq!(groups(&many(MAX_GROUPS + 1)), None);
    }

    #[test]
    fn the_parent_of_the_first_process_is_nobody() {
        assert_eq!(parse_parent(b"Name:\tPPid:\\n7\nPPid:\t12\n"), Pid::from_raw(12));
        for none in [&b"PPid:\t0\n"[..], b"PPid:\t-4\n", b"PPid:\t\n", b""] {
            assert_eq!(parse_parent(none), None);
        }
    }

    #[test]
    fn our_own_network_namespace_is_the_one_that_the_link_names() {
        let link = std::fs::read_link("/proc/self/ns/net").unwrap();
        let inode = link
            .to_str()
            .unwrap()
            .trim_start_matches("net:[")
            .trim_end_matches(']');
        let own = netns(rustix::process::getpid()).unwrap();
        assert_eq!(own, NetnsInode::new(inode.parse().unwrap()));
    }
}
