//! `SO_PEERGROUPS`: which supplementary groups the process at the other end had when it connected.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use nix::libc::{ERANGE, SO_PEERGROUPS, SOL_SOCKET, getsockopt, gid_t, socklen_t};

/// What most processes need at most.
const USUAL: usize = 64;
/// `NGROUPS_MAX` of linux/limits.h.
const MOST: usize = 65_536;

/// The groups, in the kernel's order. Linux 4.13.
///
/// # Errors
/// What the kernel says; none of them is about the groups themselves.
pub(crate) fn of_peer(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    match read(socket, USUAL) {
        Err(error) if error.raw_os_error() == Some(ERANGE) => read(socket, MOST),
        read => read,
    }
}

fn read(socket: &impl AsFd, room: usize) -> io::Result<Vec<u32>> {
    let mut groups: Vec<gid_t> = vec![0; room];
    let mut length = socklen_t::try_from(room * size_of::<gid_t>()).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "no crate asks for this option")]
    // SAFETY: the kernel writes at most `length` bytes to the vector, which has as many, and says in `length` how many it wrote
    // (net/core/sock.c, `sk_getsockopt`); every bit pattern is a group.
    let answer = unsafe {
        getsockopt(
            socket.as_fd().as_raw_fd(),
            SOL_SOCKET,
            SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    let count = usize::try_from(length).map_err(io::Error::other)? / size_of::<gid_t>();
    groups.truncate(count);
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A pair's peer is whoever made it: this very process.
    #[test]
    fn the_groups_are_those_of_the_process_at_the_other_end() {
        let (one, _other) = UnixStream::pair().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Groups:"));
        let mut own: Vec<u32> = line
            .unwrap()
            .split_whitespace()
            .map(|gid| gid.parse().unwrap())
            .collect();
        let mut told = of_peer(&one).unwrap();
        own.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, own);
    }

    #[test]
    fn too_little_room_is_said_and_not_written_beyond() {
        let (one, _other) = UnixStream::pair().unwrap();
        let all = of_peer(&one).unwrap();
        if !all.is_empty() {
            assert_eq!(read(&one, 0).unwrap_err().raw_os_error(), Some(ERANGE));
        }
        assert_eq!(read(&one, all.len()).unwrap(), all);
    }
}
