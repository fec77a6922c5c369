//! Making JWT-SVIDs (JWT-SVID §2, §3).

use data_encoding::BASE64URL_NOPAD;
use rustls_pki_types::UnixTime;
use serde::Serialize;

use super::algorithm::JwtAlgorithm;
use super::audience::Audience;
use crate::id::SpiffeId;

/// A private key, wherever it lives.
pub trait JwtSigner {
    /// What it signs with.
    fn algorithm(&self) -> JwtAlgorithm;

    /// The ID under which its public key is published.
    fn key_id(&self) -> &str;

    /// Signs, in the form of RFC 7518 §3: for ECDSA the two integers side by side.
    ///
    /// # Errors
    /// The key could not be used.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JwtSignerError>;
}

/// A key that could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the JWT key could not sign")]
pub struct JwtSignerError;

/// What a token says. Claims that validators do not have to look at are not in it, except `iat` and `jti`, for those who
/// trace one: nothing in a JWT-SVID's validation depends on them (§7.1).
#[derive(Debug, Clone, Copy)]
pub struct JwtSvidClaims<'a> {
    /// Whose token it is.
    pub id: &'a SpiffeId,
    /// For whom.
    pub audience: &'a Audience,
    /// When it is made.
    pub issued_at: UnixTime,
    /// The first moment at which it is not valid any more.
    pub expires: UnixTime,
    /// `jti`: unique.
    pub token_id: &'a str,
    /// `iss`, for validators that find keys by OIDC discovery; none: it is left out.
    pub issuer: Option<&'a str>,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    /// Optional in the standard; yet some validators refuse tokens without it.
    kid: &'a str,
    typ: &'static str,
}

#[derive(Serialize)]
struct Claims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    sub: &'a str,
    aud: &'a [String],
    exp: u64,
    iat: u64,
    jti: &'a str,
}

/// Makes a token, in the compact serialization (§5.1).
///
/// # Errors
/// The key could not be used.
pub fn sign_jwt_svid(
    signer: &(impl JwtSigner + ?Sized),
    claims: &JwtSvidClaims<'_>,
) -> Result<String, JwtSignerError> {
    let header = Header {
        alg: signer.algorithm().as_str(),
        kid: signer.key_id(),
        typ: "JWT",
    };
    let claims = Claims {
        iss: claims.issuer,
        sub: claims.id.as_str(),
        aud: claims.audience.as_slice(),
        exp: claims.expires.as_secs(),
        iat: claims.issued_at.as_secs(),
        jti: claims.token_id,
    };
    sealed(signer, &header, &claims)
}

/// A signed token of these parts, in the compact serialization.
pub(crate) fn sealed(
    signer: &(impl JwtSigner + ?Sized),
    header: &impl Serialize,
    claims: &impl Serialize,
) -> Result<String, JwtSignerError> {
    let mut token = encode(header)?;
    token.push('.');
    token.push_str(&encode(claims)?);
    let signature = signer.sign(token.as_bytes())?;
    token.push('.');
    BASE64URL_NOPAD.encode_append(&signature, &mut token);
    Ok(token)
}

fn encode(part: &impl Serialize) -> Result<String, JwtSignerError> {
    // Texts and numbers always have a JSON form.
    let json = serde_json::to_vec(part).map_err(|_| JwtSignerError)?;
    Ok(BASE64URL_NOPAD.encode(&json))
}
