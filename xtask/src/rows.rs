//! docs/reference/spiffe.md: each rule of the SPIFFE standards with the tests that prove it, or the reason why there is none.

mod checklist;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::page::keep;
use crate::repository;
use checklist::{ROWS, Row};

/// Options of `xtask rows`.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare only; fail when the committed page differs.
    #[arg(long)]
    check: bool,
}

/// How names of tests begin that prove rows. Numbers of two digits follow, with or without `and`, then words.
const MARK: &str = "spiffe_row_";

const INTRODUCTION: &str = "\
# SPIFFE, rule by rule

<!-- Written by `cargo run -p xtask -- rows` from the names of tests and from xtask/src/rows/checklist.rs. -->

What the SPIFFE standards ask for, and the tests that prove it: a test's name says which rows it is about. Where there is
no test, or where the tests do not prove all of a row, the last column says why, or which part of the plan it waits for.
Sections are those of the standards of 2026-07; **M** is a MUST, S a SHOULD.
";

/// A test that names rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Test {
    name: String,
    /// From the checkout's root.
    file: PathBuf,
}

/// Writes the page, or compares it.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    keep("spiffe.md", "rows", &page()?, options.check)
}

fn page() -> anyhow::Result<String> {
    let tests = by_row(&tests(&repository::root())?)?;
    let mut page = INTRODUCTION.to_owned();
    let mut document = "";
    for row in &ROWS {
        if row.document != document {
            document = row.document;
            // Writing to a String cannot fail.
            let _ = write!(
                page,
                "\n## {document}\n\n| row | rule | tests | else |\n| ---: | --- | --- | --- |\n"
            );
        }
        let _ = writeln!(page, "{}", line(row, tests.get(&row.number))?);
    }
    Ok(page)
}

fn line(row: &Row, tests: Option<&BTreeSet<Test>>) -> anyhow::Result<String> {
    if tests.is_none() && row.note.is_empty() {
        bail!(
            "row {} has no test; name one {MARK}{:02}_…, or say in xtask/src/rows/checklist.rs why there is none",
            row.number,
            row.number
        );
    }
    let link = |test: &Test| format!("[{}](../../{})", title(&test.name), test.file.display());
    let links: Vec<_> = tests.into_iter().flatten().map(link).collect();
    Ok(format!(
        "| {} | {} | {} | {} |",
        row.number,
        row.rule,
        links.join("<br>"),
        row.note
    ))
}

/// What a test's name says, in words.
pub(crate) fn title(name: &str) -> String {
    let (_, words) = rows_of(name);
    words.replace('_', " ")
}

fn by_row(tests: &BTreeSet<Test>) -> anyhow::Result<BTreeMap<u32, BTreeSet<Test>>> {
    let mut rows: BTreeMap<u32, BTreeSet<Test>> = BTreeMap::new();
    for test in tests {
        let (numbers, words) = rows_of(&test.name);
        if numbers.is_empty() || words.is_empty() {
            bail!(
                "{} in {} names no row or nothing else",
                test.name,
                test.file.display()
            );
        }
        for number in numbers {
            if !ROWS.iter().any(|row| row.number == number) {
                bail!(
                    "{} in {}: there is no row {number}",
                    test.name,
                    test.file.display()
                );
            }
            rows.entry(number).or_default().insert(test.clone());
        }
    }
    Ok(rows)
}

/// The rows that a test's name begins with, and the rest of it.
fn rows_of(name: &str) -> (Vec<u32>, &str) {
    let mut rest = name.strip_prefix(MARK).unwrap_or(name);
    let mut numbers = Vec::new();
    loop {
        let candidate = rest.strip_prefix("and_").unwrap_or(rest);
        let (word, after) = candidate.split_once('_').unwrap_or((candidate, ""));
        match word.parse() {
            Ok(number) if word.len() == 2 => {
                numbers.push(number);
                rest = after;
            }
            Ok(_) | Err(_) => return (numbers, rest),
        }
    }
}

/// Every name in the Rust sources that begins with [`MARK`] and has a row in it.
fn tests(root: &Path) -> anyhow::Result<BTreeSet<Test>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = entry.file_name();
            // Pages of ours name tests, and have none that prove a row.
            let hidden = name.to_string_lossy().starts_with('.') || name == "target" || name == "xtask";
            if kind.is_dir() && !hidden {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "rs") {
                let text =
                    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                let file = path.strip_prefix(root)?.to_owned();
                found.extend(names(&text).map(|name| Test {
                    name,
                    file: file.clone(),
                }));
            }
        }
    }
    Ok(found)
}

fn names(text: &str) -> impl Iterator<Item = String> {
    let begins = text.match_indices(MARK).map(|(at, _)| at);
    let name = |at: usize| {
        let rest = text.get(at..)?;
        let part_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = rest.find(|c| !part_of_a_name(c)).unwrap_or(rest.len());
        // The mark by itself, as in this file, is no test.
        rest.get(..end)
            .filter(|name| name.as_bytes().get(MARK.len()).is_some_and(u8::is_ascii_digit))
            .map(str::to_owned)
    };
    begins.filter_map(name).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_what_the_tests_say() {
        assert_eq!(
            std::fs::read_to_string(crate::page::path("spiffe.md")).unwrap(),
            page().unwrap(),
            "run `cargo run -p xtask -- rows`"
        );
    }

    #[test]
    fn a_name_begins_with_its_rows() {
        let name = |rest: &str| format!("{MARK}{rest}");
        assert_eq!(rows_of(&name("07_a_b")), (vec![7], "a_b"));
        assert_eq!(rows_of(&name("15_and_18_a")), (vec![15, 18], "a"));
        assert_eq!(
            rows_of(&name("39_43_and_47_and_more")),
            (vec![39, 43, 47], "and_more")
        );
        assert_eq!(rows_of(&name("05_255_bytes")), (vec![5], "255_bytes"));
    }

    #[test]
    fn rows_are_numbered_from_1_to_74_without_a_gap() {
        let numbers: Vec<_> = ROWS.iter().map(|row| row.number).collect();
        assert_eq!(numbers, (1..=74).collect::<Vec<_>>());
    }
}
