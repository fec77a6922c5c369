//! Certificates whose key cannot leave a TPM, and how a TPM proves that.
//!
//! Three keys of the TPM's say so together. The *endorsement key* (EK) has its maker's certificate, and only decrypts. The
//! *attestation key* (AK) signs only what the TPM says itself: that the *device identity* (`DevID`), whose certificate the
//! owner has issued, is in the same TPM ([`DeviceCertificate::in_tpm`](crate::DeviceCertificate::in_tpm)). And the AK is in
//! the TPM of the EK, for only that TPM opens what was sealed for both ([`ResidentCertificate::seal`]). What it finds in
//! there is part of the transcript that the `DevID` signs.

mod credential;
mod endorsement;
mod residency;

pub use credential::{Credential, SealError};
pub use endorsement::{EndorsementAuthorities, EndorsementError, EndorsementKey};
pub use residency::{Residency, ResidencyError, ResidentCertificate};
