//! How a proof came about, and how long it took.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use signet_proto::agent::v1::{HandshakeFailures, HandshakeLatency};

/// How a proof came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// A packet asked, and the two nodes had no session.
    Cold,
    /// A packet asked, and they had one.
    Warm,
    /// A packet asked, and both sides are on this node.
    Local,
    /// Nobody had asked yet.
    Ahead,
    /// The proof before it was about to end.
    Renewal,
}

impl How {
    const ALL: [Self; 5] = [Self::Cold, Self::Warm, Self::Local, Self::Ahead, Self::Renewal];

    /// As metrics and events have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Local => "local",
            Self::Ahead => "preauth",
            Self::Renewal => "renewal",
        }
    }
}

/// Upper ends of the histogram's buckets, µs. There is one more, without an end.
pub(crate) const BUCKETS: [u64; 14] = [
    500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

#[derive(Debug, Default)]
struct Histogram {
    counts: [AtomicU64; BUCKETS.len() + 1],
    /// Nanoseconds.
    sum: AtomicU64,
}

/// Handshakes of this node: how long those took that gave a proof, and why the others gave none.
#[derive(Debug, Default)]
pub struct Tally {
    took: [Histogram; How::ALL.len()],
    failures: Mutex<BTreeMap<&'static str, u64>>,
}

impl Tally {
    /// A handshake gave a proof after so many nanoseconds.
    pub(crate) fn proven(&self, how: How, latency: u64) {
        let Some(at) = How::ALL.iter().position(|known| *known == how) else {
            return;
        };
        let bucket = BUCKETS.partition_point(|end| *end * 1_000 < latency);
        if let Some(histogram) = self.took.get(at) {
            if let Some(count) = histogram.counts.get(bucket) {
                count.fetch_add(1, Relaxed);
            }
            histogram.sum.fetch_add(latency, Relaxed);
        }
    }

    /// A handshake gave none.
    pub(crate) fn failed(&self, cause: &'static str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        *failures.entry(cause).or_default() += 1;
    }

    /// For `Status`.
    pub(crate) fn latencies(&self) -> Vec<HandshakeLatency> {
        let each = How::ALL.iter().zip(&self.took);
        each.map(|(how, histogram)| HandshakeLatency {
            how: how.name().to_owned(),
            counts: histogram.counts.iter().map(|count| count.load(Relaxed)).collect(),
            sum: histogram.sum.load(Relaxed),
        })
        .collect()
    }

    /// For `Status`: those that there were.
    pub(crate) fn failures(&self) -> Vec<HandshakeFailures> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let each = failures.iter().map(|(cause, count)| HandshakeFailures {
            cause: (*cause).to_owned(),
            count: *count,
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_in_the_first_bucket_that_it_does_not_exceed() {
        let tally = Tally::default();
        for latency in [0, 500_000, 500_001, 60_000_000_000] {
            tally.proven(How::Warm, latency);
        }
        let of = tally.latencies();
        let warm = of
            .iter()
            .find(|latency| latency.how == "warm")
            .expect("all are there");
        assert_eq!(
            (warm.counts[0], warm.counts[1], warm.counts[BUCKETS.len()]),
            (2, 1, 1)
        );
        assert_eq!(warm.counts.iter().sum::<u64>(), 4);
        assert_eq!(warm.sum, 60_001_000_001);
    }
}
