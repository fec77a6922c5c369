//! CAs in a line. What a CA below this one may ask for (`permit`, `issue`, `follow`, `service`), and how this one follows the one
//! above it (`link`, `run`, `heed`).

mod config;
mod follow;
mod followers;
mod heed;
mod issue;
mod link;
mod permit;
mod run;
mod service;
mod state;
mod status;
mod wire;

pub use config::SignetUpstream;

pub(crate) use followers::Followers;
pub(crate) use heed::heed;
pub(crate) use link::{Link, Refused};
pub(crate) use run::run;
pub(crate) use service::Downstreams;
