//! What becomes of the first packets of many pairs at once: each is sent once, and counted when it is answered.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::ensure;
use signet_figures::{Aim, Figures};

use super::stage::{PROVEN, Stage};
use crate::bench::lab::Bench;
use crate::bench::samples::Samples;

/// Servers' nodes.
const NODES: usize = 2;
/// After this long without another answer the rest is lost: a packet waits for a proof for three seconds at most.
const SILENCE: Duration = Duration::from_secs(5);

/// So many pairs, as many clients as servers; each client asks all servers at once, one client after another.
pub(super) fn run(figures: &Figures, pairs: usize) -> anyhow::Result<()> {
    let side = pairs.isqrt();
    ensure!((2..=100).contains(&side), "SIGNET_BENCH_PAIRS: 4 to 10000 pairs");
    let stage = Stage {
        name: "benchburst",
        preauth: "off",
        nodes: NODES,
        servers: side,
        clients: side,
    };
    let bench = Bench::up(&stage.yaml(), true)?;
    let servers: Result<Vec<SocketAddr>, _> = (1..=side)
        .map(|n| bench.address(&format!("s{n}"), PROVEN))
        .collect();
    let servers = servers?;
    let mut answered = 0_usize;
    let mut times = Samples::default();
    for client in 1..=side {
        let came = bench.lab.within(&format!("c{client}"), || ask_all(&servers))??;
        answered += came.len();
        for time in came {
            times.push(time);
        }
    }
    let lost = side * side - answered;
    println!(
        "first packets of {} pairs, {side} at once, each sent once",
        side * side
    );
    let count = |number: usize| u32::try_from(number).map_or(f64::NAN, f64::from);
    figures.line("first packets sent", count(side * side), "", None);
    figures.line("first packets lost", count(lost), "", Some(Aim::AtMost(0.0)));
    for (name, permille) in [("p50", 500), ("p99", 990), ("longest", 1000)] {
        let time = times
            .permille(permille)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
        figures.line(
            &format!("{side} at once: packet → answer, {name}"),
            time,
            "ms",
            None,
        );
    }
    Ok(())
}

/// Sends each one datagram; how long the answers took that came.
fn ask_all(servers: &[SocketAddr]) -> std::io::Result<Vec<Duration>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(SILENCE))?;
    let began = Instant::now();
    for server in servers {
        socket.send_to(b"ping", server)?;
    }
    let mut missing: BTreeSet<SocketAddr> = servers.iter().copied().collect();
    let mut times = Vec::with_capacity(servers.len());
    let mut buffer = [0; 2048];
    while !missing.is_empty() {
        match socket.recv_from(&mut buffer) {
            Ok((_, from)) => {
                if missing.remove(&from) {
                    times.push(began.elapsed());
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            // Of an ICMP error: the sender is told that a packet was refused. It is counted as lost.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        }
    }
    Ok(times)
}
