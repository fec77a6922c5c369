//! JWT keys in bundles.

use std::time::Duration;

use proptest::prelude::{any, prop_assert_eq, proptest};
use serde_json::{Value, json};
use signet_spiffe::{
    JwksError, JwtAlgorithm, JwtBundle, JwtBundleError, JwtKeyError, JwtSvidError, MAX_JWT_KEYS,
    SpiffeBundle, TokenError,
};

use crate::maker::{Signer, domain, verify};

fn es256(id: &str) -> Signer {
    Signer::new(id, JwtAlgorithm::Es256)
}

fn read(set: &Value) -> Result<SpiffeBundle, JwksError> {
    SpiffeBundle::from_jwks(&domain("td"), &set.to_string())
}

fn ids(bundle: &JwtBundle) -> Vec<&str> {
    bundle.keys().iter().map(signet_spiffe::JwtKey::id).collect()
}

#[test]
fn spiffe_row_30_and_60_a_jwt_key_is_published_with_use_kid_and_the_members_of_its_kind() {
    for (algorithm, members) in [
        (JwtAlgorithm::Es256, vec!["crv", "kid", "kty", "use", "x", "y"]),
        (JwtAlgorithm::Es512, vec!["crv", "kid", "kty", "use", "x", "y"]),
        (JwtAlgorithm::Rs256, vec!["e", "kid", "kty", "n", "use"]),
    ] {
        let signer = Signer::new("k1", algorithm);
        let bundle = read(&json!({"keys": [signer.jwk()]})).unwrap();
        let written: Value = serde_json::from_str(&bundle.to_jwks().unwrap()).unwrap();
        assert_eq!(written, json!({"keys": [signer.jwk()]}), "the same key again");
        let key = written["keys"][0].as_object().unwrap();
        assert_eq!(key.keys().collect::<Vec<_>>(), members);
        assert_eq!(bundle.jwt.to_jwks(), bundle.to_jwks().unwrap());
    }
}

#[test]
fn spiffe_row_30_only_keys_for_jwt_svids_are_taken_and_each_has_an_id() {
    let (ours, other) = (es256("k1"), es256("k2"));
    let with = |members: Value| {
        let mut key = other.jwk();
        for (name, value) in members.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    };
    let mut useless = other.jwk();
    useless.as_object_mut().unwrap().remove("use");
    let set = json!({"keys": [
        with(json!({"use": "x509-svid"})),
        with(json!({"use": "wit-svid"})),
        with(json!({"use": "sig"})),
        useless,
        ours.jwk(),
    ]});
    let bundle = read(&set).unwrap();
    assert_eq!(ids(&bundle.jwt), ["k1"]);
    assert!(bundle.x509.is_none());
    for id in [json!(""), Value::Null] {
        let error = read(&json!({"keys": [with(json!({ "kid": id }))]})).unwrap_err();
        assert!(
            matches!(
                error,
                JwksError::Jwt(JwtBundleError::Key {
                    source: JwtKeyError::KeyId,
                    ..
                })
            ),
            "{error}"
        );
    }
}

#[test]
fn two_keys_of_one_id_and_too_many_keys_are_no_bundle() {
    let twice = json!({"keys": [es256("k1").jwk(), es256("k1").jwk()]});
    assert!(matches!(
        read(&twice),
        Err(JwksError::Jwt(JwtBundleError::SameId { .. }))
    ));
    let key = es256("k1").jwk();
    let many = |count: usize| {
        let keys = (0..count).map(|number| {
            let mut key = key.clone();
            key["kid"] = number.to_string().into();
            key
        });
        read(&json!({"keys": keys.collect::<Vec<_>>()}))
    };
    assert!(many(MAX_JWT_KEYS).is_ok());
    assert!(matches!(
        many(MAX_JWT_KEYS + 1),
        Err(JwksError::Jwt(JwtBundleError::TooMany { .. }))
    ));
}

#[test]
fn spiffe_row_56_and_59_what_is_not_known_is_passed_over() {
    let signer = es256("k1");
    let mut known = signer.jwk();
    known["alg"] = json!("whatever");
    known["key_ops"] = json!([1]);
    let set = json!({"unknown": {"keys": []}, "keys": [
        {"use": "jwt-svid", "kid": "a", "kty": "OKP", "crv": "Ed25519", "x": "!"},
        {"use": "jwt-svid", "kid": "b", "kty": "EC", "crv": "secp256k1", "x": 1},
        {"use": "jwt-svid", "kid": "c", "kty": "AKP"},
        {"use": "jwt-svid", "kid": "d"},
        {"use": ["jwt-svid"], "kty": "EC"},
        {"kty": 7},
        {},
        known,
    ]});
    let bundle = read(&set).unwrap();
    assert_eq!(ids(&bundle.jwt), ["k1"]);
    assert_eq!((bundle.sequence, bundle.refresh_hint), (None, None));
}

#[test]
fn spiffe_row_57_and_58_sequence_and_refresh_hint_are_whole_numbers() {
    let with = |member: &str, value: Value| {
        let mut set = json!({"keys": []});
        set[member] = value;
        read(&set)
    };
    let big = with("spiffe_sequence", json!(u64::MAX)).unwrap();
    assert_eq!(big.sequence, Some(u64::MAX));
    assert_eq!(
        read(&serde_json::from_str(&big.to_jwks().unwrap()).unwrap()).unwrap(),
        big
    );
    let hint = with("spiffe_refresh_hint", json!(300)).unwrap();
    assert_eq!(hint.refresh_hint, Some(Duration::from_mins(5)));
    assert_eq!(
        hint.to_jwks().unwrap(),
        r#"{"keys":[],"spiffe_refresh_hint":300}"#
    );
    for member in ["spiffe_sequence", "spiffe_refresh_hint"] {
        for bad in [json!("1"), json!(1.5), json!(-1), json!(null), json!([1])] {
            assert!(
                matches!(with(member, bad.clone()), Err(JwksError::Number { .. })),
                "{member} {bad}"
            );
        }
    }
}

#[test]
fn spiffe_row_59_without_keys_nothing_is_a_bundle_and_without_usable_ones_nothing_is_believed() {
    for bad in [
        json!({}),
        json!({"keys": {}}),
        json!({"keys": null}),
        json!({"keys": ["a"]}),
    ] {
        assert!(matches!(read(&bad), Err(JwksError::NoKeys)), "{bad}");
    }
    let signer = es256("k1");
    let empty = signet_spiffe::JwtBundleSet::single(JwtBundle::empty(domain("td")));
    assert!(matches!(
        verify(&signer.good(), &empty),
        Err(JwtSvidError::Token(TokenError::UntrustedDomain { .. }))
    ));
}

#[test]
fn a_set_that_says_something_twice_is_refused() {
    let key = es256("k1").jwk();
    let text = format!(r#"{{"keys":[],"keys":[{key}]}}"#);
    assert!(matches!(
        SpiffeBundle::from_jwks(&domain("td"), &text),
        Err(JwksError::Json(_))
    ));
}

proptest! {
    #[test]
    fn nothing_panics_and_what_is_read_is_written_as_the_same(
        sequence in any::<Option<u64>>(),
        members in proptest::collection::vec("(kty|use|kid|crv|x|y|n|e)", 0..6),
        values in proptest::collection::vec("(EC|RSA|jwt-svid|P-256|AQAB|.{0,6})", 6),
    ) {
        let key: serde_json::Map<String, Value> = members.into_iter().zip(values.into_iter().map(Value::from)).collect();
        let mut set = json!({"keys": [key]});
        if let Some(sequence) = sequence {
            set["spiffe_sequence"] = sequence.into();
        }
        if let Ok(bundle) = read(&set) {
            prop_assert_eq!(bundle.sequence, sequence);
            let again = SpiffeBundle::from_jwks(&domain("td"), &bundle.to_jwks().unwrap()).unwrap();
            prop_assert_eq!(again, bundle);
        }
    }
}
