//! docs/reference/cli.md: what every command says of itself.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::page::keep;

/// Options of `xtask commands`.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare only; fail when the committed page differs.
    #[arg(long)]
    check: bool,
}

/// The programs of the page.
const PROGRAMS: [&str; 5] = [
    "signet",
    "signet-ca",
    "signet-agent",
    "signet-meshd",
    "signet-keyd",
];

const INTRODUCTION: &str = "\
# Command line

<!-- Written by `target/debug/xtask commands` from each command's own --help. -->

What every command says of itself with `--help`. Options that all commands of `signet` share stand with `signet` alone.
";

/// Writes the page, or compares it. The programs are those beside this one.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let own = std::env::current_exe()?;
    let page = page(own.parent().unwrap_or(Path::new(".")))?;
    keep("cli.md", "commands", &page, options.check)
}

fn page(programs: &Path) -> anyhow::Result<String> {
    let mut page = INTRODUCTION.to_owned();
    for program in PROGRAMS {
        describe(&programs.join(program), &[], &mut page)?;
    }
    Ok(page)
}

/// A command, then the commands below it.
fn describe(program: &PathBuf, path: &[String], page: &mut String) -> anyhow::Result<()> {
    let help = help(program, path)?;
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let title = path
        .iter()
        .fold(name.into_owned(), |title, word| format!("{title} {word}"));
    let text = if path.is_empty() {
        help.clone()
    } else {
        without_shared_options(&help)
    };
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "\n{} {title}\n\n```\n{}\n```\n",
        if path.is_empty() { "##" } else { "###" },
        text.trim_end()
    );
    for command in commands(&help) {
        let mut below = path.to_vec();
        below.push(command);
        describe(program, &below, page)?;
    }
    Ok(())
}

fn help(program: &PathBuf, path: &[String]) -> anyhow::Result<String> {
    // Nothing of the reader's terminal or environment may get into the page.
    let output = Command::new(program)
        .args(path)
        .arg("--help")
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} could not be started; build the workspace", program.display()))?;
    if !output.status.success() {
        bail!(
            "{} {} --help ended with {}",
            program.display(),
            path.join(" "),
            output.status
        );
    }
    let text = String::from_utf8(output.stdout).context("a help text that is not UTF-8")?;
    Ok(text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
}

/// Names under "Commands:".
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // A name is indented by two; the lines that a long description goes on with, by more.
    let names = listed.filter_map(|line| {
        line.strip_prefix("  ")?
            .split(' ')
            .next()
            .filter(|name| !name.is_empty())
    });
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Cuts what every command repeats: the section of global options, up to the next line that begins at the margin.
fn without_shared_options(help: &str) -> String {
    let mut kept = Vec::new();
    let mut inside = false;
    for line in help.lines() {
        if line == "Global options:" {
            inside = true;
        } else if inside && !line.is_empty() && !line.starts_with(' ') {
            inside = false;
        }
        if !inside {
            kept.push(line);
        }
    }
    kept.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "Does it\n\nCommands:\n  up    Make a lab, which\n        takes long\n  help  Print\n\nOptions:\n  \
                        -h\n\nGlobal options:\n  -o\n\n  --lab\n\nExamples:\n  x up";

    #[test]
    fn the_commands_below_are_found() {
        assert_eq!(commands(HELP), ["up"]);
    }

    #[test]
    fn shared_options_are_cut_and_examples_kept() {
        let cut = without_shared_options(HELP);
        assert!(
            !cut.contains("--lab") && cut.ends_with("Examples:\n  x up"),
            "{cut}"
        );
    }
}
