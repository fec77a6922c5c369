//! What TPMs say and are told: the few structures and commands of TPM 2.0 (TCG, Trusted Platform Module Library) that node
//! attestation needs. Pure: bytes in, bytes out; whoever has a device sends them.
//!
//! Only what is used can be read: RSA and P-256 keys named by SHA-256, statements of `TPM2_Certify`, signatures with SHA-256.
//! All else is an error, and so is a byte too many. Every length is checked before anything of it is read.
//!
//! Written here because a CA reads these structures from strangers: marshallers from elsewhere know hundreds of
//! structures and cast their bytes with `unsafe`.

mod attest;
pub mod command;
mod der;
mod public;
mod reader;
mod response;
mod signature;
pub mod template;
mod writer;

pub use attest::Certification;
pub use public::{Attributes, MAX_PUBLIC_BYTES, Name, Public, PublicKey, Scheme};
pub use reader::{Malformed, Reader};
pub use response::{MAX_RESPONSE_BYTES, Response, ResponseCode, ResponseError, announced_size};
pub use signature::Signature;
pub use writer::Writer;

/// `TPM_ALG_ID` (Part 2, 6.3).
pub mod algorithm {
    /// RSA.
    pub const RSA: u16 = 0x0001;
    /// AES.
    pub const AES: u16 = 0x0006;
    /// SHA-256.
    pub const SHA256: u16 = 0x000b;
    /// None.
    pub const NULL: u16 = 0x0010;
    /// RSA signatures of PKCS#1 1.5.
    pub const RSASSA: u16 = 0x0014;
    /// RSA encryption of PKCS#1 1.5.
    pub const RSAES: u16 = 0x0015;
    /// RSA signatures of PSS.
    pub const RSAPSS: u16 = 0x0016;
    /// RSA encryption of OAEP.
    pub const OAEP: u16 = 0x0017;
    /// ECDSA.
    pub const ECDSA: u16 = 0x0018;
    /// Keys of elliptic curves.
    pub const ECC: u16 = 0x0023;
    /// Cipher feedback mode.
    pub const CFB: u16 = 0x0043;
    /// `TPM_ECC_NIST_P256`, of another table (Part 2, 6.4).
    pub const P256: u16 = 0x0003;
}

/// Permanent handles (Part 2, 7.4).
pub mod handle {
    /// The owner's hierarchy.
    pub const OWNER: u32 = 0x4000_0001;
    /// None.
    pub const NULL: u32 = 0x4000_0007;
    /// A password in place of a session.
    pub const PASSWORD: u32 = 0x4000_0009;
    /// The endorsement hierarchy.
    pub const ENDORSEMENT: u32 = 0x4000_000b;
    /// Where makers put the certificate of the RSA-2048 endorsement key (TCG EK Credential Profile, 2.2.1.4).
    pub const EK_CERTIFICATE_RSA_2048: u32 = 0x01c0_0002;
    /// The same of the P-256 one.
    pub const EK_CERTIFICATE_P256: u32 = 0x01c0_000a;
}
