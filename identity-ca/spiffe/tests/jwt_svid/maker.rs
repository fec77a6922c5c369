//! Makes tokens, good and bad.

use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair, RsaSignatureEncoding,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use signet_spiffe::{
    Audience, JwtAlgorithm, JwtBundle, JwtBundleSet, JwtSigner, JwtSignerError, JwtSvidClaims, JwtSvidError,
    SpiffeId, TrustDomain, UnixTime, VerifiedJwtSvid, sign_jwt_svid, verify_jwt_svid,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// The moment of all tests, Unix seconds.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const WEB: &str = "spiffe://td/ns/shop/sa/web";
pub(crate) const REPORTS: &str = "spiffe://td/reports";

pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

pub(crate) fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

/// A private key of any kind, with its ID.
pub(crate) struct Signer {
    id: String,
    algorithm: JwtAlgorithm,
    key: Key,
}

enum Key {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static RsaSignatureEncoding),
}

impl Signer {
    pub(crate) fn new(id: &str, algorithm: JwtAlgorithm) -> Self {
        Self::of_size(id, algorithm, KeySize::Rsa2048)
    }

    pub(crate) fn of_size(id: &str, algorithm: JwtAlgorithm, size: KeySize) -> Self {
        let ec = |kind| Key::Ec(EcdsaKeyPair::generate(kind).unwrap());
        let rsa = |encoding| Key::Rsa(RsaKeyPair::generate(size).unwrap(), encoding);
        let key = match algorithm {
            JwtAlgorithm::Es256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
            JwtAlgorithm::Es384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
            JwtAlgorithm::Es512 => ec(&ECDSA_P521_SHA512_FIXED_SIGNING),
            JwtAlgorithm::Rs256 => rsa(&RSA_PKCS1_SHA256),
            JwtAlgorithm::Rs384 => rsa(&RSA_PKCS1_SHA384),
            JwtAlgorithm::Rs512 => rsa(&RSA_PKCS1_SHA512),
            JwtAlgorithm::Ps256 => rsa(&RSA_PSS_SHA256),
            JwtAlgorithm::Ps384 => rsa(&RSA_PSS_SHA384),
            JwtAlgorithm::Ps512 => rsa(&RSA_PSS_SHA512),
        };
        Self {
            id: id.to_owned(),
            algorithm,
            key,
        }
    }

    /// The public key as others publish it.
    pub(crate) fn jwk(&self) -> Value {
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        match &self.key {
            Key::Ec(key) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = match x.len() {
                    32 => "P-256",
                    48 => "P-384",
                    _ => "P-521",
                };
                json!({"use": "jwt-svid", "kty": "EC", "kid": self.id, "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Key::Rsa(key, _) => {
                let der = key.public_key().as_der().unwrap();
                let (_, info) = SubjectPublicKeyInfo::from_der(der.as_ref()).unwrap();
                let PublicKey::RSA(public) = info.parsed().unwrap() else {
                    unreachable!("an RSA key")
                };
                let unsigned = |integer: &[u8]| encode(integer.strip_prefix(&[0]).unwrap_or(integer));
                json!({
                    "use": "jwt-svid", "kty": "RSA", "kid": self.id,
                    "n": unsigned(public.modulus), "e": unsigned(public.exponent),
                })
            }
        }
    }

    pub(crate) fn bundles(&self) -> JwtBundleSet {
        bundles(&[self])
    }

    /// A token of these two parts, whatever they are.
    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    pub(crate) fn token_of(&self, header: &[u8], claims: &[u8]) -> String {
        let signed = format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(header),
            BASE64URL_NOPAD.encode(claims)
        );
        let signature = self.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.algorithm.as_str(), "kid": self.id, "typ": "JWT"})
    }

    /// A good token, as the product makes it.
    pub(crate) fn good(&self) -> String {
        let claims = JwtSvidClaims {
            id: &SpiffeId::parse(WEB).unwrap(),
            audience: &Audience::new(&[REPORTS.to_owned()]).unwrap(),
            issued_at: at(NOW),
            expires: at(NOW + 300),
            token_id: "1",
            issuer: None,
        };
        sign_jwt_svid(self, &claims).unwrap()
    }
}

impl JwtSigner for Signer {
    fn algorithm(&self) -> JwtAlgorithm {
        self.algorithm
    }

    fn key_id(&self) -> &str {
        &self.id
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JwtSignerError> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Ec(key) => Ok(key.sign(&random, message).unwrap().as_ref().to_vec()),
            Key::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*encoding, &random, message, &mut signature).unwrap();
                Ok(signature)
            }
        }
    }
}

/// The bundle of `td`, as read from what others publish.
pub(crate) fn bundles(signers: &[&Signer]) -> JwtBundleSet {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    let set = json!({ "keys": keys }).to_string();
    JwtBundleSet::single(JwtBundle::from_jwks(domain("td"), &set).unwrap())
}

pub(crate) fn good_claims() -> Value {
    json!({"sub": WEB, "aud": [REPORTS], "exp": NOW + 300, "iat": NOW})
}

pub(crate) fn verify(token: &str, bundles: &JwtBundleSet) -> Result<VerifiedJwtSvid, JwtSvidError> {
    verify_jwt_svid(token, bundles, REPORTS, at(NOW))
}
