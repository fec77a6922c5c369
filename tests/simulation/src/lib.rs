//! Many agents on one simulated network and one simulated clock, with a reference model beside them.
//!
//! What runs is what the daemon runs: `signet-session`, `signet-lease`, `signet-pairs`, `signet-handshake` with real certificates and real
//! TLS 1.3 between workloads, `signet-parking`, `signet-refusal`, `signet-preauth`, and the comparisons by which the kernel programs judge (`signet-abi`). What is
//! simulated is around them: time, TCP and the outer TLS, the kernel's maps, the CA's pushes, signet-meshd; and what the
//! daemon's tasks do between the cores is written here once more ([`agent`], `sessions`, `pairs`, `parking`, `ahead`), without tasks.
//!
//! | module | is |
//! | --- | --- |
//! | [`model`] | a run with generated faults, its checks, and how a failing one is made smaller |
//! | [`scale`] | what a thousand nodes say to each other at rest, and how long they take to converge |
//! | [`world`] | a cluster on one clock |
//! | [`fault`] | what goes wrong |
//! | [`truth`] | the reference model; [`ledger`] and [`foresight`] are its parts |

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a development tool: what fails here is the test that runs it"
)]

pub mod agenda;
pub mod agent;
mod ahead;
pub mod authority;
mod checks;
pub mod context;
mod control;
pub mod dice;
pub mod fault;
pub mod foresight;
pub mod frames;
mod happen;
pub mod host;
pub mod kernel;
pub mod ledger;
pub mod model;
pub mod names;
pub mod network;
mod packets;
pub mod pairs;
mod parking;
mod process;
pub mod rules;
pub mod scale;
mod sessions;
pub mod truth;
pub mod view;
pub mod world;
