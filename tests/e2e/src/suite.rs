//! Cases that share one lab.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::Stage;

/// A case: its name, which says what it proves, and how.
#[derive(Clone, Copy)]
pub struct Case {
    /// What it proves, in snake case.
    pub name: &'static str,
    /// The proof. An error is a failure.
    pub run: fn(&mut Stage) -> anyhow::Result<()>,
}

/// Runs the cases that the command line selects, in their order, on a lab made from `file` (YAML) under a name that
/// begins with `stem`. The lab is made with the first case and removed after the last.
pub fn run(stem: &'static str, file: &'static str, cases: &[Case]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They share a lab and change it: one at a time, in order.
    arguments.test_threads = Some(1);
    let stage: Arc<Mutex<Option<Stage>>> = Arc::default();
    let trials = cases.iter().map(|&case| {
        let stage = Arc::clone(&stage);
        Trial::test(case.name, move || {
            let mut slot = stage.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.is_none() {
                *slot = Some(Stage::up(stem, file).map_err(|error| failed(&error))?);
            }
            match slot.as_mut() {
                Some(stage) => (case.run)(stage).map_err(|error| failed(&error.context(stage.diagnosis()))),
                None => Err("the lab is gone".into()),
            }
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(stage.lock().unwrap_or_else(PoisonError::into_inner).take());
    conclusion.exit_code()
}

fn failed(error: &anyhow::Error) -> Failed {
    format!("{error:#}").into()
}
