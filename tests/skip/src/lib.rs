//! How a test says that it cannot run here.
//!
//! libtest has no skip at run time: a test that returns early counts as passed, silently. [`skip`] writes a line that
//! libtest does not capture; `xtask test` counts it, takes it off the passed ones, and fails under `CI=true` where the
//! test is not listed in `tests/expected-skips.txt`.

use std::io::Write as _;

/// Starts the line that `xtask test` looks for.
pub const MARK: &str = "SKIPPED ";

/// Says that `test` does not run here, and why. Return from the test right after.
///
/// `test` is the name as libtest prints it, `reason` one line that names what is missing.
pub fn skip(test: &str, reason: &str) {
    // One write, with a line break before: other tests of the same binary print at the same time. A closed standard
    // error has nobody to tell.
    let _ = std::io::stderr().write_all(format!("\n{MARK}{test}: {reason}\n").as_bytes());
}
