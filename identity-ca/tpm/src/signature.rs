use crate::reader::padded;
use crate::{Malformed, Reader, algorithm, der};

/// Longest RSA signature, bytes.
const MODULUS: usize = 512;

/// `TPMT_SIGNATURE` (Part 2, 11.3.4) with SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// ECDSA on P-256.
    Ecdsa {
        /// First number.
        r: [u8; 32],
        /// Second number.
        s: [u8; 32],
    },
    /// RSA, PKCS#1 1.5.
    RsaSsa(Vec<u8>),
}

impl Signature {
    /// Reads one, and nothing after it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let scheme = reader.u16()?;
        reader.expect(algorithm::SHA256, "it is not with SHA-256")?;
        let signature = match scheme {
            algorithm::ECDSA => Self::Ecdsa {
                r: padded(reader.sized(32)?)?,
                s: padded(reader.sized(32)?)?,
            },
            algorithm::RSASSA => Self::RsaSsa(reader.sized(MODULUS)?.to_vec()),
            _ => return Err(Malformed("it is neither ECDSA nor RSASSA")),
        };
        reader.finish()?;
        Ok(signature)
    }

    /// As certificates and TLS have it: `Ecdsa-Sig-Value` (RFC 3279 §2.2.3) in DER, or RSA's bytes.
    #[must_use]
    pub fn to_x509(&self) -> Vec<u8> {
        match self {
            Self::Ecdsa { r, s } => der::sequence(&[&der::integer(r), &der::integer(s)]),
            Self::RsaSsa(bytes) => bytes.clone(),
        }
    }
}
