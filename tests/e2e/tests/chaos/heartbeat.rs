//! One datagram after the other beside a transfer: they are not held back by what TCP has learnt of the way, so their gaps are those of the
//! way itself. A transfer's gap can be twice as long: it tries again after the time that it has waited already.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use signet_e2e::{Family, Stage};
use signet_lab::net;

/// Between two datagrams.
const INTERVAL: Duration = Duration::from_millis(100);

/// The longest time in which none came back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gap {
    /// How long.
    pub(crate) time: Duration,
    /// When it was over, from the start.
    pub(crate) over: Duration,
}

/// Datagrams from one workload to another.
pub(crate) struct Heartbeat {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Gap>>,
}

impl Heartbeat {
    /// Begins, to the target's port of this number.
    pub(crate) fn start(stage: &Stage, from: &str, port: u16, family: Family) -> Result<Self> {
        let target = SocketAddr::new(stage.address("web", family)?, port);
        let netns = stage.lab().paths().netns(from);
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || beat(&netns, target, &until));
        Ok(Self { stop, thread })
    }

    /// Ends it.
    pub(crate) fn longest_gap(self) -> Result<Gap> {
        self.stop.store(true, Ordering::Release);
        let Ok(gap) = self.thread.join() else {
            bail!("a heartbeat panicked")
        };
        gap
    }
}

fn beat(netns: &Path, target: SocketAddr, stop: &AtomicBool) -> Result<Gap> {
    net::within(netns, || -> Result<Gap> {
        let any: SocketAddr = match target {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(target)?;
        socket.set_read_timeout(Some(INTERVAL))?;
        let began = Instant::now();
        let (mut gap, mut last) = (Gap::default(), began);
        while !stop.load(Ordering::Acquire) {
            let next = Instant::now() + INTERVAL;
            // An error is an answer to an earlier one, or there is no way now: that is what gaps are.
            let came = socket.send(b"beat").is_ok() && socket.recv(&mut [0; 64]).is_ok();
            if came {
                let now = Instant::now();
                if now - last > gap.time {
                    gap = Gap {
                        time: now - last,
                        over: now - began,
                    };
                }
                last = now;
            }
            while let Some(left) = next.checked_duration_since(Instant::now()) {
                std::thread::park_timeout(left);
            }
        }
        Ok(gap)
    })?
}
