//! Envoy's Secret Discovery Service (SDS) v3, beside the Workload API on its socket: an Envoy takes its certificates and what
//! it checks its peers with from the agent, and is pushed each renewal.
//!
//! Whoever connects is attested as a caller of the Workload API is, by [`signet_workload_api::Entrance`], and gets the same
//! identities and bundles. Names of resources are those of SPIRE's agent:
//!
//! | name | what |
//! | --- | --- |
//! | a SPIFFE ID | that identity's certificates and private key |
//! | `default` | the same of the caller's default identity |
//! | `ROOTCA` | what to check peers of the own trust domain with |
//! | `spiffe://<trust domain>` | what to check peers of that trust domain with |
//! | `ALL` | what to check peers of all trust domains with that have a bundle, each by its own |
//!
//! Peers are checked by Envoy's SPIFFE certificate validator (Envoy 1.18 and newer), so that no authority is believed about
//! another trust domain. A name that means nothing for the caller, or whose SVID has yet to be issued, is left pending: Envoy
//! waits, and is told as soon as there is something.
//!
//! **What is taken back is taken back from Envoy, too.** Envoy keeps the last secret that it was given, whatever becomes of
//! the stream. So an identity that the caller may not have any more is overwritten by a certificate that nobody trusts, and
//! a bundle by one that nobody has a key for, before the stream ends with `PermissionDenied`.
//!
//! ```no_run
//! # use std::{path::Path, sync::Arc};
//! # use signet_workload_api::{Limits, SvidSource, serve_beside};
//! # async fn run(agent: Arc<impl SvidSource>) -> Result<(), Box<dyn std::error::Error>> {
//! let secrets = signet_sds::service()?;
//! let (socket, stop) = (Path::new("/run/signet/workload.sock"), std::future::pending());
//! serve_beside(socket, agent, Limits::default(), secrets, stop).await?;
//! # Ok(())
//! # }
//! ```

mod content;
mod conversation;
mod delta;
mod name;
mod pem;
mod refusal;
mod secret;
mod service;
mod state;
mod withdrawn;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod testing;

pub use refusal::MAX_NAMES;
pub use service::{LONGEST_LIST, service};
pub use withdrawn::WithdrawnError;
