//! `signet-agent devid`, and how it and `run` are told where the TPM is.

mod args;
mod command;

pub use args::TpmArgs;
pub use command::{DevidArgs, DevidCommand, run};
