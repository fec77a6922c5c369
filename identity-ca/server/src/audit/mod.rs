//! The audit stream: who asked for what, and what came of it, as lines of JSON that nothing is done without.

mod gate;
mod record;
mod sink;
mod subject;
mod target;
mod writer;

pub use sink::AuditLog;

pub(crate) use gate::{CameOf, Gate, Gated, Told, unwritten};
pub(crate) use record::{Event, Record, Who};
pub(crate) use target::AUDIT;
pub(crate) use writer::Audit;
