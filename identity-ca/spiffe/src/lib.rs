//! SPIFFE IDs, bundles, revocations, and the verification of X.509-SVIDs, JWT-SVIDs and WIT-SVIDs.
//!
//! Pure: no clock, no files, no sockets. `now` is an argument everywhere. The standards are those of
//! <https://spiffe.io/docs/latest/spiffe-specs/>; docstrings name document and section.
//!
//! ```
//! use signet_spiffe::{SpiffeId, TrustDomain};
//!
//! let domain = TrustDomain::parse("cluster.local")?;
//! let id = SpiffeId::workload(&domain, "shop", "web")?;
//! assert_eq!(id.as_str(), "spiffe://cluster.local/ns/shop/sa/web");
//! # Ok::<(), signet_spiffe::IdError>(())
//! ```

mod bundle;
mod bundles;
mod certificate;
mod der;
mod dns_name;
mod hint;
mod id;
mod json;
mod jwk;
mod jwks;
mod jwt;
mod key_type;
mod leaf;
mod node_name;
mod pem;
mod renewal;
mod revocation;
mod serial;
mod signer;
mod svid;
mod token;
mod trust_domain;
mod wit;

pub use bundle::{BundleError, BundleSet, MAX_AUTHORITIES, X509Bundle};
pub use bundles::BundlesOf;
pub use certificate::CertificateError;
pub use der::split as split_certificates;
pub use dns_name::{DnsName, DnsNameError};
pub use hint::{Hint, HintError, MAX_HINT_BYTES};
pub use id::{IdError, MAX_ID_LENGTH, SpiffeId};
pub use jwks::{JwksError, MAX_JWKS_BYTES, SpiffeBundle};
pub use jwt::{
    Audience, AudienceError, HeaderError, JwtAlgorithm, JwtBundle, JwtBundleError, JwtBundleSet, JwtKey,
    JwtKeyError, JwtSigner, JwtSignerError, JwtSvidClaims, JwtSvidError, MAX_AUDIENCE_BYTES, MAX_AUDIENCES,
    MAX_JWT_KEYS, MAX_KEY_ID_BYTES, VerifiedJwtSvid, sign_jwt_svid, verify_jwt_svid,
};
pub use key_type::{KeyType, KeyTypeError};
pub use leaf::LeafError;
pub use node_name::{NodeName, NodeNameError};
pub use pem::encode as certificates_to_pem;
pub use renewal::Renewal;
pub use revocation::{
    HexError, KeyId, MAX_SERIAL_BYTES, Revocations, Revoked, RevokedBy, SerialNumber, Subject,
};
pub use rustls_pki_types::{CertificateDer, UnixTime};
pub use serial::{NODE_SERIAL_BYTES, node_serial, node_serials_since};
pub use signer::SignerError;
pub use svid::{MAX_CERTIFICATE_BYTES, MAX_CHAIN_LENGTH, SvidError, VerifiedSvid, verify_x509_svid};
pub use token::{JwtPart, MAX_JWT_BYTES, TokenError};
pub use trust_domain::{MAX_TRUST_DOMAIN_LENGTH, TrustDomain};
pub use wit::{
    ConfirmationError, ConfirmationKey, MAX_PROOF_LIFE, ProofContext, ProofError, SeenProofs,
    UnprovenWitSvid, VerifiedWitSvid, WitBundle, WitBundleSet, WitHeaderError, WitProofClaims, WitSvidClaims,
    WitSvidError, sign_wit_proof, sign_wit_svid, verify_wit_svid,
};
