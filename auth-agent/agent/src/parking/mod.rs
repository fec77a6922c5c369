//! Packets that wait for the proof of their pair.

mod device;
mod handle;
mod lapsed;

pub use device::watch;
pub use handle::{Answers, Parking};
