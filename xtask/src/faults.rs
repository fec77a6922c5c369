//! docs/reference/faults.md: what can go wrong, what comes of it, and the tests that do it.

mod list;
mod withdrawn;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::page::keep;
use crate::repository;
use list::{FAULTS, Fault};
use withdrawn::{WITHDRAWN, Withdrawn};

/// Options of `xtask faults`.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare only; fail when the committed page differs, or names a test that is not there.
    #[arg(long)]
    check: bool,
}

const INTRODUCTION: &str = "\
# Faults, each a test

<!-- Written by `cargo run -p xtask -- faults` from xtask/src/faults/list.rs, which is where to change it. -->

What goes wrong around an identity service, what comes of it here, and the tests that make it go wrong. `make lint` fails where a test
that is named here is not where it is said to be. What is done by whoever operates it stands in [the disaster runbook](../disaster.md).

| fault | what comes of it | tests |
| --- | --- | --- |
";

const WITHDRAWN_INTRODUCTION: &str = "
## Withdrawn faults

<!-- From xtask/src/faults/withdrawn.rs. -->

Authentication beside the traffic, for a kernel that enforces it, was done before, and withdrawn for these faults. None of them can be here, and each has
its tests. Each was put back in once, as the last column says, and seen by tests of its row: by those that look at the part that was changed.

| fault | why it cannot be here | tests | seen to fail with |
| --- | --- | --- | --- |
";

/// Writes the page, or compares it.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    keep("faults.md", "faults", &page(&repository::root())?, options.check)
}

fn page(root: &Path) -> anyhow::Result<String> {
    let mut page = INTRODUCTION.to_owned();
    for fault in &FAULTS {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "{}", line(root, fault)?);
    }
    page.push_str(WITHDRAWN_INTRODUCTION);
    for fault in &WITHDRAWN {
        let Withdrawn {
            what,
            here,
            tests,
            red,
        } = fault;
        let _ = writeln!(
            page,
            "| {what} | {here} | {} | {red} |",
            links(root, what, tests)?
        );
    }
    Ok(page)
}

fn line(root: &Path, fault: &Fault) -> anyhow::Result<String> {
    let links = links(root, fault.what, fault.tests)?;
    Ok(format!("| {} | {} | {links} |", fault.what, fault.outcome))
}

/// The tests of a fault, each looked for where it is said to be.
fn links(root: &Path, what: &str, tests: &[(&str, &str)]) -> anyhow::Result<String> {
    ensure!(!tests.is_empty(), "{what}: no test");
    let mut links = Vec::new();
    for (file, test) in tests {
        let text = std::fs::read_to_string(root.join(file)).with_context(|| format!("reading {file}"))?;
        ensure!(
            is_test(&text, test),
            "{file} has no test {test}, which xtask/src/faults names for \"{what}\""
        );
        links.push(format!("[{}](../../{file})", test.replace('_', " ")));
    }
    Ok(links.join("<br>"))
}

/// Whether there is a function of this name behind `#[test]` or `#[tokio::test(…)]`, or one that a suite on a lab lists by name.
fn is_test(text: &str, name: &str) -> bool {
    let signature = format!("fn {name}(");
    let mut places = text.match_indices(&signature).map(|(at, _)| at).peekable();
    let is_listed = places.peek().is_some() && text.contains(&format!("\"{name}\""));
    let is_marked = |at: usize| {
        let attributes = text.get(..at).and_then(|before| before.rsplit("\n\n").next());
        attributes.is_some_and(|lines| lines.contains("#[test]") || lines.contains("#[tokio::test"))
    };
    is_listed || places.any(is_marked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_what_the_list_says() {
        assert_eq!(
            std::fs::read_to_string(crate::page::path("faults.md")).unwrap(),
            page(&repository::root()).unwrap(),
            "run `cargo run -p xtask -- faults`"
        );
    }

    #[test]
    fn a_test_that_was_renamed_or_is_none_any_more_is_found_out() {
        let file = "#[test]\nfn a_b() {}\n\n#[tokio::test(flavor = \"x\")]\nasync fn c() {}\n\nfn helper() {}\n\nfn step(x: u8) {}\n\nconst STEPS: [&str; 1] = [\"step\"];\n";
        for (name, is) in [
            ("a_b", true),
            ("c", true),
            ("step", true),
            ("helper", false),
            ("a", false),
            ("b", false),
        ] {
            assert_eq!(is_test(file, name), is, "{name}");
        }
    }
}
