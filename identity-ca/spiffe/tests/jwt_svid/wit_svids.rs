//! WIT-SVIDs, rows 31, 32 and 34: form, header, claims, and the keys that they are checked with.

use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::{any, prop_assert, proptest};
use serde_json::{Value, json};
use signet_spiffe::{
    ConfirmationError, ConfirmationKey, JwksError, JwtAlgorithm, JwtBundle, JwtBundleError, JwtKey,
    JwtSvidError, Revocations, SpiffeBundle, SpiffeId, Subject, TokenError, UnprovenWitSvid, WitBundle,
    WitBundleSet, WitHeaderError, WitSvidClaims, WitSvidError, sign_wit_svid, verify_wit_svid,
};

use crate::maker::{NOW, Signer, WEB, at, domain, good_claims, verify};

/// A CA's key and a workload's.
pub(crate) struct Pair {
    pub(crate) ca: Signer,
    pub(crate) workload: Signer,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::of(JwtAlgorithm::Es256)
    }

    pub(crate) fn of(workload: JwtAlgorithm) -> Self {
        Self {
            ca: Signer::new("w1", JwtAlgorithm::Es256),
            workload: Signer::new("mine", workload),
        }
    }

    fn wit_jwk(&self) -> Value {
        let mut jwk = self.ca.jwk();
        jwk["use"] = json!("wit-svid");
        jwk
    }

    pub(crate) fn bundles(&self) -> WitBundleSet {
        let set = json!({"keys": [self.wit_jwk()]}).to_string();
        WitBundleSet::single(WitBundle::from_jwks(domain("td"), &set).unwrap())
    }

    /// The workload's public key, as a token has it.
    fn confirmation(&self) -> Value {
        let mut jwk = self.workload.jwk();
        jwk["alg"] = self.workload.header()["alg"].clone();
        jwk.as_object_mut().unwrap().remove("use");
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    }

    fn header(&self) -> Value {
        let mut header = self.ca.header();
        header["typ"] = json!("wit+jwt");
        header
    }

    fn claims(&self) -> Value {
        json!({"sub": WEB, "exp": NOW + 300, "iat": NOW, "cnf": {"jwk": self.confirmation()}})
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.ca.token(&self.header(), claims)
    }

    pub(crate) fn good(&self) -> String {
        self.token(&self.claims())
    }

    pub(crate) fn check(&self, token: &str) -> Result<UnprovenWitSvid, WitSvidError> {
        verify_wit_svid(token, &self.bundles(), at(NOW))
    }

    fn with_header(&self, change: impl FnOnce(&mut Value)) -> Result<UnprovenWitSvid, WitSvidError> {
        let mut header = self.header();
        change(&mut header);
        self.check(&self.ca.token(&header, &self.claims()))
    }

    fn with_claims(&self, change: impl FnOnce(&mut Value)) -> Result<UnprovenWitSvid, WitSvidError> {
        let mut claims = self.claims();
        change(&mut claims);
        self.check(&self.token(&claims))
    }
}

fn header_error(result: Result<UnprovenWitSvid, WitSvidError>) -> WitHeaderError {
    match result {
        Err(WitSvidError::Header(error)) => error,
        other => unreachable!("{other:?}"),
    }
}

fn remove(name: &'static str) -> impl FnOnce(&mut Value) {
    move |object| {
        object.as_object_mut().unwrap().remove(name).unwrap();
    }
}

#[test]
fn spiffe_row_31_what_we_issue_has_alg_kid_and_typ_and_nothing_else_in_its_header() {
    let pair = Pair::new();
    let public =
        JwtBundle::from_jwks(domain("td"), &json!({"keys": [pair.workload.jwk()]}).to_string()).unwrap();
    let claims = WitSvidClaims {
        id: &SpiffeId::parse(WEB).unwrap(),
        key: &ConfirmationKey::new(&public.keys()[0], JwtAlgorithm::Es256).unwrap(),
        issued_at: at(NOW),
        expires: at(NOW + 300),
        token_id: "07",
    };
    let token = sign_wit_svid(&pair.ca, &claims).unwrap();
    let part = |number: usize| -> Value {
        let part = token.split('.').nth(number).unwrap();
        serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
    };
    assert_eq!(part(0), json!({"alg": "ES256", "kid": "w1", "typ": "wit+jwt"}));
    let expected = json!({
        "sub": WEB, "exp": NOW + 300, "iat": NOW, "jti": "07", "cnf": {"jwk": pair.confirmation()},
    });
    assert_eq!(part(1), expected);
    let svid = pair.check(&token).unwrap();
    assert_eq!((svid.issued_to().as_str(), svid.key_id()), (WEB, "w1"));
    assert_eq!((svid.token_id(), svid.issued()), (Some("07"), Some(at(NOW))));
    assert_eq!(svid.key().thumbprint(), claims.key.thumbprint());
}

#[test]
fn spiffe_row_31_the_kid_is_there_and_names_the_key() {
    let pair = Pair::new();
    for bad in [json!(""), json!(7), json!("k".repeat(257)), json!(null)] {
        assert_eq!(
            header_error(pair.with_header(|header| header["kid"] = bad)),
            WitHeaderError::KeyId
        );
    }
    assert_eq!(
        header_error(pair.with_header(remove("kid"))),
        WitHeaderError::KeyId
    );
    let other_case = pair.with_header(|header| header["kid"] = json!("W1"));
    assert!(
        matches!(
            other_case,
            Err(WitSvidError::Token(TokenError::UnknownKey { .. }))
        ),
        "{other_case:?}"
    );
}

#[test]
fn spiffe_row_31_the_typ_is_wit_jwt_to_the_letter() {
    let pair = Pair::new();
    for bad in ["JWT", "JOSE", "wit+JWT", "application/wit+jwt", "wpt+jwt", ""] {
        let result = pair.with_header(|header| header["typ"] = json!(bad));
        assert_eq!(header_error(result), WitHeaderError::Type, "{bad}");
    }
    assert_eq!(
        header_error(pair.with_header(remove("typ"))),
        WitHeaderError::Type
    );
}

#[test]
fn spiffe_row_31_another_alg_is_refused_before_anything_else_is_read() {
    let pair = Pair::new();
    for bad in ["none", "HS256", "EdDSA", "es256", "ES256K", ""] {
        let result = pair.with_header(|header| *header = json!({"alg": bad, "typ": "x", "crit": ["y"]}));
        assert_eq!(header_error(result), WitHeaderError::Algorithm, "{bad}");
    }
    assert_eq!(
        header_error(pair.with_header(remove("alg"))),
        WitHeaderError::Algorithm
    );
    // One that is allowed, of another kind than the key.
    for other in ["ES384", "RS256"] {
        let result = pair.with_header(|header| header["alg"] = json!(other));
        assert!(
            matches!(result, Err(WitSvidError::Token(TokenError::Signature { .. }))),
            "{other}: {result:?}"
        );
    }
    for algorithm in JwtAlgorithm::ALL {
        let pair = Pair {
            ca: Signer::new("w1", algorithm),
            workload: Signer::new("mine", JwtAlgorithm::Es256),
        };
        assert!(pair.check(&pair.good()).is_ok(), "{algorithm}");
    }
}

#[test]
fn spiffe_row_31_other_headers_are_passed_over_unless_crit_names_them() {
    let pair = Pair::new();
    assert!(pair.with_header(|header| header["x"] = json!({"y": 1})).is_ok());
    for crit in [json!(["x"]), json!([]), json!("x")] {
        let result = pair.with_header(|header| header["crit"] = crit);
        assert_eq!(header_error(result), WitHeaderError::Critical);
    }
}

#[test]
fn spiffe_row_32_the_subject_is_a_workloads_spiffe_id() {
    let pair = Pair::new();
    assert_eq!(
        pair.with_claims(remove("sub")).unwrap_err(),
        WitSvidError::Token(TokenError::NoSubject)
    );
    let subject = |text: &str| {
        pair.with_claims(|claims| claims["sub"] = json!(text))
            .unwrap_err()
    };
    assert!(matches!(
        subject("wimse://td/web"),
        WitSvidError::Token(TokenError::Subject(_))
    ));
    assert_eq!(subject("spiffe://td"), WitSvidError::Token(TokenError::RootPath));
    // Its own trust domain's keys alone count.
    assert!(matches!(
        subject("spiffe://other/ns/shop/sa/web"),
        WitSvidError::Token(TokenError::UntrustedDomain { .. })
    ));
}

#[test]
fn spiffe_row_32_there_is_no_audience() {
    let pair = Pair::new();
    for audience in [json!(["x"]), json!([]), json!("x"), json!(null)] {
        let result = pair.with_claims(|claims| claims["aud"] = audience);
        assert_eq!(result.unwrap_err(), WitSvidError::Audience);
    }
}

#[test]
fn spiffe_row_32_a_time_decides_at_its_second() {
    let pair = Pair::new();
    assert_eq!(
        pair.with_claims(remove("exp")).unwrap_err(),
        WitSvidError::Token(TokenError::NoExpiry)
    );
    let with = |claim: &'static str, value: Value| pair.with_claims(|claims| claims[claim] = value);
    assert!(with("exp", json!(NOW + 1)).is_ok());
    assert!(matches!(
        with("exp", json!(NOW)),
        Err(WitSvidError::Token(TokenError::Expired { .. }))
    ));
    assert_eq!(
        with("exp", json!("9999999999")).unwrap_err(),
        WitSvidError::Token(TokenError::NoExpiry)
    );
    assert!(with("nbf", json!(NOW)).is_ok());
    assert!(matches!(
        with("nbf", json!(NOW + 1)),
        Err(WitSvidError::Token(TokenError::NotYetValid { .. }))
    ));
    assert_eq!(
        with("nbf", json!("x")).unwrap_err(),
        WitSvidError::Token(TokenError::Time { claim: "nbf" })
    );
    // When it was made limits nothing (§3.6), and neither has to be there.
    assert!(with("iat", json!(NOW + 60)).is_ok());
    assert!(pair.with_claims(remove("iat")).is_ok());
}

#[test]
fn spiffe_row_32_the_key_is_public_and_says_what_it_signs_with() {
    let pair = Pair::new();
    let confirmation = |change: &dyn Fn(&mut Value)| {
        let result = pair.with_claims(|claims| change(&mut claims["cnf"]));
        match result {
            Err(WitSvidError::Confirmation(error)) => error,
            other => unreachable!("{other:?}"),
        }
    };
    assert!(matches!(
        pair.with_claims(remove("cnf")),
        Err(WitSvidError::Confirmation(ConfirmationError::NoKey))
    ));
    assert_eq!(
        confirmation(&|cnf| *cnf = json!({"kid": "mine"})),
        ConfirmationError::NoKey
    );
    assert_eq!(confirmation(&|cnf| *cnf = json!([])), ConfirmationError::NoKey);
    for member in ["jku", "jwe"] {
        assert_eq!(
            confirmation(&|cnf| cnf[member] = json!("x")),
            ConfirmationError::Several { member }
        );
    }
    for member in ["d", "k", "p", "oth"] {
        assert_eq!(
            confirmation(&|cnf| cnf["jwk"][member] = json!("AA")),
            ConfirmationError::Secret { member }
        );
    }
    for bad in ["none", "HS256", "EdDSA", "es256"] {
        assert_eq!(
            confirmation(&|cnf| cnf["jwk"]["alg"] = json!(bad)),
            ConfirmationError::Algorithm,
            "{bad}"
        );
    }
    let none = confirmation(&|cnf| remove("alg")(&mut cnf["jwk"]));
    assert_eq!(none, ConfirmationError::Algorithm);
    for other in ["ES384", "RS256", "PS256"] {
        assert_eq!(
            confirmation(&|cnf| cnf["jwk"]["alg"] = json!(other)),
            ConfirmationError::Mismatch
        );
    }
    assert_eq!(
        confirmation(&|cnf| cnf["jwk"]["kty"] = json!("OKP")),
        ConfirmationError::Kind
    );
    assert!(matches!(
        confirmation(&|cnf| cnf["jwk"]["x"] = cnf["jwk"]["y"].clone()),
        ConfirmationError::Key(_)
    ));
    for algorithm in JwtAlgorithm::ALL {
        let pair = Pair::of(algorithm);
        assert_eq!(pair.check(&pair.good()).unwrap().key().algorithm(), algorithm);
    }
}

#[test]
fn spiffe_row_32_an_issuer_and_whatever_else_is_passed_over() {
    let pair = Pair::new();
    let more = |claims: &mut Value| {
        claims["iss"] = json!("https://td.test");
        claims["jti"] = json!(7);
        claims["groups"] = json!(["x", {"y": null}]);
    };
    let svid = pair.with_claims(more).unwrap();
    assert_eq!(svid.token_id(), None);
}

#[test]
fn spiffe_row_34_only_keys_for_wit_svids_check_them_and_they_check_nothing_else() {
    let pair = Pair::new();
    // The same key, published for JWT-SVIDs.
    let set = json!({"keys": [pair.ca.jwk()]}).to_string();
    let bundle = WitBundle::from_jwks(domain("td"), &set).unwrap();
    assert!(bundle.keys().is_empty());
    let refused = verify_wit_svid(&pair.good(), &WitBundleSet::single(bundle), at(NOW));
    assert!(matches!(
        refused,
        Err(WitSvidError::Token(TokenError::UntrustedDomain { .. }))
    ));
    let set = json!({"keys": [pair.wit_jwk()]}).to_string();
    assert!(
        JwtBundle::from_jwks(domain("td"), &set)
            .unwrap()
            .keys()
            .is_empty()
    );
    // A WIT-SVID is no JWT-SVID, even with a key for those: whoever takes bearer tokens takes none.
    let taken = verify(&pair.good(), &pair.ca.bundles());
    assert!(matches!(taken, Err(JwtSvidError::Header(_))), "{taken:?}");
    let jwt = pair.ca.token(&pair.ca.header(), &good_claims());
    assert!(verify(&jwt, &pair.ca.bundles()).is_ok());
    assert_eq!(header_error(pair.check(&jwt)), WitHeaderError::Type);
}

#[test]
fn spiffe_row_34_what_is_published_has_its_use_and_an_id_that_no_other_key_has() {
    let pair = Pair::new();
    let set = json!({"keys": [pair.wit_jwk(), pair.workload.jwk()]}).to_string();
    let bundle = SpiffeBundle::from_jwks(&domain("td"), &set).unwrap();
    assert_eq!((bundle.wit.keys().len(), bundle.jwt.keys().len()), (1, 1));
    let written: Value = serde_json::from_str(&bundle.to_jwks().unwrap()).unwrap();
    let uses = |set: &Value| -> Vec<_> {
        let keys = set["keys"].as_array().unwrap();
        keys.iter()
            .map(|key| (key["use"].clone(), key["kid"].clone()))
            .collect()
    };
    assert_eq!(
        uses(&written),
        [
            (json!("jwt-svid"), json!("mine")),
            (json!("wit-svid"), json!("w1"))
        ]
    );
    let alone: Value = serde_json::from_str(&bundle.wit.to_jwks()).unwrap();
    assert_eq!(alone, json!({"keys": [pair.wit_jwk()]}));

    // Across the two kinds, read or written, and within one.
    let mut same = pair.workload.jwk();
    same["kid"] = json!("w1");
    let set = json!({"keys": [pair.wit_jwk(), same]}).to_string();
    let refused = SpiffeBundle::from_jwks(&domain("td"), &set);
    assert!(matches!(refused, Err(JwksError::SharedId { id }) if id == "w1"));
    let mut both = bundle;
    both.jwt = JwtBundle::new(domain("td"), both.wit.keys().to_vec()).unwrap();
    assert!(matches!(both.to_jwks(), Err(JwksError::SharedId { .. })));
    let twice = json!({"keys": [pair.wit_jwk(), pair.wit_jwk()]}).to_string();
    let refused = WitBundle::from_jwks(domain("td"), &twice);
    assert!(matches!(
        refused,
        Err(JwksError::Jwt(JwtBundleError::SameId { .. }))
    ));
    let mut without = pair.wit_jwk();
    remove("kid")(&mut without);
    let refused = WitBundle::from_jwks(domain("td"), &json!({"keys": [without]}).to_string());
    assert!(matches!(
        refused,
        Err(JwksError::Jwt(JwtBundleError::Key { number: 1, .. }))
    ));
}

#[test]
fn what_is_revoked_does_not_verify() {
    let pair = Pair::new();
    let id = SpiffeId::parse(WEB).unwrap();
    let check = |subject: Subject, token: &str| {
        let mut revocations = Revocations::of(domain("td"));
        revocations.insert(subject, "stolen".into());
        let bundles = pair.bundles().with_revocations(revocations.into());
        verify_wit_svid(token, &bundles, at(NOW + 1))
    };
    let up_to = |seconds| Subject::Id {
        id: id.clone(),
        until: at(0),
        at: at(seconds),
    };
    let mut claims = pair.claims();
    claims["jti"] = json!("0a");
    let good = pair.token(&claims);
    assert!(matches!(
        check(up_to(NOW), &good),
        Err(WitSvidError::Token(TokenError::Revoked(_)))
    ));
    assert!(check(up_to(NOW - 1), &good).is_ok());
    let serial = |text: &str| Subject::Serial(text.parse().unwrap());
    assert!(matches!(
        check(serial("0a"), &good),
        Err(WitSvidError::Token(TokenError::Revoked(_)))
    ));
    assert!(check(serial("0b"), &good).is_ok());
    // One that does not say when it was made is old.
    remove("iat")(&mut claims);
    assert!(matches!(
        check(up_to(1), &pair.token(&claims)),
        Err(WitSvidError::Token(TokenError::Revoked(_)))
    ));
}

#[test]
fn an_id_of_a_key_is_not_taken_from_the_token() {
    // The workload's key is its thumbprint, whatever `kid` its JWK has.
    let pair = Pair::new();
    let svid = pair
        .with_claims(|claims| claims["cnf"]["jwk"]["kid"] = json!("other"))
        .unwrap();
    let plain: JwtKey =
        JwtBundle::from_jwks(domain("td"), &json!({"keys": [pair.workload.jwk()]}).to_string())
            .unwrap()
            .keys()[0]
            .clone();
    let key = ConfirmationKey::new(&plain, JwtAlgorithm::Es256).unwrap();
    assert_eq!(svid.key(), &key);
}

proptest! {
    #[test]
    fn a_changed_token_never_verifies(position in any::<proptest::sample::Index>(), flip in 1u8..=255) {
        let pair = Pair::new();
        let mut bytes = pair.good().into_bytes();
        let place = position.index(bytes.len());
        bytes[place] ^= flip;
        if let Ok(text) = String::from_utf8(bytes) {
            prop_assert!(pair.check(&text).is_err());
        }
    }

    #[test]
    fn no_text_makes_the_verifier_panic(text in ".*") {
        let pair = Pair::new();
        prop_assert!(pair.check(&text).is_err());
    }
}
