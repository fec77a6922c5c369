//! Watches the wire: every packet on a namespace's interfaces, by an `AF_PACKET` socket.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};

use crate::net::within;

/// UDP port of Signet's `WireGuard`.
const TUNNEL_PORT: u16 = 51871;
/// Larger than any packet of a lab, super-packets of segmentation offload included.
const PACKET: usize = 128 * 1024;
/// How often the thread looks whether it should end.
const POLL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Packets in all, each counted at every interface that it passed.
    pub packets: u64,
    /// Packets to or from the tunnel's UDP port.
    pub tunnel: u64,
    /// Packets in which the text stood.
    pub with_text: u64,
    /// Packets between workloads that were readable as such: an inner address range on the outside.
    pub plain_pod: u64,
    /// One packet with the text, from its IP header on.
    pub example: Option<Vec<u8>>,
}

/// A capture that runs.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Seen>>,
}

impl Capture {
    /// Begins to watch all interfaces of a namespace for a text, or for any bytes. What passes after this returns is seen.
    pub fn start(netns: &Path, text: impl AsRef<[u8]>) -> io::Result<Self> {
        let socket = within(netns, open)??;
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, text) = (Arc::clone(&stop), text.as_ref().to_vec());
        let thread = std::thread::spawn(move || watch(&socket, &flag, &text));
        Ok(Self { stop, thread })
    }

    /// Ends the capture.
    pub fn stop(self) -> io::Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the capture panicked")))
    }
}

/// packet(7): all protocols, link-layer header included.
fn open() -> io::Result<OwnedFd> {
    let every = std::num::NonZeroU32::new(u32::from(0x0003_u16.to_be())).map(Protocol::from_raw);
    Ok(socket_with(
        AddressFamily::PACKET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        every,
    )?)
}

fn watch(socket: &OwnedFd, stop: &AtomicBool, text: &[u8]) -> io::Result<Seen> {
    let mut seen = Seen::default();
    let mut buffer = vec![0_u8; PACKET];
    loop {
        // Asked before the look at the queue: what arrived before `stop` is still read.
        let last = stop.load(Ordering::Relaxed);
        loop {
            match recv(socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((length, _)) => seen.note(buffer.get(..length).unwrap_or_default(), text),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR | Errno::NETDOWN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if last {
            return Ok(seen);
        }
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&POLL)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Seen {
    /// Looks at one Ethernet frame.
    fn note(&mut self, frame: &[u8], text: &[u8]) {
        self.packets += 1;
        let Some(packet) = frame.get(14..) else { return };
        let (udp, pod) = classify(packet);
        self.tunnel += u64::from(udp);
        self.plain_pod += u64::from(pod);
        if !text.is_empty() && packet.windows(text.len()).any(|window| window == text) {
            self.with_text += 1;
            self.example.get_or_insert_with(|| packet.to_vec());
        }
    }
}

/// Whether an IP packet is the tunnel's, and whether it is plainly from one workload to another.
fn classify(packet: &[u8]) -> (bool, bool) {
    let udp_at = |offset: usize| {
        let port = |at: usize| {
            packet
                .get(at..at + 2)
                .map(|port| u16::from_be_bytes([port[0], port[1]]))
        };
        port(offset) == Some(TUNNEL_PORT) || port(offset + 2) == Some(TUNNEL_PORT)
    };
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => {
            let header = usize::from(packet[0] & 0x0f) * 4;
            let udp = packet.get(9) == Some(&17) && udp_at(header);
            (
                udp,
                packet.get(12..14) == Some(&[10, 244]) && packet.get(16..18) == Some(&[10, 244]),
            )
        }
        Some(6) => {
            let pod = [0xfd, 0x00, 0x02, 0x44];
            let udp = packet.get(6) == Some(&17) && udp_at(40);
            (
                udp,
                packet.get(8..12) == Some(&pod) && packet.get(24..28) == Some(&pod),
            )
        }
        _ => (false, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(packet: &[u8]) -> Vec<u8> {
        [vec![0; 14], packet.to_vec()].concat()
    }

    #[test]
    fn a_packet_between_workloads_is_told_from_a_tunnel_packet() {
        let mut plain = vec![0x45; 1];
        plain.resize(20, 0);
        plain[9] = 6;
        plain[12..14].copy_from_slice(&[10, 244]);
        plain[16..18].copy_from_slice(&[10, 244]);
        plain.extend_from_slice(b"....the secret....");
        let mut tunnel = vec![0x60; 1];
        tunnel.resize(40, 0);
        tunnel[6] = 17;
        tunnel.extend_from_slice(&[0xca, 0x9f, 0, 1]);
        let mut seen = Seen::default();
        seen.note(&frame(&plain), b"the secret");
        seen.note(&frame(&tunnel), b"the secret");
        seen.note(&[1, 2, 3], b"the secret");
        assert_eq!(
            (seen.packets, seen.tunnel, seen.plain_pod, seen.with_text),
            (3, 1, 1, 1)
        );
        assert_eq!(seen.example.as_deref(), Some(plain.as_slice()));
    }
}
