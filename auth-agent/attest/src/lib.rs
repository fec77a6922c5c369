//! Workload attestation by peer credentials and pidfd.
//!
//! What is known of a process that connected to a Unix socket ([`Process`]) becomes [`Facts`], read from `/proc` by an
//! [`Attestor`] while the pidfd vouches that the PID still names the same process. Facts become [`Selectors`], which a
//! registration's [`RequiredSelectors`] are compared with. The second half is pure.
//!
//! What the selectors are worth:
//!
//! * `unix:uid`, `unix:gid`: the kernel's word at the time of `connect`; a process whose credentials have changed since
//!   is refused, so that nobody becomes a set-user-ID program after connecting.
//! * `unix:path`: given only where the path names the same file in our own mount namespace. A process in a mount
//!   namespace of its own can put any file at any path, so its word on the path is worth nothing.
//! * `unix:sha256`: the content of the running executable, wherever it lies. Not given for FUSE, whose owner may answer
//!   each read differently.
//! * `endpoint`: the network namespace that the process is in.
//!
//! Path and digest tell which program a user runs; they are no barrier between processes of one user, who may trace each
//! other. Use them together with `unix:uid`.

mod attestor;
mod endpoint;
mod executable;
mod facts;
mod hash_cache;
mod number;
mod proc;
mod process;
mod selector;
mod selectors;

pub use attestor::{AttestError, Attestor};
pub use endpoint::{EndpointName, EndpointNameError, EndpointTable, NetnsInode};
pub use facts::Facts;
pub use process::{Process, ProcessError};
pub use selector::{ParseSelectorError, Selector, Sha256, UnixPath};
pub use selectors::{MAX_REQUIRED, RequiredSelectors, RequiredSelectorsError, Selectors};
