//! How much of a bench is run.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How much of a bench is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// All of it, to be measured.
    Whole,
    /// As little as shows that it works.
    Tiny,
}

impl Scale {
    /// The first of a whole run, the second of a tiny one.
    pub fn pick<T>(self, whole: T, tiny: T) -> T {
        match self {
            Self::Whole => whole,
            Self::Tiny => tiny,
        }
    }
}

/// Runs a bench. With `--bench` among the arguments, as `cargo bench` and `xtask bench` have it, to be measured; without, as `cargo test` has
/// it, as a test that its scenario works, which says so as libtest does.
pub fn run(name: &str, bench: impl FnOnce(Scale)) {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--bench") {
        bench(Scale::Whole);
        return;
    }
    let test = format!("bench_{name}_at_a_tiny_scale");
    // Who lists tests wants no run.
    if arguments.iter().any(|argument| argument == "--list") {
        println!("{test}: test");
        return;
    }
    if !is_wanted(&test, &arguments) {
        println!("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out");
        return;
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| bench(Scale::Tiny)));
    let (word, passed, failed) = if outcome.is_ok() {
        ("ok", 1, 0)
    } else {
        ("FAILED", 0, 1)
    };
    println!("test {test} ... {word}");
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out");
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// libtest's filters: names, of which one has to be part of the test's.
fn is_wanted(test: &str, arguments: &[String]) -> bool {
    /// Options whose values stand behind them.
    const WITH_VALUE: [&str; 5] = ["--test-threads", "--skip", "--format", "--color", "--logfile"];
    let mut filters = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if WITH_VALUE.contains(&argument.as_str()) {
            arguments.next();
        } else if !argument.starts_with('-') {
            filters.push(argument.as_str());
        }
    }
    filters.is_empty() || filters.iter().any(|filter| test.contains(filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_is_tried_where_no_filter_is_given_or_one_names_it() {
        let wanted = |arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            is_wanted("bench_issue_at_a_tiny_scale", &arguments)
        };
        assert!(wanted(&[]) && wanted(&["--test-threads", "2"]) && wanted(&["other", "issue"]));
        assert!(!wanted(&["other"]) && !wanted(&["--nocapture", "bench_fleet"]));
    }
}
