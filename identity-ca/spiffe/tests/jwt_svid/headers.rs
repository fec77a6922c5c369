//! Form and header of a token.

use data_encoding::{BASE64URL, BASE64URL_NOPAD};
use proptest::prelude::{any, prop_assert, proptest};
use serde_json::json;
use signet_spiffe::{
    HeaderError, JwtAlgorithm, JwtBundleSet, JwtPart, JwtSvidError, MAX_JWT_BYTES, MAX_KEY_ID_BYTES,
    TokenError,
};

use crate::maker::{Signer, WEB, good_claims, verify};

fn es256() -> Signer {
    Signer::new("k1", JwtAlgorithm::Es256)
}

fn header_error(signer: &Signer, header: &serde_json::Value) -> HeaderError {
    match verify(&signer.token(header, &good_claims()), &signer.bundles()) {
        Err(JwtSvidError::Header(error)) => error,
        other => unreachable!("{header}: {other:?}"),
    }
}

#[test]
fn spiffe_row_21_a_token_is_compact_or_nothing() {
    let signer = es256();
    let good = signer.good();
    assert_eq!(verify(&good, &signer.bundles()).unwrap().id().as_str(), WEB);
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        unreachable!("three parts: {good}")
    };
    let flattened = json!({"protected": header, "payload": claims, "signature": signature}).to_string();
    for bad in [
        "",
        "a.b",
        &flattened,
        &format!("{good}.{signature}"),
        &format!("{header}.{claims}.{signature}.a.b"),
    ] {
        assert_eq!(
            verify(bad, &signer.bundles()),
            Err(JwtSvidError::Token(TokenError::NotCompact)),
            "{bad}"
        );
    }
}

#[test]
fn spiffe_row_21_each_part_is_base64url_in_its_one_spelling() {
    let signer = es256();
    let good = signer.good();
    for (at, part) in [JwtPart::Header, JwtPart::Claims, JwtPart::Signature]
        .into_iter()
        .enumerate()
    {
        for spoil in ["=", "\n", " ", "+", "é"] {
            let mut parts: Vec<_> = good.split('.').map(str::to_owned).collect();
            parts[at].push_str(spoil);
            assert_eq!(
                verify(&parts.join("."), &signer.bundles()),
                Err(JwtSvidError::Token(TokenError::Base64 { part })),
                "{spoil:?}"
            );
        }
    }
    // The last character of 64 bytes has four bits that no byte has: another spelling of the same signature.
    let (rest, last) = good.split_at(good.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = alphabet.find(last).unwrap();
    let other = format!("{rest}{}", &alphabet[value + 1..value + 2]);
    assert_eq!(
        verify(&other, &signer.bundles()),
        Err(JwtSvidError::Token(TokenError::Base64 {
            part: JwtPart::Signature
        }))
    );
}

#[test]
fn spiffe_row_21_padding_is_refused_even_where_it_is_right() {
    let signer = es256();
    let good = signer.good();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let padded = format!("{signed}.{}", BASE64URL.encode(&signature));
    assert!(padded.ends_with('='));
    assert!(verify(&padded, &signer.bundles()).is_err());
}

#[test]
fn a_token_that_is_too_long_is_not_looked_at() {
    let signer = es256();
    let token = "a".repeat(MAX_JWT_BYTES + 1);
    assert!(matches!(
        verify(&token, &signer.bundles()),
        Err(JwtSvidError::Token(TokenError::TooLong { .. }))
    ));
}

#[test]
fn spiffe_row_22_a_header_has_no_members_but_alg_kid_and_typ() {
    let signer = es256();
    for (name, value) in [
        ("jwk", signer.jwk()),
        ("jku", json!("https://evil.example/keys")),
        ("x5c", json!([])),
        ("x5u", json!("https://evil.example/cert")),
        ("crit", json!(["b64"])),
        ("b64", json!(false)),
        ("cty", json!("JWT")),
        ("zip", json!("DEF")),
        ("", json!(1)),
    ] {
        let mut header = signer.header();
        header[name] = value;
        assert_eq!(
            header_error(&signer, &header),
            HeaderError::Member {
                name: name.to_owned()
            }
        );
    }
}

#[test]
fn spiffe_row_22_a_header_that_says_something_twice_is_refused() {
    let signer = es256();
    let claims = good_claims().to_string();
    for header in [
        r#"{"alg":"ES256","alg":"ES256"}"#,
        r#"{"alg":"none","alg":"ES256"}"#,
        r#"{"alg":"ES256","\u0061lg":"none"}"#,
    ] {
        let token = signer.token_of(header.as_bytes(), claims.as_bytes());
        assert!(matches!(
            verify(&token, &signer.bundles()),
            Err(JwtSvidError::Token(TokenError::Json {
                part: JwtPart::Header,
                ..
            }))
        ));
    }
}

#[test]
fn spiffe_row_23_each_of_the_nine_algorithms_verifies_and_is_not_taken_for_another() {
    for algorithm in JwtAlgorithm::ALL {
        let signer = Signer::new("k1", algorithm);
        let bundles = signer.bundles();
        let verified = verify(&signer.good(), &bundles).unwrap();
        assert_eq!((verified.id().as_str(), verified.key_id()), (WEB, "k1"));
        for other in JwtAlgorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            let mut header = signer.header();
            header["alg"] = other.as_str().into();
            assert!(
                matches!(
                    verify(&signer.token(&header, &good_claims()), &bundles),
                    Err(JwtSvidError::Token(TokenError::Signature { .. }))
                ),
                "{algorithm} passed as {other}"
            );
        }
    }
}

#[test]
fn spiffe_row_23_any_other_algorithm_is_refused_before_anything_else_is_read() {
    let signer = es256();
    for algorithm in [
        json!("none"),
        json!("None"),
        json!(""),
        json!("HS256"),
        json!("HS512"),
        json!("EdDSA"),
        json!("ES256K"),
        json!("es256"),
        json!("RS1"),
        json!("A128KW"),
        json!(null),
        json!(["ES256"]),
        json!(256),
    ] {
        let header = json!({"alg": algorithm, "kid": "k1", "unknown": 1, "typ": "x"});
        assert_eq!(
            header_error(&signer, &header),
            HeaderError::Algorithm,
            "{algorithm}"
        );
        // Claims and signature are not even Base64.
        let token = format!("{}.!.!", BASE64URL_NOPAD.encode(header.to_string().as_bytes()));
        assert_eq!(
            verify(&token, &JwtBundleSet::default()),
            Err(HeaderError::Algorithm.into())
        );
    }
    assert_eq!(
        header_error(&signer, &json!({"kid": "k1"})),
        HeaderError::Algorithm
    );
    let unsigned = format!(
        "{}.{}.",
        BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#),
        BASE64URL_NOPAD.encode(good_claims().to_string().as_bytes())
    );
    assert_eq!(
        verify(&unsigned, &signer.bundles()),
        Err(HeaderError::Algorithm.into())
    );
}

#[test]
fn spiffe_row_24_a_key_id_is_always_made_and_never_needed() {
    let (one, two) = (
        Signer::new("k1", JwtAlgorithm::Es256),
        Signer::new("k2", JwtAlgorithm::Es256),
    );
    let header: serde_json::Value = serde_json::from_slice(
        &BASE64URL_NOPAD
            .decode(one.good().split('.').next().unwrap().as_bytes())
            .unwrap(),
    )
    .unwrap();
    assert_eq!(header, json!({"alg": "ES256", "kid": "k1", "typ": "JWT"}));
    let both = crate::maker::bundles(&[&one, &two]);
    for (signer, id) in [(&one, "k1"), (&two, "k2")] {
        let token = signer.token(&json!({"alg": "ES256"}), &good_claims());
        assert_eq!(verify(&token, &both).unwrap().key_id(), id);
        assert_eq!(verify(&signer.good(), &both).unwrap().key_id(), id);
    }
}

#[test]
fn spiffe_row_24_a_key_id_means_that_key_and_no_other() {
    let (one, two) = (
        Signer::new("k1", JwtAlgorithm::Es256),
        Signer::new("k2", JwtAlgorithm::Es256),
    );
    let both = crate::maker::bundles(&[&one, &two]);
    let named = |id: serde_json::Value| one.token(&json!({"alg": "ES256", "kid": id}), &good_claims());
    assert!(matches!(
        verify(&named(json!("k2")), &both),
        Err(JwtSvidError::Token(TokenError::Signature { .. }))
    ));
    assert!(matches!(
        verify(&named(json!("k3")), &both),
        Err(JwtSvidError::Token(TokenError::UnknownKey { .. }))
    ));
    for bad in [
        json!(""),
        json!(1),
        json!(null),
        json!("k".repeat(MAX_KEY_ID_BYTES + 1)),
    ] {
        assert_eq!(
            verify(&named(bad.clone()), &both),
            Err(HeaderError::KeyId.into()),
            "{bad}"
        );
    }
}

#[test]
fn spiffe_row_25_a_type_is_absent_or_jwt_or_jose() {
    let signer = es256();
    for good in ["JWT", "JOSE"] {
        let header = json!({"alg": "ES256", "typ": good});
        assert!(verify(&signer.token(&header, &good_claims()), &signer.bundles()).is_ok());
    }
    assert!(
        verify(
            &signer.token(&json!({"alg": "ES256"}), &good_claims()),
            &signer.bundles()
        )
        .is_ok()
    );
    for bad in [
        json!("jwt"),
        json!("at+jwt"),
        json!("wit+jwt"),
        json!(""),
        json!(null),
        json!(["JWT"]),
    ] {
        assert_eq!(
            header_error(&signer, &json!({"alg": "ES256", "typ": bad})),
            HeaderError::Type
        );
    }
}

#[test]
fn a_changed_character_anywhere_is_noticed() {
    let signer = es256();
    let (good, bundles) = (signer.good(), signer.bundles());
    for at in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(verify(&changed, &bundles).is_err(), "byte {at}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_or_verifies(text in "[A-Za-z0-9._-]{0,80}") {
        prop_assert!(verify(&text, &JwtBundleSet::default()).is_err());
    }

    #[test]
    fn no_header_or_claims_panic_or_verify_under_a_bad_signature(
        header in proptest::collection::vec(any::<u8>(), 0..40),
        claims in "(\\{\"sub\":\"spiffe://td/a\",\"aud\":\"a\",\"exp\":[0-9.eE+-]{1,12}\\}|.{0,40})",
    ) {
        let header = if header.len() % 2 == 0 { header } else { br#"{"alg":"ES256"}"#.to_vec() };
        let token = format!("{}.{}.AAAA", BASE64URL_NOPAD.encode(&header), BASE64URL_NOPAD.encode(claims.as_bytes()));
        prop_assert!(verify(&token, &JwtBundleSet::default()).is_err());
    }
}
