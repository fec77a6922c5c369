//! SPIFFE clients that others wrote, driven by our tests: the Rust crates `spiffe` and `spiffe-rustls`, Python's `spiffe` and
//! `spiffe-tls`, and go-spiffe. Each is wrapped into a small program with the same commands and the same output.
//!
//! A [`Toolbox`] makes the programs ready (a virtual environment for Python, a build for Go); [`Running`] is one of them at
//! work, read as [`Event`]s. [`envoy_or_skip`] finds Envoy, which `make setup` fetches.

mod envoy;
mod event;
mod go;
mod python;
mod running;
mod toolbox;

pub use envoy::envoy_or_skip;
pub use event::{Event, SvidEvent};
pub use running::Running;
pub use toolbox::{Language, Missing, Toolbox};
