//! The SPIFFE Broker API server: SVIDs and bundles of this node's workloads, for programs that act for many of them, such as
//! a proxy of the node (SPIFFE Broker API, SPIFFE Broker Endpoint).
//!
//! A broker shows an X.509-SVID of its own over mutual TLS, and is let in if its SPIFFE ID is on the list ([`Brokers`]); there
//! is no other way in, and the list is empty unless somebody fills it. Each request names one workload. What it gets is what that
//! workload would get from the Workload API: it is attested by us, held by a pidfd, and followed as long as it lives; nothing that
//! the broker says about it is believed but which one is meant.
//!
//! What a broker was let in with is looked at again at every request and at every change of what is trusted or revoked: when it
//! does not count any more, its streams end with `Unauthenticated`.

mod brokers;
mod caller;
mod gate;
mod health;
mod host;
mod listener;
mod reference;
mod refusal;
mod server;
mod service;
mod shares;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod pods;
#[cfg(test)]
mod testing;

pub use brokers::{BrokerError, Brokers};
pub use host::Host;
pub use server::{ServeError, serve};
