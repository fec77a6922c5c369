//! A daemon's numbers for Prometheus.
//!
//! A daemon describes what it is at the moment it is asked ([`Page`]); [`serve`] hands that out at `/metrics`, in the
//! `OpenMetrics` 1.0 text format. Nothing is counted twice: the page is made of what the daemon's own `Status` says.

#![forbid(unsafe_code)]

mod names;
mod page;
mod server;

pub use names::{exported, names};
pub use page::{Buckets, Labels, Page};
pub use server::serve;
