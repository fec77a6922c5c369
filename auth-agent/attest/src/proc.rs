//! The small files of `/proc/PID`.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use rustix::process::Pid;

use crate::NetnsInode;

/// `/proc/PID/status` is about 1.5 KiB; a list of 65536 supplementary groups makes it longer, and comes after what we read.
const STATUS_LIMIT: u64 = 4096;

/// Effective user and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

pub(crate) fn path(pid: Pid, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{file}", pid.as_raw_nonzero()))
}

pub(crate) fn credentials(pid: Pid) -> io::Result<Credentials> {
    let mut status = Vec::new();
    File::open(path(pid, "status"))?
        .take(STATUS_LIMIT)
        .read_to_end(&mut status)?;
    parse_status(&status)
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
    })
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
        assert_eq!(parse_status(status), Some(Credentials { uid: 2, gid: 6 }));
        assert_eq!(parse_status(b"Name:\tx\nUid:\t1\t2\t3\t4\n"), None);
        assert_eq!(parse_status(b"Uid:\t1\nGid:\t5\t6\t7\t8\n"), None);
        assert_eq!(parse_status(b"Uid:\t1\t-2\t3\t4\nGid:\t5\t6\t7\t8\n"), None);
        assert_eq!(parse_status(b""), None);
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
