//! Namespaces, links, addresses, routes.

mod batch;
mod kill;
mod namespace;
mod sysctl;

pub(crate) use batch::{configure, links};
pub(crate) use kill::kill_all;
pub(crate) use namespace::{create, delete, list};
pub use namespace::{inode, within};
pub(crate) use sysctl::apply as apply_sysctls;
