//! Keys that are always the same, and what is signed with them.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _,
};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SanType, SerialNumber,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use signet_spiffe::{JwtBundle, JwtKey, TrustDomain, UnixTime, X509Bundle};
use time::OffsetDateTime;

/// When everything here is valid.
pub(crate) const NOW: u64 = 1_800_000_000;

/// The P-256 key whose secret is 1: its public key is the curve's base point (SEC 2 §2.4.2).
const BASE_POINT: &str = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                          4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

pub(crate) fn domain() -> TrustDomain {
    TrustDomain::parse("td.test").unwrap()
}

fn p256(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    let mut secret = [0; 32];
    secret[31] = 1;
    let public = HEXLOWER.decode(BASE_POINT.as_bytes()).unwrap();
    EcdsaKeyPair::from_private_key_and_public_key(algorithm, &secret, &public).unwrap()
}

fn signer() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn issuer_key() -> KeyPair {
    let der = PrivatePkcs8KeyDer::from(signer().to_pkcs8v1().unwrap().as_ref().to_vec());
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519).unwrap()
}

fn p256_key() -> KeyPair {
    let der = p256(&ECDSA_P256_SHA256_ASN1_SIGNING).to_pkcs8v1().unwrap();
    let der = PrivatePkcs8KeyDer::from(der.as_ref().to_vec());
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).unwrap()
}

fn params(uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    let now = OffsetDateTime::from_unix_timestamp(i64::try_from(NOW).unwrap()).unwrap();
    params.not_before = now - Duration::from_hours(1);
    params.not_after = now + Duration::from_hours(1);
    params.serial_number = Some(SerialNumber::from(42));
    params
}

fn root_params() -> CertificateParams {
    let mut params = params("spiffe://td.test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// The root's certificate, DER.
pub(crate) fn root() -> Vec<u8> {
    root_params().self_signed(&issuer_key()).unwrap().der().to_vec()
}

pub(crate) fn bundle(root: &[u8]) -> X509Bundle {
    X509Bundle::new(domain(), vec![root.to_vec().into()]).unwrap()
}

/// A leaf's certificate, DER.
pub(crate) fn leaf(id: &str) -> Vec<u8> {
    let mut params = params(id);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let issuer = Issuer::new(root_params(), issuer_key());
    params.signed_by(&p256_key(), &issuer).unwrap().der().to_vec()
}

/// A value with tag and length in front (X.690 §8.1).
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    if length < 0x80 {
        out.extend(length.to_be_bytes().last());
    } else {
        let bytes: Vec<u8> = length
            .to_be_bytes()
            .into_iter()
            .skip_while(|byte| *byte == 0)
            .collect();
        out.push(0x80 | u8::try_from(bytes.len()).unwrap());
        out.extend(bytes);
    }
    out.extend_from_slice(content);
    out
}

/// The content of the first value, and what is behind it.
fn open(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, from) = match der[1] {
        short if short < 0x80 => (usize::from(short), 2),
        long => {
            let count = usize::from(long & 0x7f);
            let digits = &der[2..2 + count];
            (
                digits
                    .iter()
                    .fold(0, |length, digit| length << 8 | usize::from(*digit)),
                2 + count,
            )
        }
    };
    der[from..].split_at(length)
}

/// What is signed of a certificate or a request, without its tag and length; and what is behind it.
pub(crate) fn parts(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (inside, _) = open(der);
    let (body, behind) = open(inside);
    (body.to_vec(), behind.to_vec())
}

fn put_together(body: &[u8], algorithm: &[u8], signature: &[u8]) -> Vec<u8> {
    let bits = [&[0], signature].concat();
    value(
        0x30,
        &[body.to_vec(), algorithm.to_vec(), value(3, &bits)].concat(),
    )
}

/// A certificate that the root has signed, whatever is in it.
pub(crate) fn sign(body: &[u8]) -> Vec<u8> {
    let body = value(0x30, body);
    // Ed25519 (RFC 8410 §3).
    let algorithm = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
    put_together(&body, &algorithm, signer().sign(&body).as_ref())
}

/// Signs requests.
pub(crate) fn csr_key() -> EcdsaKeyPair {
    p256(&ECDSA_P256_SHA256_ASN1_SIGNING)
}

/// A request of that key.
pub(crate) fn request(_: &EcdsaKeyPair) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serialize_request(&p256_key()).unwrap().der().to_vec()
}

/// A request that its key has signed, whatever is in it.
pub(crate) fn resigned(body: &[u8], key: &EcdsaKeyPair) -> Vec<u8> {
    let body = value(0x30, body);
    // ecdsa-with-SHA256 (RFC 5758 §3.2).
    let algorithm = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let signature = key.sign(&SystemRandom::new(), &body).unwrap();
    put_together(&body, &algorithm, signature.as_ref())
}

/// Signs tokens.
pub(crate) struct TokenKey {
    pair: EcdsaKeyPair,
    public: JwtKey,
}

pub(crate) fn token_key() -> TokenKey {
    let pair = p256(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let public = JwtKey::p256(pair.public_key().as_ref()).unwrap();
    TokenKey { pair, public }
}

impl TokenKey {
    pub(crate) fn bundle(&self) -> JwtBundle {
        JwtBundle::new(domain(), vec![self.public.clone()]).unwrap()
    }

    /// Header and payload of a valid token for `db`.
    pub(crate) fn parts(&self) -> (Vec<u8>, Vec<u8>) {
        let header = format!(r#"{{"alg":"ES256","kid":"{}","typ":"JWT"}}"#, self.public.id());
        let payload = r#"{"sub":"spiffe://td.test/web","aud":["db","x"],"exp":1800000300,"iat":1800000000,"jti":"t1","n":{"a":[1]}}"#;
        (header.into_bytes(), payload.as_bytes().to_vec())
    }
}

/// A token that the key has signed, whatever is in it.
pub(crate) fn json_web_token(key: &TokenKey, header: &[u8], payload: &[u8]) -> String {
    let message = [header, payload]
        .map(|part| BASE64URL_NOPAD.encode(part))
        .join(".");
    let signature = key.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    format!("{message}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}
