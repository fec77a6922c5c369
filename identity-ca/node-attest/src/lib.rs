//! What a node shows to be admitted, and how it is checked. Pure: no sockets, no files, no clock; time and randomness are
//! arguments.
//!
//! A node that has no join token shows a certificate of its own, from an authority that the CA was given for this, and
//! proves that it has the key: it signs a [`Transcript`] that no other exchange has. In it are a nonce of the CA's, the
//! [`ChannelBinding`] of the very TLS connection that it came over, the node's name, and the request for its SVID. So an
//! answer is of no use a second time, over another connection, for another node or for another key.
//!
//! [`DeviceAuthorities`] says whether a certificate is believed; only it makes a [`DeviceCertificate`], and only that one's
//! [`verify`](DeviceCertificate::verify) makes a [`ProvenKey`]. Where the key has to be in a TPM, a [`ResidentCertificate`] comes
//! between the two.

mod binding;
mod device;
mod facts;
mod method;
mod selector;
mod tpm;
mod transcript;

pub use binding::{ChannelBinding, EXPORTER};
pub use device::{
    AuthoritiesError, DeviceAuthorities, DeviceCertificate, DeviceError, MAX_CERTIFICATE_BYTES,
    MAX_CHAIN_LENGTH, ProvenKey, SIGNATURE_SCHEMES, SignatureError,
};
pub use facts::Facts;
pub use method::{Method, MethodError};
pub use selector::{NodeSelector, SelectorError};
pub use tpm::{
    Credential, EndorsementAuthorities, EndorsementError, EndorsementKey, Residency, ResidencyError,
    ResidentCertificate, SealError,
};
pub use transcript::Transcript;
