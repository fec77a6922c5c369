use aws_lc_rs::digest::{SHA256, digest};

use crate::reader::padded;
use crate::{Malformed, Reader, algorithm, der};

/// Most bytes of a `TPMT_PUBLIC` that are read: an RSA key of 4,096 bits has some 540.
pub const MAX_PUBLIC_BYTES: usize = 1024;
/// Longest digest, bytes.
const DIGEST: usize = 64;
/// Longest modulus, bytes.
const MODULUS: usize = 512;

/// `TPMA_OBJECT` (Part 2, 8.3): what a key is for, and what may be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes(pub u32);

impl Attributes {
    /// It cannot leave its TPM.
    pub const FIXED_TPM: Self = Self(0x0000_0002);
    /// It cannot get another parent.
    pub const FIXED_PARENT: Self = Self(0x0000_0010);
    /// The TPM made it; nobody has brought it in.
    pub const SENSITIVE_DATA_ORIGIN: Self = Self(0x0000_0020);
    /// Its password, or a session with it, is enough to use it.
    pub const USER_WITH_AUTH: Self = Self(0x0000_0040);
    /// What its administrator may do takes a policy.
    pub const ADMIN_WITH_POLICY: Self = Self(0x0000_0080);
    /// Wrong passwords do not lock the TPM.
    pub const NO_DA: Self = Self(0x0000_0400);
    /// It signs only what the TPM itself has made, or decrypts only what the TPM understands.
    pub const RESTRICTED: Self = Self(0x0001_0000);
    /// It decrypts.
    pub const DECRYPT: Self = Self(0x0002_0000);
    /// It signs.
    pub const SIGN: Self = Self(0x0004_0000);

    /// All of several.
    #[must_use]
    pub const fn all<const N: usize>(several: [Self; N]) -> Self {
        let mut bits = 0;
        let mut place = 0;
        while place < N {
            bits |= several[place].0;
            place += 1;
        }
        Self(bits)
    }

    /// Whether all of `other` are there.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is there.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Whoever uses it says how.
    Any,
    /// ECDSA with SHA-256.
    Ecdsa,
    /// RSA, PKCS#1 1.5, with SHA-256.
    RsaSsa,
    /// RSA, PSS, with SHA-256.
    RsaPss,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// On the curve P-256; that it lies there is not checked.
    P256 {
        /// The point's.
        x: [u8; 32],
        /// The point's.
        y: [u8; 32],
    },
    /// RSA of 2,048, 3,072 or 4,096 bits.
    Rsa {
        /// As long as the key.
        modulus: Vec<u8>,
        /// Mostly 65,537.
        exponent: u32,
    },
}

impl PublicKey {
    /// `SubjectPublicKeyInfo` (RFC 5280 §4.1, RFC 3279, RFC 5480), DER.
    #[must_use]
    pub fn to_spki(&self) -> Vec<u8> {
        match self {
            Self::P256 { .. } => {
                let ec_public_key = der::element(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]);
                let p256 = der::element(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]);
                let point = der::bit_string(&self.to_raw());
                der::sequence(&[&der::sequence(&[&ec_public_key, &p256]), &point])
            }
            Self::Rsa { .. } => {
                let rsa = der::element(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01]);
                let key = der::bit_string(&self.to_raw());
                der::sequence(&[&der::sequence(&[&rsa, &der::element(0x05, &[])]), &key])
            }
        }
    }

    /// The key in it: an uncompressed point (SEC 1, 2.3.3), or `RSAPublicKey` (RFC 8017 A.1.1) in DER.
    #[must_use]
    pub fn to_raw(&self) -> Vec<u8> {
        match self {
            Self::P256 { x, y } => [&[4], &x[..], y].concat(),
            Self::Rsa { modulus, exponent } => {
                der::sequence(&[&der::integer(modulus), &der::integer(&exponent.to_be_bytes())])
            }
        }
    }
}

/// The name of a key (Part 1, 16): which digest, and the digest of its public area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name([u8; 34]);

impl Name {
    /// As it is on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 34] {
        &self.0
    }
}

/// `TPMT_PUBLIC` (Part 2, 12.2.4): a public key, and all that its TPM keeps to about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Public {
    bytes: Vec<u8>,
    attributes: Attributes,
    scheme: Scheme,
    key: PublicKey,
}

impl Public {
    /// Reads one, and nothing after it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_PUBLIC_BYTES {
            return Err(Malformed("it is too long"));
        }
        let mut reader = Reader::new(bytes);
        let kind = reader.u16()?;
        reader.expect(algorithm::SHA256, "it is not named by SHA-256")?;
        let attributes = Attributes(reader.u32()?);
        reader.sized(DIGEST)?;
        let (scheme, key) = match kind {
            algorithm::RSA => rsa(&mut reader)?,
            algorithm::ECC => ecc(&mut reader)?,
            _ => return Err(Malformed("it is neither an RSA key nor one of a curve")),
        };
        reader.finish()?;
        Ok(Self {
            bytes: bytes.to_vec(),
            attributes,
            scheme,
            key,
        })
    }

    /// As it was read.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it is for.
    #[must_use]
    pub fn attributes(&self) -> Attributes {
        self.attributes
    }

    /// How it signs, if it does.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The key alone.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What TPMs call it.
    #[must_use]
    pub fn name(&self) -> Name {
        let mut name = [0; 34];
        name[..2].copy_from_slice(&algorithm::SHA256.to_be_bytes());
        name[2..].copy_from_slice(digest(&SHA256, &self.bytes).as_ref());
        Name(name)
    }
}

/// `TPMT_SYM_DEF_OBJECT`, which only parents have.
fn symmetric(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    if reader.u16()? != algorithm::NULL {
        // Bits of the key, mode.
        reader.take(4)?;
    }
    Ok(())
}

fn rsa(reader: &mut Reader<'_>) -> Result<(Scheme, PublicKey), Malformed> {
    symmetric(reader)?;
    let sha256 = |reader: &mut Reader<'_>| reader.expect(algorithm::SHA256, "its scheme is not with SHA-256");
    let scheme = match reader.u16()? {
        algorithm::NULL => Scheme::Any,
        algorithm::RSASSA => sha256(reader).map(|()| Scheme::RsaSsa)?,
        algorithm::RSAPSS => sha256(reader).map(|()| Scheme::RsaPss)?,
        _ => return Err(Malformed("its scheme is not one of RSASSA, RSAPSS")),
    };
    let bits = reader.u16()?;
    let exponent = match reader.u32()? {
        0 => 65_537,
        odd if odd % 2 == 1 && odd > 1 => odd,
        _ => return Err(Malformed("its exponent is none")),
    };
    let modulus = reader.sized(MODULUS)?;
    let whole =
        modulus.len() * 8 == usize::from(bits) && modulus.first().is_some_and(|first| first & 0x80 != 0);
    if !whole || !matches!(bits, 2048 | 3072 | 4096) {
        return Err(Malformed("its modulus has not 2,048, 3,072 or 4,096 bits"));
    }
    let modulus = modulus.to_vec();
    Ok((scheme, PublicKey::Rsa { modulus, exponent }))
}

fn ecc(reader: &mut Reader<'_>) -> Result<(Scheme, PublicKey), Malformed> {
    symmetric(reader)?;
    let scheme = match reader.u16()? {
        algorithm::NULL => Scheme::Any,
        algorithm::ECDSA => {
            reader.expect(algorithm::SHA256, "its scheme is not with SHA-256")?;
            Scheme::Ecdsa
        }
        _ => return Err(Malformed("its scheme is not ECDSA")),
    };
    reader.expect(algorithm::P256, "its curve is not P-256")?;
    reader.expect(algorithm::NULL, "it has a key derivation, which no TPM has")?;
    let (x, y) = (padded(reader.sized(32)?)?, padded(reader.sized(32)?)?);
    Ok((scheme, PublicKey::P256 { x, y }))
}
