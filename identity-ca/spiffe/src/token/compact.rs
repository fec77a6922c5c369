//! A token taken apart, nothing of it believed yet (JWT-SVID §2, §5.1; RFC 7515 §3.1).

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::error::TokenError;
use crate::json;

/// Longest token that is read, bytes.
pub const MAX_JWT_BYTES: usize = 16 * 1024;

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

/// The parts of a token in the compact serialization, of which the header alone has been read.
pub(crate) struct Compact<'a> {
    pub(crate) header: Map<String, Value>,
    claims: &'a str,
    signature: &'a str,
    /// Header and claims as they were signed.
    pub(crate) signed: &'a [u8],
}

impl<'a> Compact<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > MAX_JWT_BYTES {
            return Err(TokenError::TooLong { bytes: text.len() });
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::NotCompact)?;
        let (header, claims) = signed
            .split_once('.')
            .filter(|(_, claims)| !claims.contains('.'))
            .ok_or(TokenError::NotCompact)?;
        Ok(Self {
            header: object(JwtPart::Header, header)?,
            claims,
            signature,
            signed: signed.as_bytes(),
        })
    }

    /// What is only said so far.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, TokenError> {
        object(JwtPart::Claims, self.claims)
    }

    pub(crate) fn signature(&self) -> Result<Vec<u8>, TokenError> {
        decode(JwtPart::Signature, self.signature)
    }
}

/// Base64url without padding, without line breaks, and with no bits beyond the last byte (RFC 7515 §2).
fn decode(part: JwtPart, text: &str) -> Result<Vec<u8>, TokenError> {
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| TokenError::Base64 { part })
}

fn object(part: JwtPart, text: &str) -> Result<Map<String, Value>, TokenError> {
    json::parse_object(&decode(part, text)?).map_err(|error| TokenError::Json {
        part,
        reason: error.to_string(),
    })
}
