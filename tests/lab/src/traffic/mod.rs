//! Something to talk, and something to talk to: the traffic of the demo and the end-to-end tests.

mod probe;
mod serve;
mod stream;

pub use probe::{Probe, ProbeReport, Transport, probe};
pub use serve::{ServeOptions, serve};
pub use stream::{StreamReport, Transfer, stream, stream_until};
