//! The node agent: identity for workloads, proof for the kernel.
//!
//! One task for each thing that the node depends on, joined by `watch` channels that always hold the last known state:
//!
//! | module | does |
//! | --- | --- |
//! | [`ca`] | attests the node, keeps its SVID, follows the CA's view |
//! | [`view`] | what is known of the trust domain, and its fan-out to the node's daemons |
//! | [`custody`] | keeps view and SVIDs, sealed, for the agent's next life |
//! | [`jwt`] | JWT-SVIDs of this node's workloads, asked for when they ask, and kept |
//! | [`wit`] | their WIT-SVIDs, where those are on |
//! | [`svids`] | workload keys and SVIDs for the registrations of this node, and the Workload API's offers |
//! | [`mesh`] | the local endpoints, from signet-meshd |
//! | [`sessions`] | one TLS connection per peer node, on demand, with pair handshakes inside |
//! | [`leases`] | what other nodes say of their addresses; writes `LEASES` and `LEASE_ENDS` |
//! | [`pairs`] | which pairs are proven, in flight or failing; writes `AUTH` |
//! | [`ahead`] | which pairs are worth a proof before anybody asks, from signet-meshd |
//! | [`transport`] | drives signet-keyd: offers, readiness and retirement of encryption |
//! | [`service`] | `agent.sock` |

#![recursion_limit = "256"]

pub mod ahead;
pub mod auth;
mod brokers;
pub mod ca;
pub mod cli;
pub mod clock;
pub mod custody;
pub mod devid;
mod feed;
pub mod jwt;
pub mod leases;
pub mod lists;
pub mod mesh;
pub mod metrics;
pub mod pairs;
pub mod parking;
mod renewal;
mod replace;
pub mod run;
pub mod service;
pub mod sessions;
pub mod signals;
pub mod status;
pub mod svids;
pub mod tasks;
pub mod transport;
pub mod validate;
pub mod view;
pub mod wit;
