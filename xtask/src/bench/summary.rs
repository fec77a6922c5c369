//! All figures of a run: what was aimed at as a table, everything as JSON.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use signet_figures::Figure;
use tempfile::NamedTempFile;

/// Collects figures.
pub(super) struct Summary {
    machine: String,
    figures: NamedTempFile,
    failures: Vec<Failure>,
}

/// A part that could not be measured.
#[derive(Serialize)]
struct Failure {
    part: String,
    error: String,
}

#[derive(Serialize)]
struct Page<'a> {
    machine: &'a str,
    seconds: u64,
    figures: &'a [Figure],
    failures: &'a [Failure],
}

impl Summary {
    pub(super) fn begin(machine: String) -> anyhow::Result<Self> {
        Ok(Self {
            machine,
            figures: NamedTempFile::new()?,
            failures: Vec::new(),
        })
    }

    /// The file that figures are appended to.
    pub(super) fn figures(&self) -> &Path {
        self.figures.path()
    }

    pub(super) fn failed(&mut self, part: &str, error: &anyhow::Error) {
        let error = format!("{error:#}");
        println!("{part} was not measured: {error}");
        self.failures.push(Failure {
            part: part.to_owned(),
            error,
        });
    }

    /// Whether every part could be measured; not whether its aims were met.
    pub(super) fn is_whole(&self) -> bool {
        self.failures.is_empty()
    }

    pub(super) fn print_and_write(&self, json: &Path, took: Duration) -> anyhow::Result<()> {
        let text = fs::read_to_string(self.figures.path())?;
        let figures = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<Vec<Figure>, _>>()
            .context("a bench wrote a figure that cannot be read")?;
        println!("\nWhat was aimed at");
        for line in table(&figures) {
            println!("{line}");
        }
        for Failure { part, error } in &self.failures {
            println!("not measured: {part}: {error}");
        }
        let page = Page {
            machine: &self.machine,
            seconds: took.as_secs(),
            figures: &figures,
            failures: &self.failures,
        };
        let text = serde_json::to_string_pretty(&page)?;
        fs::write(json, text).with_context(|| format!("{} cannot be written", json.display()))?;
        println!(
            "{} figures in {}; all of it took {} s",
            figures.len(),
            json.display(),
            took.as_secs()
        );
        Ok(())
    }
}

fn table(figures: &[Figure]) -> Vec<String> {
    let aimed = figures.iter().filter_map(|figure| {
        let aim = figure.aim?;
        let value = figure
            .value
            .map_or_else(|| "none".to_owned(), |value| format!("{value:.2}"));
        let met = if figure.met == Some(true) {
            "met"
        } else {
            "NOT MET"
        };
        let what = format!("{}: {}", figure.bench, figure.what);
        Some(format!(
            "{what:<92}{value:>11} {:<12}{aim:>9}  {met}",
            figure.unit
        ))
    });
    aimed.collect()
}

#[cfg(test)]
mod tests {
    use signet_figures::Aim;

    use super::*;

    #[test]
    fn the_table_has_what_was_aimed_at_and_says_whether_it_was_met() {
        let figure = |value, aim: Option<Aim>| Figure {
            bench: "b".to_owned(),
            what: "w".to_owned(),
            value,
            unit: "ms".to_owned(),
            aim,
            met: aim.zip(value).map(|(aim, value)| aim.met(value)),
        };
        let aim = Some(Aim::AtMost(100.0));
        let lines = table(&[
            figure(Some(1.0), None),
            figure(Some(99.0), aim),
            figure(None, aim),
        ]);
        let [met, none] = &lines[..] else {
            unreachable!("{lines:?}");
        };
        assert!(met.ends_with("≤100  met") && met.contains("99.00"), "{met}");
        assert!(none.ends_with("NOT MET") && none.contains("none"), "{none}");
    }
}
