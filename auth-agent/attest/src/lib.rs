//! Workload attestation by peer credentials and pidfd.
//!
//! What is known of a process that connected to a Unix socket ([`Process`]) becomes [`Selectors`], told by an [`Attestor`] while
//! the pidfd vouches that the PID still names the same process, and compared with a registration's [`RequiredSelectors`]. The
//! second half is pure. An attestor is made of ways ([`WorkloadAttestor`]): [`Unix`], [`Cgroups`] and [`Endpoints`].
//!
//! What the selectors are worth:
//!
//! * `unix:uid`, `unix:gid`: the kernel's word at the time of `connect`; a process whose credentials have changed since
//!   is refused, so that nobody becomes a set-user-ID program after connecting.
//! * `unix:path`: given only where the path names the same file in our own mount namespace. A process in a mount
//!   namespace of its own can put any file at any path, so its word on the path is worth nothing.
//! * `unix:sha256`: the content of the running executable, wherever it lies. Not given for FUSE, whose owner may answer
//!   each read differently.
//! * `unix:supplementary_gid`: the kernel's word at the time of attestation. Only who has `CAP_SETGID` takes one on.
//! * `unix:parent:path`: one of the [`MAX_ANCESTORS`] processes above runs this program, by the same rule as `unix:path`. It
//!   says who started the process as long as nobody in between has ended, after which the process is somebody else's child;
//!   so what can be lost is the selector, never gained. Any program that starts others at will starts this one as well.
//! * `cgroup:path`: which group of the unified hierarchy it is in, which whoever may write to the group decides.
//! * `systemd:unit`: the unit of the system's systemd that the group lies in. Worth as much as the tree: where systemd is
//!   not the one who made it, this is the word of whoever did.
//! * `endpoint`: the network namespace that the process is in.
//!
//! Path and digest tell which program a user runs; they are no barrier between processes of one user, who may trace each
//! other. Use them together with `unix:uid`.

mod ancestors;
mod attestor;
mod cgroup;
mod endpoint;
mod executable;
mod hash_cache;
mod number;
mod proc;
mod process;
mod selector;
mod selectors;
mod unix;
mod way;

pub use ancestors::MAX_ANCESTORS;
pub use attestor::{AllChanges, AttestError, Attestor};
pub use cgroup::{CgroupPath, CgroupPathError, Cgroups, UnitName, UnitNameError};
pub use endpoint::{EndpointName, EndpointNameError, EndpointTable, Endpoints, NetnsInode};
pub use process::{Process, ProcessError};
pub use selector::{ParseSelectorError, Selector, Sha256, UnixPath};
pub use selectors::{MAX_REQUIRED, RequiredSelectors, RequiredSelectorsError, Selectors};
pub use unix::Unix;
pub use way::{Changes, Gone, Known, ObjectReference, ResolveError, WorkloadAttestor};
