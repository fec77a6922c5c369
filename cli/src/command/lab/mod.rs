//! `signet lab`.

mod arguments;
mod inside;
mod lifecycle;
mod run;
mod traffic;

pub(crate) use arguments::Arguments;
pub(crate) use run::run;
