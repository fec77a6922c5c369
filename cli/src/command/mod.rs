//! One file per command: what it takes, and how its answer is fetched.

pub(crate) mod auth;
pub(crate) mod authority;
pub(crate) mod authority_files;
pub(crate) mod ca;
pub(crate) mod ca_log;
pub(crate) mod completions;
pub(crate) mod encryption;
pub(crate) mod explain;
pub(crate) mod federation;
pub(crate) mod flows;
pub(crate) mod following;
pub(crate) mod heard;
pub(crate) mod identity;
pub(crate) mod import;
pub(crate) mod lab;
pub(crate) mod node_entries;
pub(crate) mod policy;
pub(crate) mod registrations;
pub(crate) mod revocation;
mod run;
pub(crate) mod status;
mod watch;

pub(crate) use run::run;
