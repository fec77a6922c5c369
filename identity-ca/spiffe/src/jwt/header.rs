//! The JOSE header of a JWT-SVID (JWT-SVID §2).

use serde_json::{Map, Value};

use super::algorithm::JwtAlgorithm;
use super::key::MAX_KEY_ID_BYTES;
use crate::token::Header;

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

pub(super) fn check_header(header: &Map<String, Value>) -> Result<Header, HeaderError> {
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
    Ok(Header {
        algorithm,
        key_id: key_id.transpose()?,
    })
}
