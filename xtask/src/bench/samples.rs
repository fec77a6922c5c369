//! Measured times.

use std::time::Duration;

/// Times of one kind of thing.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Duration>);

impl Samples {
    pub(super) fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The sample that `permille` of all do not exceed (nearest rank); none of no samples.
    pub(super) fn permille(&self, permille: usize) -> Option<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * permille).div_ceil(1000).max(1);
        sorted.get(rank - 1).copied()
    }

    pub(super) fn median(&self) -> Option<Duration> {
        self.permille(500)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_is_the_nearest_above() {
        let mut samples = Samples::default();
        (1..=10)
            .rev()
            .for_each(|n| samples.push(Duration::from_micros(n)));
        assert_eq!(samples.median(), Some(Duration::from_micros(5)));
        assert_eq!(samples.permille(990), Some(Duration::from_micros(10)));
        assert_eq!(samples.permille(0), Some(Duration::from_micros(1)));
        assert_eq!(Samples::default().median(), None);
    }
}
