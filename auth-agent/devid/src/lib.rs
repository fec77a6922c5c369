//! A device identity (`DevID`; TCG, TPM 2.0 Keys for Device Identity and Attestation) in the TPM of a node: how it is made, what
//! there is to show of it, and how it answers. Blocking.
//!
//! Nothing is kept in the TPM. What it wraps its keys into lies in files ([`Directory`]) that are of no use to another TPM.

mod address;
mod device;
mod directory;
mod endorsement;
mod error;
mod prepared;
mod provision;
mod tpm;

pub use address::{Address, AddressError};
pub use directory::{Directory, KeyBlob};
pub use endorsement::EndorsementCertificate;
pub use error::DevidError;
pub use prepared::{Prepared, Shown};
pub use provision::{Made, Wanted, create};
pub use signet_tpm::template::Kind;
pub use tpm::{Loaded, Passwords, Tpm};
