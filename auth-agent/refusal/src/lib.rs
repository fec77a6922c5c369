//! What a sender is told that has no way to its destination: TCP a reset, everything else "administratively prohibited". Pure: frames
//! are bytes, times are nanoseconds of `CLOCK_BOOTTIME`.
//!
//! [`answer`] writes one small frame for one frame, or none where the standards forbid it; [`Budget`] says how many of them a sender,
//! and all of them together, may have.

mod answer;
mod budget;

pub use answer::answer;
pub use budget::{Budget, Limits};
