//! A token taken apart, nothing of it believed yet (JWT-SVID §2, §5.1; RFC 7515 §3.1).

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::algorithm::JwtAlgorithm;
use super::key::MAX_KEY_ID_BYTES;
use super::verify::JwtSvidError;
use crate::json;

/// Longest token that is read, bytes.
pub const MAX_JWT_BYTES: usize = 16 * 1024;

/// Why a JOSE header is no JWT-SVID's (JWT-SVID §2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Absent, or another one than those of §2.1. `none` is another one.
    #[error("its alg is none of RS, ES and PS with 256, 384 or 512")]
    Algorithm,
    /// A member other than `alg`, `kid` and `typ` (§2).
    #[error("it has the member {name:?}; alg, kid and typ are the only ones")]
    Member {
        /// Its name, cut.
        name: String,
    },
    /// Neither `JWT` nor `JOSE` (§2.3).
    #[error("its typ is neither JWT nor JOSE")]
    Type,
    /// No text, empty, or longer than [`MAX_KEY_ID_BYTES`].
    #[error("its kid is no text of 1 to {MAX_KEY_ID_BYTES} bytes")]
    KeyId,
}

/// One of the three parts of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtPart {
    /// The first.
    Header,
    /// The second.
    Claims,
    /// The third.
    Signature,
}

impl std::fmt::Display for JwtPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Claims => "claims",
            Self::Signature => "signature",
        })
    }
}

/// A token whose header is a JWT-SVID's. Its claims are only said so far.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    pub(crate) algorithm: JwtAlgorithm,
    pub(crate) key_id: Option<String>,
    pub(crate) claims: Map<String, Value>,
    /// Header and claims as they were signed.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Vec<u8>,
}

/// The parts of a token in the compact serialization, of which the header alone has been read.
pub(crate) struct Compact<'a> {
    pub(crate) header: Map<String, Value>,
    claims: &'a str,
    signature: &'a str,
    /// Header and claims as they were signed.
    pub(crate) signed: &'a [u8],
}

impl<'a> Compact<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, JwtSvidError> {
        if text.len() > MAX_JWT_BYTES {
            return Err(JwtSvidError::TooLong { bytes: text.len() });
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(JwtSvidError::NotCompact)?;
        let (header, claims) = signed
            .split_once('.')
            .filter(|(_, claims)| !claims.contains('.'))
            .ok_or(JwtSvidError::NotCompact)?;
        Ok(Self {
            header: object(JwtPart::Header, header)?,
            claims,
            signature,
            signed: signed.as_bytes(),
        })
    }

    /// What is only said so far.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, JwtSvidError> {
        object(JwtPart::Claims, self.claims)
    }

    pub(crate) fn signature(&self) -> Result<Vec<u8>, JwtSvidError> {
        decode(JwtPart::Signature, self.signature)
    }
}

impl<'a> Token<'a> {
    /// Nothing of the claims is read before the header, and nothing of the header before its `alg` (§4).
    pub(crate) fn parse(text: &'a str) -> Result<Self, JwtSvidError> {
        let compact = Compact::parse(text)?;
        let (algorithm, key_id) = check_header(&compact.header)?;
        Ok(Self {
            algorithm,
            key_id,
            claims: compact.claims()?,
            signed: compact.signed,
            signature: compact.signature()?,
        })
    }
}

fn check_header(header: &Map<String, Value>) -> Result<(JwtAlgorithm, Option<String>), HeaderError> {
    let algorithm = header
        .get("alg")
        .and_then(Value::as_str)
        .and_then(JwtAlgorithm::parse)
        .ok_or(HeaderError::Algorithm)?;
    if let Some(name) = header
        .keys()
        .find(|name| !matches!(name.as_str(), "alg" | "kid" | "typ"))
    {
        return Err(HeaderError::Member {
            name: name.chars().take(64).collect(),
        });
    }
    if let Some(kind) = header.get("typ")
        && !matches!(kind.as_str(), Some("JWT" | "JOSE"))
    {
        return Err(HeaderError::Type);
    }
    let key_id = header.get("kid").map(|id| {
        let fits = |id: &&str| !id.is_empty() && id.len() <= MAX_KEY_ID_BYTES;
        id.as_str()
            .filter(fits)
            .map(str::to_owned)
            .ok_or(HeaderError::KeyId)
    });
    Ok((algorithm, key_id.transpose()?))
}

/// Base64url without padding, without line breaks, and with no bits beyond the last byte (RFC 7515 §2).
fn decode(part: JwtPart, text: &str) -> Result<Vec<u8>, JwtSvidError> {
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| JwtSvidError::Base64 { part })
}

fn object(part: JwtPart, text: &str) -> Result<Map<String, Value>, JwtSvidError> {
    json::parse_object(&decode(part, text)?).map_err(|error| JwtSvidError::Json {
        part,
        reason: error.to_string(),
    })
}
