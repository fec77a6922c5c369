//! What can be told of a daemon's configuration without starting it (`run --validate`): nothing is made, written, bound or
//! connected to, so it can be run beside the daemon itself.

mod checks;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

pub use checks::nearest_existing;

/// What was found, in the order of looking.
#[derive(Debug, Default)]
pub struct Preflight {
    problems: Vec<String>,
    remarks: Vec<String>,
    good: usize,
}

impl Preflight {
    /// Nothing was looked at yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a check, and hands its result on. `what` is the option or file that it is about.
    pub fn check<T, E: Display>(&mut self, what: impl Display, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => {
                self.good += 1;
                Some(value)
            }
            Err(error) => {
                self.problems.push(format!("{what}: {error}"));
                None
            }
        }
    }

    /// Notes something that is not wrong, and may not be meant.
    pub fn remark(&mut self, text: impl Display) {
        self.remarks.push(text.to_string());
    }

    /// What is wrong.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// What may not be meant.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Says all of it on standard output: 0 where the daemon can start by all that can be told, 1 otherwise. (A command line that
    /// cannot be understood is 2, and said before.)
    pub fn conclude(&self, daemon: &str) -> ExitCode {
        // A reader that has gone away changes nothing about the answer.
        let _ = self.write(daemon, &mut io::stdout().lock());
        if self.problems.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn write(&self, daemon: &str, to: &mut impl Write) -> io::Result<()> {
        for problem in &self.problems {
            writeln!(to, "problem: {problem}")?;
        }
        for remark in &self.remarks {
            writeln!(to, "remark: {remark}")?;
        }
        match self.problems.len() {
            0 => writeln!(
                to,
                "{daemon}: the configuration is good ({} things were looked at)",
                self.good
            ),
            1 => writeln!(to, "{daemon}: 1 problem"),
            count => writeln!(to, "{daemon}: {count} problems"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_said_and_one_is_enough_for_a_no() {
        let mut preflight = Preflight::new();
        assert_eq!(preflight.check("--a", Ok::<_, String>(7)), Some(7));
        preflight.remark("nobody listens");
        let mut said = Vec::new();
        preflight.write("signet-x", &mut said).unwrap();
        assert_eq!(
            String::from_utf8(said).unwrap(),
            "remark: nobody listens\nsignet-x: the configuration is good (1 things were looked at)\n"
        );
        preflight.check::<(), _>("--b", Err("is wrong"));
        preflight.check::<(), _>("--c", Err("is wrong, too"));
        let mut said = Vec::new();
        preflight.write("signet-x", &mut said).unwrap();
        let said = String::from_utf8(said).unwrap();
        assert!(
            said.starts_with("problem: --b: is wrong\nproblem: --c: is wrong, too\n"),
            "{said}"
        );
        assert!(said.ends_with("signet-x: 2 problems\n"), "{said}");
    }
}
