//! What is shown: pure. Field names of the models are the stable names of `-o json`.

pub(crate) mod auth;
pub(crate) mod auth_events;
pub(crate) mod authority;
pub(crate) mod ca;
pub(crate) mod ca_log;
pub(crate) mod encryption;
pub(crate) mod explain;
pub(crate) mod federation;
pub(crate) mod flows;
pub(crate) mod identity;
pub(crate) mod import;
pub(crate) mod lab;
pub(crate) mod leases;
pub(crate) mod node_entries;
pub(crate) mod outage;
pub(crate) mod policy;
pub(crate) mod revocation;
pub(crate) mod status;
pub(crate) mod upstream;
pub(crate) mod watch;
