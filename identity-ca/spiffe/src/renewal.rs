//! When SVIDs are renewed, and so how long their issuer may be gone.
//!
//! Agents renew by it, and the CA tells from it what it may promise: one rule for both.

use std::time::Duration;

/// Largest part of a life that a target may be, in tenths: beyond that agents would do little but renew.
const MOST_TENTHS: u32 = 9;

/// The plan for an SVID of which so much life was left when it was issued.
///
/// It is renewed after two to three fifths of that: by the dice, so that what was issued together is not renewed together. With
/// an availability target, so early that at least the target is left, and that a tenth of the time up to then remains for
/// failed attempts. A target that the life is too short for changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    life: Duration,
    latest: Duration,
}

impl Renewal {
    /// The plan for an SVID with this much life, and a target; zero: none.
    pub fn new(life: Duration, target: Duration) -> Self {
        let half = life * 3 / 5;
        let latest = match life.checked_sub(target) {
            Some(room) if !room.is_zero() => half.min((room * 9 / 10).max(life / 20)),
            Some(_) | None => half,
        };
        Self { life, latest }
    }

    /// The longest target that SVIDs of this life can have.
    pub fn longest_target(life: Duration) -> Duration {
        life * MOST_TENTHS / 10
    }

    /// How long after its issuance the SVID is renewed, at least a second. `random` is any number, drawn once for each SVID.
    pub fn after(self, random: u64) -> Duration {
        let earliest = self.latest * 2 / 3;
        let spread = self.latest.saturating_sub(earliest).as_nanos();
        // At most `spread`, which is less than a day.
        let jitter = (u128::from(random) * spread) >> 64;
        let jitter = Duration::from_nanos(u64::try_from(jitter).unwrap_or(u64::MAX));
        (earliest + jitter).max(Duration::from_secs(1))
    }

    /// What is left of the life when it is renewed at the latest: an outage of the issuer that is shorter ends no SVID that was
    /// renewed by this plan, whenever it begins.
    pub fn least_left(self) -> Duration {
        self.life.saturating_sub(self.latest.max(Duration::from_secs(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DICE: [u64; 4] = [0, u64::MAX / 3, u64::MAX / 2, u64::MAX];

    #[test]
    fn without_a_target_renewal_is_around_half_of_the_life_whatever_the_dice_say() {
        let plan = Renewal::new(Duration::from_hours(1), Duration::ZERO);
        for random in DICE {
            let after = plan.after(random).as_secs();
            assert!((1440..=2160).contains(&after), "{after}");
        }
        assert_eq!(plan.least_left(), Duration::from_mins(24));
    }

    #[test]
    fn at_least_the_target_is_left_for_every_life_target_and_throw() {
        for life in [10_u64, 11, 60, 3_600, 86_400, 604_800].map(Duration::from_secs) {
            for tenths in 0..=MOST_TENTHS {
                let target = life * tenths / 10;
                let plan = Renewal::new(life, target);
                assert!(plan.least_left() >= target, "{life:?} {target:?}");
                for random in DICE {
                    let after = plan.after(random);
                    assert!(
                        life >= plan.least_left() + after,
                        "{life:?} {target:?}: {after:?}"
                    );
                    assert!(after >= (life / 30).min(Duration::from_secs(1)), "no spinning");
                }
            }
        }
    }

    #[test]
    fn a_target_that_the_renewal_at_half_meets_anyway_changes_nothing() {
        let (life, target) = (Duration::from_hours(24), Duration::from_mins(45));
        assert_eq!(Renewal::new(life, target), Renewal::new(life, Duration::ZERO));
    }

    #[test]
    fn a_life_that_is_too_short_for_the_target_is_renewed_as_without_one() {
        let life = Duration::from_mins(10);
        for target in [life, Duration::from_mins(45)] {
            let plan = Renewal::new(life, target);
            assert_eq!(plan, Renewal::new(life, Duration::ZERO));
            assert!(plan.least_left() < target);
        }
    }

    #[test]
    fn a_target_close_to_the_life_does_not_make_renewals_spin() {
        let life = Duration::from_hours(1);
        let plan = Renewal::new(life, Duration::from_secs(3_599));
        assert!(plan.after(0) >= Duration::from_mins(2), "{:?}", plan.after(0));
        assert_eq!(
            Renewal::new(Duration::ZERO, Duration::ZERO).after(0),
            Duration::from_secs(1),
            "late renewals do not spin"
        );
    }
}
