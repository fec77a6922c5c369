//! Bundles as JWK sets.

use std::time::Duration;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use rcgen::KeyPair;
use serde_json::{Value, json};
use signet_spiffe::{BundleError, JwksError, MAX_JWKS_BYTES, X509Bundle};

use crate::maker::{Signer, domain, leaf_params, signer_params};

fn written(bundle: &X509Bundle) -> Value {
    serde_json::from_str(&bundle.to_jwks(7, Duration::from_mins(5)).unwrap()).unwrap()
}

fn read(set: &Value) -> Result<X509Bundle, JwksError> {
    X509Bundle::from_jwks(domain("td"), &set.to_string())
}

#[test]
fn spiffe_row_19_each_authority_is_one_key_with_one_certificate_and_no_name() {
    let roots = [Signer::root("td"), Signer::root("td")];
    let bundle = X509Bundle::new(domain("td"), roots.iter().map(Signer::der).collect()).unwrap();
    let set = written(&bundle);
    let keys = set["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    for (key, root) in keys.iter().zip(&roots) {
        let members: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["crv", "kty", "use", "x", "x5c", "y"]);
        assert_eq!(
            (&key["use"], &key["kty"], &key["crv"]),
            (&json!("x509-svid"), &json!("EC"), &json!("P-256"))
        );
        assert_eq!(key["x5c"], json!([BASE64.encode(&root.der())]));
    }
    assert_eq!(
        (&set["spiffe_sequence"], &set["spiffe_refresh_hint"]),
        (&json!(7), &json!(300))
    );
    assert_eq!(read(&set).unwrap(), bundle);
}

#[test]
fn spiffe_row_19_the_key_s_own_members_are_the_certificate_s_key() {
    for (algorithm, curve, length) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, "P-256", 32),
        (&rcgen::PKCS_ECDSA_P384_SHA384, "P-384", 48),
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let point = key.public_key_raw().to_vec();
        let root = Signer::root_with(signer_params(None), key);
        let jwk = &written(&root.bundle("td"))["keys"][0];
        assert_eq!(jwk["crv"], curve);
        let member = |name: &str| {
            BASE64URL_NOPAD
                .decode(jwk[name].as_str().unwrap().as_bytes())
                .unwrap()
        };
        assert_eq!(
            [&[4], member("x").as_slice(), member("y").as_slice()].concat(),
            point
        );
        assert_eq!(member("x").len(), length);
    }
}

#[test]
fn spiffe_row_20_entries_without_a_certificate_are_passed_over_and_only_the_first_one_counts() {
    let root = Signer::root("td");
    let (good, other) = (
        BASE64.encode(&root.der()),
        BASE64.encode(&Signer::root("td").der()),
    );
    let set = json!({"keys": [
        {"use": "x509-svid", "kty": "EC"},
        {"use": "x509-svid", "kty": "EC", "x5c": []},
        {"use": "jwt-svid", "kty": "EC", "kid": "a", "x5c": [other]},
        {"kty": "EC", "x5c": [other]},
        {"use": "x509-svid", "x5c": [other]},
        {"use": "x509-svid", "kty": "EC", "unknown": {}, "x5c": [good, other]},
    ], "unknown": 1});
    assert_eq!(read(&set).unwrap(), root.bundle("td"));
}

#[test]
fn a_set_without_a_usable_key_is_no_bundle() {
    for set in [
        json!({"keys": []}),
        json!({"keys": [{"use": "jwt-svid", "kty": "EC", "kid": "a"}]}),
    ] {
        assert!(
            matches!(read(&set), Err(JwksError::Bundle(BundleError::Empty))),
            "{set}"
        );
    }
    for set in [json!({}), json!({"keys": 1}), json!({"keys": [1]})] {
        assert!(matches!(read(&set), Err(JwksError::NoKeys)), "{set}");
    }
    for set in [json!([]), json!("")] {
        assert!(matches!(read(&set), Err(JwksError::Json(_))), "{set}");
    }
    let leaf = Signer::root("td").leaf(&leaf_params("spiffe://td/a"));
    let entry = |x5c: String| json!({"keys": [{"use": "x509-svid", "kty": "EC", "x5c": [x5c]}]});
    assert!(matches!(
        read(&entry(BASE64.encode(&leaf))),
        Err(JwksError::Bundle(BundleError::Authority { .. }))
    ));
    assert!(matches!(
        read(&entry("!".to_owned())),
        Err(JwksError::Base64 { number: 1 })
    ));
    let huge = " ".repeat(MAX_JWKS_BYTES + 1);
    assert!(matches!(
        X509Bundle::from_jwks(domain("td"), &huge),
        Err(JwksError::TooLong { .. })
    ));
}

#[test]
fn spiffe_row_19_an_ed25519_authority_is_written_and_read_as_rfc_8037_has_it() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let public = BASE64URL_NOPAD.encode(key.public_key_raw());
    let bundle = Signer::root_with(signer_params(Some("spiffe://td")), key).bundle("td");
    let set = written(&bundle);
    let key = &set["keys"][0];
    assert_eq!(
        (&key["kty"], &key["crv"], &key["x"]),
        (&json!("OKP"), &json!("Ed25519"), &json!(public))
    );
    assert_eq!(read(&set).unwrap(), bundle);
}
