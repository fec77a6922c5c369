//! Handshakes and proofs, counted.

use signet_proto::agent::v1::Handshakes;

use super::count;
use crate::pairs::{BUCKETS, Kind, PairReport, Tally};

const SECOND: u64 = 1_000_000_000;
/// Upper ends of the ages of proofs, ns.
const AGES: [u64; 3] = [60 * SECOND, 600 * SECOND, 3_600 * SECOND];

/// Handshakes that have been, that are under way, and how old the proofs are that they gave.
pub(super) fn handshakes(tally: &Tally, reports: &[PairReport], now: u64) -> Handshakes {
    let of = |kind| {
        count(
            reports
                .iter()
                .filter(|report| report.pair.kind() == Some(kind))
                .count(),
        )
    };
    let mut ages = [0_usize; AGES.len() + 1];
    for report in reports.iter().filter(|report| report.pair.proof.is_some()) {
        let age = now.saturating_sub(report.pair.made_at);
        if let Some(number) = ages.get_mut(AGES.partition_point(|end| *end <= age)) {
            *number += 1;
        }
    }
    Handshakes {
        buckets: BUCKETS.to_vec(),
        latencies: tally.latencies(),
        failures: tally.failures(),
        contacts_in_flight: of(Kind::Contact),
        renewals_in_flight: of(Kind::Renewal),
        ahead_in_flight: of(Kind::Ahead),
        ages: ages.into_iter().map(count).collect(),
    }
}
