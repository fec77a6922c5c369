//! SPIRE's registration entries, and what they are as registrations. Pure.

mod entry;
#[cfg(test)]
mod fuzz;
mod map;

pub(crate) use entry::read;
pub(crate) use map::{Mapped, Rules, map};
