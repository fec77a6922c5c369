//! Cases that share one lab.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
    let times: Arc<Mutex<Vec<(&str, Duration)>>> = Arc::default();
    let trials = cases.iter().map(|&case| {
        let (stage, times) = (Arc::clone(&stage), Arc::clone(&times));
        let took = move |what, since: Instant| {
            let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
            times.push((what, since.elapsed()));
        };
        Trial::test(case.name, move || {
            let mut slot = stage.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.is_none() {
                let began = Instant::now();
                *slot = Some(Stage::up(stem, file).map_err(|error| failed(&error))?);
                took("(the lab)", began);
            }
            let began = Instant::now();
            let result = match slot.as_mut() {
                Some(stage) => (case.run)(stage).map_err(|error| failed(&error.context(stage.diagnosis()))),
                None => Err("the lab is gone".into()),
            };
            took(case.name, began);
            result
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(stage.lock().unwrap_or_else(PoisonError::into_inner).take());
    // Where the time went, for whoever wants to make it less.
    let times = times.lock().unwrap_or_else(PoisonError::into_inner);
    for (what, took) in times.iter().filter(|(_, took)| *took > Duration::from_secs(1)) {
        // A closed standard output has nobody to tell.
        let _ = writeln!(std::io::stdout(), "{:>6.1} s  {what}", took.as_secs_f64());
    }
    conclusion.exit_code()
}

fn failed(error: &anyhow::Error) -> Failed {
    format!("{error:#}").into()
}
