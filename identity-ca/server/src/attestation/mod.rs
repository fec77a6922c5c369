//! How nodes are admitted: ways to attest behind one trait, the exchange that they share, and the operator's entries.

mod admit;
mod attestor;
mod config;
mod entries;
mod exchange;
mod refusal;
mod token;
mod tpm_devid;
mod tried;
mod x509pop;

pub(crate) use attestor::Attestors;
pub use config::{AttestationConfig, NameRule, TpmDevid, X509Pop};
pub(crate) use exchange::Exchanges;
