//! Counts what libtest and `signet_skip` printed.

use std::collections::BTreeSet;
use std::fmt;

/// What happened to the tests of one or more runs.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Below zero between a skip's line and its binary's result line.
    passed: isize,
    failed: usize,
    skips: Vec<Skip>,
    /// Names of tests that failed, in the order in which they ended.
    failures: Vec<String>,
}

/// A test that could not run here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    /// Its name, as libtest prints it.
    pub(crate) test: String,
    /// What was missing.
    pub(crate) reason: String,
}

impl Tally {
    /// Reads one line of output.
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += isize::try_from(count(counts, " passed")).unwrap_or(isize::MAX);
            self.failed += count(counts, " failed");
        } else if let Some((_, skip)) = line.split_once(signet_skip::MARK) {
            self.skip(skip);
        } else if let Some(test) = line.strip_prefix("test ") {
            self.ended(test);
        }
    }

    /// Counts a failure that no test reported: a stage that ended badly.
    pub(crate) fn stage_failed(&mut self, stage: &str) {
        self.failed += 1;
        self.failures.push(stage.to_owned());
    }

    /// Adds another run's counts; its tests' names are shown under `place`.
    pub(crate) fn add(&mut self, place: &str, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skips.extend(other.skips);
        self.failures
            .extend(other.failures.into_iter().map(|test| format!("{test} ({place})")));
    }

    /// Tests that failed, stages included.
    pub(crate) fn failed(&self) -> usize {
        self.failed
    }

    /// How many tests were seen at all.
    pub(crate) fn seen(&self) -> usize {
        self.passed.unsigned_abs() + self.failed + self.skips.len()
    }

    /// Names of what failed.
    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Tests that could not run.
    pub(crate) fn skips(&self) -> &[Skip] {
        &self.skips
    }

    /// Turns skips that nobody expected into failures.
    pub(crate) fn refuse_unexpected_skips(&mut self, expected: &BTreeSet<String>) {
        let (kept, refused): (Vec<_>, Vec<_>) = std::mem::take(&mut self.skips)
            .into_iter()
            .partition(|skip| expected.contains(&skip.test));
        self.skips = kept;
        for skip in refused {
            self.stage_failed(&format!("{}: unexpected skip: {}", skip.test, skip.reason));
        }
    }

    /// "name: reason". The test then returns, and libtest counts it as passed: that one is taken back.
    fn skip(&mut self, skip: &str) {
        let (test, reason) = skip.split_once(": ").unwrap_or((skip, "no reason given"));
        self.passed -= 1;
        self.skips.push(Skip {
            test: test.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// "name ... outcome". `ignored, reason` is a skip, too.
    fn ended(&mut self, test: &str) {
        let Some((name, outcome)) = test.rsplit_once(" ... ") else {
            return;
        };
        if outcome == "FAILED" {
            self.failures.push(name.to_owned());
        } else if let Some(reason) = outcome.strip_prefix("ignored") {
            let reason = reason.trim_start_matches(", ");
            let reason = if reason.is_empty() { "ignored" } else { reason };
            self.skips.push(Skip {
                test: name.to_owned(),
                reason: reason.to_owned(),
            });
        }
    }
}

/// The number in front of `what` in "ok. 5 passed; 0 failed; ...".
fn count(counts: &str, what: &str) -> usize {
    let Some((before, _)) = counts.split_once(what) else {
        return 0;
    };
    before
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// The last line of `make test` and `.ci/run`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed.max(0),
            self.failed,
            self.skips.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(output: &str) -> Tally {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.line(line));
        tally
    }

    #[test]
    fn results_of_several_binaries_add_up() {
        let tally = tally(
            "test a::b ... ok\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.01s\n\
             test c ... FAILED\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
        );
        assert_eq!(tally.to_string(), "4 passed, 1 failed, 0 skipped");
        assert_eq!(tally.failures(), ["c"]);
    }

    #[test]
    fn a_skip_is_not_a_pass() {
        let tally = tally(
            "test kernel ... SKIPPED kernel: no WireGuard here\nok\ntest later ... ignored, needs a TPM\n\
             test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out",
        );
        assert_eq!(tally.to_string(), "1 passed, 0 failed, 2 skipped");
        assert_eq!(
            tally.skips()[0],
            Skip {
                test: "kernel".into(),
                reason: "no WireGuard here".into()
            }
        );
        assert_eq!(
            tally.skips()[1],
            Skip {
                test: "later".into(),
                reason: "needs a TPM".into()
            }
        );
    }

    #[test]
    fn a_skip_that_nobody_expected_is_a_failure() {
        let output = "SKIPPED known: x\nSKIPPED new: y\ntest result: ok. 2 passed; 0 failed;";
        let mut tally = tally(output);
        tally.refuse_unexpected_skips(&BTreeSet::from(["known".to_owned()]));
        assert_eq!(tally.to_string(), "0 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn a_stage_that_ends_badly_is_a_failure() {
        let mut whole = tally("test result: ok. 2 passed; 0 failed;");
        let mut vm = Tally::default();
        vm.stage_failed("the guest did not finish");
        whole.add("vm", vm);
        assert_eq!(whole.to_string(), "2 passed, 1 failed, 0 skipped");
        assert_eq!(whole.failures(), ["the guest did not finish (vm)"]);
    }
}
