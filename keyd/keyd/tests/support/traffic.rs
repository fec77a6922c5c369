//! What goes over the tunnel, and what is seen of it on the wire.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Wire;

/// Nothing here takes that long; a test that hangs must end.
const LIMIT: Duration = Duration::from_secs(30);
const POLL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// Runs something on a thread of its own in a network namespace.
pub(crate) fn within<T: Send>(netns: &Path, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let netns = File::open(netns).expect("the namespace is there");
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&netns), network).expect("setns works");
            work()
        });
        thread.join().expect("the thread does not panic")
    })
}

/// A TCP connection from `a` to `b`, which sends back what it gets.
#[derive(Debug)]
pub(crate) struct Echo {
    stream: TcpStream,
    server: JoinHandle<()>,
}

impl Echo {
    pub(crate) fn connect(wire: &Wire, address: &str) -> Self {
        let address: IpAddr = address.parse().expect("an address");
        let listener = within(&wire.path("b"), || {
            TcpListener::bind((address, 0)).expect("b listens")
        });
        let at = listener.local_addr().expect("it has an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connects");
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
        });
        let stream = within(&wire.path("a"), || connect(at));
        Self { stream, server }
    }

    /// Sends a text and waits until it is back, through however many retransmissions.
    pub(crate) fn say(&mut self, text: &str) {
        self.stream
            .write_all(text.as_bytes())
            .expect("the connection lives");
        let mut back = vec![0; text.len()];
        self.stream
            .read_exact(&mut back)
            .expect("the connection lives and answers");
        assert_eq!(back, text.as_bytes());
    }

    pub(crate) fn close(self) {
        drop(self.stream);
        self.server.join().expect("the server does not panic");
    }
}

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&at, LIMIT).expect("b is reached");
    stream
        .set_read_timeout(Some(LIMIT))
        .expect("a time limit can be set");
    stream
}

/// Counts the packets on the wire that hold a text, and those that do not.
#[derive(Debug)]
pub(crate) struct Sniffer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u32, u32)>,
}

impl Sniffer {
    /// What passes after this returns is seen.
    pub(crate) fn start(wire: &Wire, text: &'static str) -> Self {
        let every = NonZeroU32::new(u32::from(0x0003_u16.to_be())).map(Protocol::from_raw);
        let socket = within(&wire.path("w"), || {
            socket_with(
                AddressFamily::PACKET,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                every,
            )
            .expect("root may open a packet socket")
        });
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0_u8; 128 * 1024];
            let (mut with, mut without) = (0, 0);
            loop {
                let last = flag.load(Ordering::Relaxed);
                while let Ok((length, _)) = recv(&socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                    let hit = buffer[..length]
                        .windows(text.len())
                        .any(|window| window == text.as_bytes());
                    *(if hit { &mut with } else { &mut without }) += 1;
                }
                if last {
                    return (with, without);
                }
                let _ = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&POLL));
            }
        });
        Self { stop, thread }
    }

    /// Packets with the text, and without it.
    pub(crate) fn stop(self) -> (u32, u32) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the sniffer does not panic")
    }
}
