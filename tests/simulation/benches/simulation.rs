//! Many nodes in one process, on simulated time: what they say to each other at rest, and how long they take to converge.
//!
//! `SIGNET_BENCH_NODES` and `SIGNET_BENCH_SESSIONS` say how many.

#![expect(clippy::print_stdout, reason = "the result of a bench is its output")]

use std::time::{Duration, Instant};

use signet_figures::{Figures, Scale};
use signet_simulation::scale::{Cluster, Size};

fn main() {
    signet_figures::run("simulation", bench);
}

fn bench(scale: Scale) {
    let (nodes, sessions) = scale.pick((1_000, 20), (12, 4));
    let number = |name, default| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let size = Size {
        nodes: number("SIGNET_BENCH_NODES", nodes),
        sessions: number("SIGNET_BENCH_SESSIONS", sessions),
    };
    println!(
        "simulation: {} nodes with {} sessions each, on simulated time",
        size.nodes, size.sessions
    );
    let began = Instant::now();
    let mut cluster = Cluster::new(size, 1);
    let measured = cluster.measure(|next| println!("({next}, after {} s)", began.elapsed().as_secs()));
    let figures = Figures::of("simulation");
    let converged = |what: &str, time: Option<Duration>| {
        let seconds = time.map_or(f64::NAN, |time| time.as_secs_f64());
        figures.line(what, seconds, "s", None);
    };
    figures.line(
        "at rest, messages of a node per second",
        measured.messages,
        "",
        None,
    );
    figures.line("at rest, bytes of a node per second", measured.bytes, "B", None);
    converged("from nothing to all pairs proven", measured.start);
    figures.line(
        "refused at the worst moment of a rolling restart of all agents",
        measured.disturbed,
        "%",
        None,
    );
    converged("after a rolling restart of all agents", measured.restart);
    converged("after a CA rotation", measured.rotation);
    converged("after a partition of a third", measured.partition);
    figures.line(
        "pair handshakes of a node in all of it",
        measured.proofs,
        "",
        None,
    );
    figures.line(
        "connections for each pair at the start",
        measured.connections,
        "",
        None,
    );
    println!("({} s of real time)", began.elapsed().as_secs());
}
