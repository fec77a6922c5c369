//! Who is above this CA's authorities, if anybody.

mod disk;
mod service;

pub use disk::{DiskUpstream, Upstream};
pub(crate) use service::Upstreams as UpstreamCalls;
