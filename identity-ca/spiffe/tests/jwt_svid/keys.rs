//! Keys that cannot be trusted to verify.

use aws_lc_rs::rsa::KeySize;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use signet_spiffe::{JwksError, JwtAlgorithm, JwtBundle, JwtBundleError, JwtKey, JwtKeyError};

use crate::maker::{Signer, domain};

fn read(key: &Value) -> Result<JwtBundle, JwksError> {
    JwtBundle::from_jwks(domain("td"), &json!({"keys": [key]}).to_string())
}

fn key_error(key: &Value) -> JwtKeyError {
    match read(key) {
        Err(JwksError::Jwt(JwtBundleError::Key { number: 1, source })) => source,
        other => unreachable!("{key}: {other:?}"),
    }
}

#[test]
fn spiffe_row_23_rsa_keys_have_2048_to_8192_bits() {
    let key = Signer::of_size("k1", JwtAlgorithm::Rs256, KeySize::Rsa3072).jwk();
    assert!(read(&key).is_ok());
    let mut short = Signer::new("k1", JwtAlgorithm::Rs256).jwk();
    let modulus = BASE64URL_NOPAD
        .decode(short["n"].as_str().unwrap().as_bytes())
        .unwrap();
    short["n"] = BASE64URL_NOPAD.encode(&modulus[..128]).into();
    assert_eq!(key_error(&short), JwtKeyError::Rsa);
    short["n"] = BASE64URL_NOPAD.encode(&[0xff; 1025]).into();
    assert_eq!(key_error(&short), JwtKeyError::Rsa);
    let (mut a_bit_short, mut even) = (modulus.clone(), modulus);
    a_bit_short[0] = 0x7f;
    *even.last_mut().unwrap() &= 0xfe;
    for bad in [a_bit_short, even] {
        short["n"] = BASE64URL_NOPAD.encode(&bad).into();
        assert_eq!(key_error(&short), JwtKeyError::Rsa);
    }
    for exponent in [&[][..], &[1], &[2], &[1, 0, 0], &[0xff; 5]] {
        let mut bad = key.clone();
        bad["e"] = BASE64URL_NOPAD.encode(exponent).into();
        assert_eq!(key_error(&bad), JwtKeyError::Rsa, "{exponent:?}");
    }
}

#[test]
fn a_key_off_its_curve_is_refused() {
    let key = Signer::new("k1", JwtAlgorithm::Es256).jwk();
    let mut off = key.clone();
    off["y"] = key["x"].clone();
    assert_eq!(key_error(&off), JwtKeyError::Point);
    let mut short = key.clone();
    short["x"] = BASE64URL_NOPAD.encode(&[1; 31]).into();
    assert_eq!(key_error(&short), JwtKeyError::Point);
    let mut other = key.clone();
    other["crv"] = json!("P-384");
    assert_eq!(key_error(&other), JwtKeyError::Point);
    for (member, value) in [("x", json!("!")), ("y", json!("AA==")), ("x", Value::Null)] {
        let mut bad = key.clone();
        bad[member] = value;
        assert_eq!(key_error(&bad), JwtKeyError::Encoding, "{bad}");
    }
}

/// The point is RFC 7515's (appendix A.3.1); the digest of its canonical form was made with another implementation.
#[test]
fn a_key_s_own_id_is_its_thumbprint() {
    let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
    let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    let point = [&[4], decode(x).as_slice(), decode(y).as_slice()].concat();
    let key = JwtKey::p256(&point).unwrap();
    assert_eq!(key.id(), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
    for bad in [&point[1..], &point[..64], &[&[2], &point[1..33]].concat(), &[]] {
        assert_eq!(JwtKey::p256(bad), Err(JwtKeyError::Point));
    }
}
