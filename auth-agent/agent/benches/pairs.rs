//! What the number of proven pairs costs an agent: memory, and time at each tick and where the kernel's map is full.
//!
//! What nanoseconds per packet and memory of the kernel are, the bench `packet` of signet-datapath says.

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot go on has nothing to measure"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::time::Instant;

use signet_abi::{AuthKey, AuthValue, NodeId, SecurityIdentity};
use signet_agent::pairs::{Bounds, Made, Table};
use signet_figures::{Figures, Scale, Usage};
use signet_pairs::Room;
use signet_spiffe::{UnixTime, VerifiedSvid};
use signet_tls::peer_svid;
use support::{Authority, workload};

const SECOND: u64 = 1_000_000_000;
/// Identities of either side; their pairs are on as many nodes as it takes.
const IDENTITIES: usize = 64;

fn main() {
    signet_figures::run("pairs", bench);
}

fn bench(scale: Scale) {
    let figures = Figures::of("pairs");
    let ca = Authority::new("t.example");
    let svids: Vec<VerifiedSvid> = (256..256 + 2 * IDENTITIES)
        .map(|number| {
            let number = u32::try_from(number).expect("small");
            let pair = ca.issue(&workload(number));
            peer_svid(Some(&pair.chain), &ca.bundles(), UnixTime::now()).expect("valid")
        })
        .collect();
    let (locals, remotes) = svids.split_at(IDENTITIES);
    // Those before stay, so that none lies in what another one has left.
    let mut kept = Vec::new();
    for count in scale.pick([1, 1 << 16, 1 << 19], [1, 16, 64]) {
        let before = resident();
        let mut table = Table::new(Bounds::default());
        table.fit(count);
        for number in 0..count {
            let (local, remote) = (number % IDENTITIES, number / IDENTITIES % IDENTITIES);
            let made = Made {
                not_after: 3_600 * SECOND,
                of: Some([locals[local].clone(), remotes[remote].clone()]),
            };
            // As it is at the first moment of an agent that has been running for a while.
            let _ = table.proven(pair(number), made, 100 * SECOND, number as u64);
        }
        let memory = resident() - before;
        figures.line(&format!("{count} pairs, memory of the agent"), memory, "MB", None);
        let tick = time(|| {
            let gone = table.sweep(101 * SECOND, |_| true);
            (gone, table.renewals(101 * SECOND), table.proofs().count())
        });
        figures.line(&format!("{count} pairs, a tick"), tick, "ms", None);
        let entries: Vec<(AuthKey, AuthValue)> = table.proofs().collect();
        let search = time(|| {
            let mut room = Room::default();
            let _ = room.measure(count, count);
            room.search(&entries, |key| table.is_under_way(key), 200 * SECOND);
            assert!(room.candidate().is_some(), "all are unused for long");
            room
        });
        let what = format!("{count} pairs, finding out who gives way, the kernel's share apart");
        figures.line(&what, search, "ms", None);
        kept.push(table);
    }
    black_box(kept);
}

fn pair(number: usize) -> AuthKey {
    let part = |part: usize| u32::try_from(part).expect("small");
    AuthKey {
        local: SecurityIdentity(256 + part(number % IDENTITIES)),
        remote: SecurityIdentity(320 + part(number / IDENTITIES % IDENTITIES)),
        node: NodeId(2 + part(number / IDENTITIES / IDENTITIES)),
    }
}

/// In units of 1,000,000 bytes.
fn resident() -> f64 {
    Usage::of(std::process::id()).expect("this process runs").rss
}

/// Milliseconds.
fn time<T>(run: impl FnOnce() -> T) -> f64 {
    let began = Instant::now();
    black_box(run());
    began.elapsed().as_secs_f64() * 1e3
}
