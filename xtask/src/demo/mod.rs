//! `make demo`: the slice seen at work, with real output. Ends with an error when what is seen is not what is said.

mod narrator;
mod run;
mod scenes;
mod stage;

pub(crate) use run::{Options, run};
