//! Generated faults on a simulated cluster, judged step by step by a reference model.
//!
//! `SIGNET_MODEL_SEED=n` runs one seed, `SIGNET_MODEL_RUNS=n` so many, `SIGNET_MODEL_FIRST=n` from that one on.

use std::time::Duration;

use signet_simulation::model::{Report, Size, run};
use signet_simulation::scale;

/// Seeds that every run of the tests tries.
const RUNS: u64 = 24;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_passes_that_is_not_proven_and_leased_whatever_fails_and_what_may_pass_recovers() {
    let (first, runs) = match number("SIGNET_MODEL_SEED") {
        Some(seed) => (seed, 1),
        None => (
            number("SIGNET_MODEL_FIRST").unwrap_or(1),
            number("SIGNET_MODEL_RUNS").unwrap_or(RUNS),
        ),
    };
    let mut whole = Report::default();
    for seed in first..first + runs {
        match run(seed, Size::default()) {
            Ok(report) => {
                whole.counts.passed += report.counts.passed;
                whole.counts.released += report.counts.released;
                whole.counts.unproven += report.counts.unproven;
                whole.counts.open += report.counts.open;
                whole.counts.denied += report.counts.denied;
                whole.counts.parked += report.counts.parked;
                whole.counts.told += report.counts.told;
                whole.ahead += report.ahead;
                whole.counts.unleased += report.counts.unleased;
                whole.counts.events += report.counts.events;
                whole.proofs += report.proofs;
                whole.sessions += report.sessions;
                whole.permitted += report.permitted;
            }
            Err(failure) => panic!("{failure}"),
        }
    }
    println!("{runs} runs from seed {first}: {whole:?}");
    // A model in which nothing happens proves nothing.
    assert!(whole.counts.passed > 0 && whole.counts.unproven > 0 && whole.counts.unleased > 0);
    assert!(whole.counts.parked > 0 && whole.counts.released > 0 && whole.counts.told > 0);
    assert!(whole.counts.open > 0 && whole.counts.denied > 0 && whole.ahead > 0);
    assert!(whole.proofs > 0 && whole.sessions > 0 && whole.permitted > 0);
}

#[test]
fn a_seed_runs_the_same_way_twice() {
    let size = Size {
        faults: 8,
        time: Duration::from_secs(20),
        ..Size::default()
    };
    let once = run(7, size).map(|report| format!("{report:?}"));
    let twice = run(7, size).map(|report| format!("{report:?}"));
    match (once, twice) {
        (Ok(once), Ok(twice)) => assert_eq!(once, twice),
        (Err(failure), _) | (_, Err(failure)) => panic!("{failure}"),
    }
}

#[test]
fn a_cluster_converges_after_a_rolling_restart_a_ca_rotation_and_a_partition() {
    let size = scale::Size {
        nodes: 12,
        sessions: 4,
    };
    let measured = scale::Cluster::new(size, 1).measure(|_| {});
    assert!(measured.start.is_some(), "{measured:?}");
    assert!(measured.restart.is_some(), "{measured:?}");
    assert!(measured.rotation.is_some(), "{measured:?}");
    assert!(measured.partition.is_some(), "{measured:?}");
    // Both ends have dialed at once, and one of the two connections was kept, by both.
    assert!((1.0..=2.0).contains(&measured.connections), "{measured:?}");
    // One question and one answer per session, direction and three seconds, with the jitter of the questions.
    let per_session = measured.messages / 4.0;
    assert!((0.5..1.0).contains(&per_session), "{measured:?}");
}
