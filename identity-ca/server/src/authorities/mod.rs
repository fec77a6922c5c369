//! The authorities that this CA signs with, as the registry has them, and the steps of their lives.

mod acknowledge;
mod automatic;
mod current;
mod ended;
mod first;
mod lists;
mod make;
mod opened;
mod operators;
mod rotation;
mod signing;
mod upstream;
mod wire;

pub(crate) use automatic::{StepFailure, run};
pub(crate) use current::Current;
pub(crate) use ended::{signs_soon, until_it_signs};
pub(crate) use first::begin;
pub(crate) use lists::Lists;
pub(crate) use make::Maker;
pub(crate) use operators::Authorities as AuthorityCalls;
pub use rotation::{Rotation, RotationError};
pub(crate) use signing::Signing;
pub(crate) use upstream::UpstreamCalls;
pub use upstream::{DiskUpstream, Upstream};
