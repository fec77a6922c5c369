//! Making WIT-SVIDs (WIT-SVID §2 to §4), and the proofs that go with them (draft-ietf-wimse-wpt-02).

use rustls_pki_types::UnixTime;
use serde::Serialize;

use super::confirmation::ConfirmationKey;
use super::proof::hash_of;
use crate::id::SpiffeId;
use crate::jwk::Jwk;
use crate::jwt::{JwtSigner, JwtSignerError, sealed};

/// What a WIT-SVID says. There is no `aud`, which a proof has (§3.8), and no `iss`, which could make an identity token
/// for others of it (§3.7).
#[derive(Debug, Clone, Copy)]
pub struct WitSvidClaims<'a> {
    /// Whose token it is.
    pub id: &'a SpiffeId,
    /// The key that it is bound to.
    pub key: &'a ConfirmationKey,
    /// When it is made.
    pub issued_at: UnixTime,
    /// The first moment at which it is not valid any more.
    pub expires: UnixTime,
    /// `jti`: unique.
    pub token_id: &'a str,
}

/// What a proof says of the one request that it is made for.
#[derive(Debug, Clone, Copy)]
pub struct WitProofClaims<'a> {
    /// The WIT-SVID that it belongs to.
    pub wit_svid: &'a str,
    /// Where the request goes: its target URI without query and fragment.
    pub audience: &'a str,
    /// The first moment at which it is not valid any more: seconds or minutes from now, at most
    /// [`MAX_PROOF_LIFE`](super::MAX_PROOF_LIFE).
    pub expires: UnixTime,
    /// `jti`: unique, from 128 random bits.
    pub token_id: &'a str,
    /// An OAuth access token in the same request.
    pub access_token: Option<&'a str>,
    /// A transaction token in the same request.
    pub transaction_token: Option<&'a str>,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    typ: &'static str,
}

#[derive(Serialize)]
struct Confirmation {
    jwk: Jwk,
}

#[derive(Serialize)]
struct SvidClaims<'a> {
    cnf: Confirmation,
    exp: u64,
    iat: u64,
    jti: &'a str,
    sub: &'a str,
}

#[derive(Serialize)]
struct ProofClaims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<String>,
    aud: &'a str,
    exp: u64,
    jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tth: Option<String>,
    wth: String,
}

/// Makes a WIT-SVID, in the compact serialization.
///
/// # Errors
/// The key could not be used.
pub fn sign_wit_svid(
    signer: &(impl JwtSigner + ?Sized),
    claims: &WitSvidClaims<'_>,
) -> Result<String, JwtSignerError> {
    let header = Header {
        alg: signer.algorithm().as_str(),
        kid: Some(signer.key_id()),
        typ: "wit+jwt",
    };
    let claims = SvidClaims {
        cnf: Confirmation {
            jwk: claims.key.to_jwk(),
        },
        exp: claims.expires.as_secs(),
        iat: claims.issued_at.as_secs(),
        jti: claims.token_id,
        sub: claims.id.as_str(),
    };
    sealed(signer, &header, &claims)
}

/// Makes a proof, for the header field `Workload-Proof-Token`; the WIT-SVID goes into `Workload-Identity-Token`, never into
/// `Authorization` (WIT-SVID §5). The signer is the workload's key; its ID is not told.
///
/// # Errors
/// The key could not be used.
pub fn sign_wit_proof(
    signer: &(impl JwtSigner + ?Sized),
    claims: &WitProofClaims<'_>,
) -> Result<String, JwtSignerError> {
    let header = Header {
        alg: signer.algorithm().as_str(),
        kid: None,
        typ: "wpt+jwt",
    };
    let claims = ProofClaims {
        ath: claims.access_token.map(hash_of),
        aud: claims.audience,
        exp: claims.expires.as_secs(),
        jti: claims.token_id,
        tth: claims.transaction_token.map(hash_of),
        wth: hash_of(claims.wit_svid),
    };
    sealed(signer, &header, &claims)
}
