//! What a token says.

use serde_json::{Value, json};
use signet_spiffe::{IdError, JwtAlgorithm, JwtSvidError, TokenError, verify_jwt_svid};

use crate::maker::{NOW, REPORTS, Signer, WEB, at, good_claims, verify};

fn es256() -> Signer {
    Signer::new("k1", JwtAlgorithm::Es256)
}

/// Outcome for good claims of which one is another, or none (`Null`).
fn outcome(claim: &str, value: Value) -> Result<(), JwtSvidError> {
    let signer = es256();
    let mut claims = good_claims();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(claim);
    } else {
        claims[claim] = value;
    }
    verify(&signer.token(&signer.header(), &claims), &signer.bundles()).map(drop)
}

#[test]
fn spiffe_row_26_the_subject_is_a_spiffe_id_with_a_path() {
    assert_eq!(outcome("sub", json!(WEB)), Ok(()));
    assert_eq!(
        outcome("sub", Value::Null),
        Err(JwtSvidError::Token(TokenError::NoSubject))
    );
    assert_eq!(
        outcome("sub", json!([WEB])),
        Err(JwtSvidError::Token(TokenError::NoSubject))
    );
    assert_eq!(
        outcome("sub", json!("spiffe://td")),
        Err(JwtSvidError::Token(TokenError::RootPath))
    );
    assert_eq!(
        outcome("sub", json!("https://td/web")),
        Err(JwtSvidError::Token(TokenError::Subject(IdError::Scheme)))
    );
    for bad in [
        "",
        "web",
        "spiffe://TD/web",
        "spiffe://td/a//b",
        "spiffe://td/a?b",
    ] {
        assert!(
            matches!(
                outcome("sub", json!(bad)),
                Err(JwtSvidError::Token(TokenError::Subject(_)))
            ),
            "{bad}"
        );
    }
}

#[test]
fn spiffe_row_27_the_audience_is_there_and_ours() {
    for good in [json!(REPORTS), json!([REPORTS]), json!(["other", REPORTS])] {
        assert_eq!(outcome("aud", good.clone()), Ok(()), "{good}");
    }
    for bad in [
        Value::Null,
        json!([]),
        json!({}),
        json!(1),
        json!([REPORTS, 1]),
        json!([[REPORTS]]),
    ] {
        assert_eq!(
            outcome("aud", bad.clone()),
            Err(JwtSvidError::NoAudience),
            "{bad}"
        );
    }
    for foreign in [
        json!("other"),
        json!(["other"]),
        json!(""),
        json!([""]),
        json!(REPORTS.to_uppercase()),
        json!(format!("{REPORTS}/")),
    ] {
        assert!(
            matches!(
                outcome("aud", foreign.clone()),
                Err(JwtSvidError::Audience { .. })
            ),
            "{foreign}"
        );
    }
}

#[test]
fn spiffe_row_28_the_end_is_there_and_not_past() {
    assert_eq!(outcome("exp", json!(NOW + 1)), Ok(()));
    assert_eq!(outcome("exp", json!(u64::MAX)), Ok(()));
    assert_eq!(outcome("exp", json!(1_800_000_001.5)), Ok(()));
    for past in [json!(NOW), json!(NOW - 1), json!(0), json!(1_800_000_000.9)] {
        assert!(
            matches!(
                outcome("exp", past.clone()),
                Err(JwtSvidError::Token(TokenError::Expired { .. }))
            ),
            "{past}"
        );
    }
    for bad in [
        Value::Null,
        json!("1800000300"),
        json!(-1),
        json!(-0.5),
        json!(1e300),
        json!([NOW + 1]),
        json!(true),
    ] {
        assert_eq!(
            outcome("exp", bad.clone()),
            Err(JwtSvidError::Token(TokenError::NoExpiry)),
            "{bad}"
        );
    }
}

#[test]
fn a_token_that_begins_later_is_refused_and_times_are_times() {
    assert_eq!(outcome("nbf", json!(NOW)), Ok(()));
    assert!(matches!(
        outcome("nbf", json!(NOW + 1)),
        Err(JwtSvidError::Token(TokenError::NotYetValid { .. }))
    ));
    for claim in ["nbf", "iat"] {
        assert_eq!(
            outcome(claim, json!("now")),
            Err(JwtSvidError::Token(TokenError::Time { claim }))
        );
    }
    // When it was issued decides nothing: clocks differ.
    assert_eq!(outcome("iat", json!(NOW + 1000)), Ok(()));
}

#[test]
fn spiffe_row_30_and_53_a_token_is_checked_against_the_keys_of_its_own_trust_domain_alone() {
    let signer = es256();
    let mut claims = good_claims();
    claims["sub"] = json!("spiffe://other/web");
    let token = signer.token(&signer.header(), &claims);
    // The key is known, yet as one of `td`.
    assert!(matches!(
        verify(&token, &signer.bundles()),
        Err(JwtSvidError::Token(TokenError::UntrustedDomain { .. }))
    ));
    let other = Signer::new("k1", JwtAlgorithm::Es256);
    let mut both = signer.bundles();
    let keys = json!({"keys": [other.jwk()]}).to_string();
    both.insert(signet_spiffe::JwtBundle::from_jwks(crate::maker::domain("other"), &keys).unwrap());
    assert!(matches!(
        verify(&token, &both),
        Err(JwtSvidError::Token(TokenError::Signature { .. }))
    ));
    assert!(verify(&other.token(&other.header(), &claims), &both).is_ok());
    assert!(verify(&signer.good(), &both).is_ok());
}

#[test]
fn claims_that_say_something_twice_are_refused() {
    let signer = es256();
    let twice = format!(
        r#"{{"sub":"{WEB}","aud":"{REPORTS}","exp":{},"sub":"spiffe://td/admin"}}"#,
        NOW + 1
    );
    let token = signer.token_of(signer.header().to_string().as_bytes(), twice.as_bytes());
    assert!(matches!(
        verify(&token, &signer.bundles()),
        Err(JwtSvidError::Token(TokenError::Json { .. }))
    ));
}

#[test]
fn spiffe_row_52_a_verified_token_tells_all_of_its_claims() {
    let signer = es256();
    let mut claims = good_claims();
    claims["team"] = json!({"name": "shop", "ids": [1, 2.5, null, true]});
    let token = signer.token(&signer.header(), &claims);
    let verified = verify_jwt_svid(&token, &signer.bundles(), REPORTS, at(NOW)).unwrap();
    assert_eq!(Value::Object(verified.claims().clone()), claims);
    assert_eq!(verified.audience(), [REPORTS]);
    assert_eq!(verified.expires(), at(NOW + 300));
}

#[test]
fn what_we_make_says_who_for_whom_until_when_and_no_more() {
    let signer = es256();
    let verified = verify(&signer.good(), &signer.bundles()).unwrap();
    assert_eq!(
        Value::Object(verified.claims().clone()),
        json!({"sub": WEB, "aud": [REPORTS], "exp": NOW + 300, "iat": NOW, "jti": "1"})
    );
}
