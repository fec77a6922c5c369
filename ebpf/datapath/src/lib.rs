//! Loads, pins and attaches Signet's kernel programs.
//!
//! Only signet-meshd links this crate. Everything that it makes in the kernel is pinned, so that a restart of the
//! daemon interrupts nothing: the next [`Datapath::load`] adopts the maps, and each `attach_*` replaces the program
//! behind a hook in one step.
//!
//! ```text
//! <pin directory>/IPCACHE …            maps, by the names in signet_abi::maps
//! <pin directory>/links/<ifindex>_<program>   attachments
//! ```

#![forbid(unsafe_code)]

mod attach;
mod bpffs;
mod capacities;
mod datapath;
mod error;
mod hook;
mod interface;
mod layout;
mod object;
mod run;

pub use attach::Attachment;
pub use bpffs::prepare;
pub use capacities::Capacities;
pub use datapath::{AttachMode, Datapath, ProgramReport};
pub use error::DatapathError;
pub use hook::Hook;
pub use interface::Interface;
pub use run::{Run, RunInput};
