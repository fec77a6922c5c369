//! The audit stream: who was given what, and who was refused.

/// Target of audit events. They name nodes and workloads, which other events do at DEBUG alone; a log filter can leave
/// them out or pick them.
pub(crate) const AUDIT: &str = "signet::audit";
