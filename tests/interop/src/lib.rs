//! SPIFFE clients that others wrote, driven by our tests: the Rust crates `spiffe` and `spiffe-rustls`, Python's `spiffe` and
//! `spiffe-tls`, and go-spiffe. Each is wrapped into a small program with the same commands and the same output.
//!
//! A [`Toolbox`] makes the programs ready (a virtual environment for Python, a build for Go); [`Running`] is one of them at
//! work, read as [`Event`]s. [`envoy_or_skip`] finds Envoy, which `make setup`
//! fetches, [`envoy_example`] configures it as our documentation says, and [`ask`] and [`tell_who_calls`] are the programs
//! at its two ends.

mod envoy;
mod event;
mod go;
mod http;
mod python;
mod running;
mod toolbox;

pub use envoy::{envoy_example, envoy_or_skip};
pub use event::{Event, SvidEvent};
pub use http::{ask, tell_who_calls};
pub use running::Running;
pub use toolbox::{Language, Missing, Toolbox};
