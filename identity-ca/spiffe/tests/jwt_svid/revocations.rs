//! Revocation of tokens: what is named is refused, and nothing else.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use signet_spiffe::{
    JwtAlgorithm, JwtBundleSet, JwtSvidError, Revocations, RevokedBy, SpiffeId, Subject, TokenError,
    TrustDomain, node_serial,
};

use crate::maker::{NOW, Signer, WEB, at, good_claims, verify};

/// What a token that says this of itself is refused by.
fn refused(claims: &[(&str, Value)], subject: Subject) -> Option<RevokedBy> {
    let mut revocations = Revocations::default();
    revocations.insert(subject, "key leaked".into());
    judged(claims, revocations)
}

fn judged(claims: &[(&str, Value)], revocations: Revocations) -> Option<RevokedBy> {
    let signer = Signer::new("k1", JwtAlgorithm::Es256);
    let mut all = good_claims();
    for (name, value) in claims {
        if value.is_null() {
            all.as_object_mut().unwrap().remove(*name);
        } else {
            all[*name] = value.clone();
        }
    }
    verdict(
        &signer,
        &all,
        &signer.bundles().with_revocations(Arc::new(revocations)),
    )
}

fn verdict(signer: &Signer, all: &Value, bundles: &JwtBundleSet) -> Option<RevokedBy> {
    match verify(&signer.token(&signer.header(), all), bundles) {
        Ok(_) => None,
        Err(JwtSvidError::Token(TokenError::Revoked(revoked))) => Some(revoked.by),
        Err(error) => panic!("refused for another reason: {error}"),
    }
}

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

#[test]
fn a_revoked_id_refuses_tokens_up_to_the_second_of_its_revocation() {
    // How far certificates are meant says nothing of tokens: those are not backdated.
    let (until, moment) = (at(NOW + 9_999), at(NOW - 10));
    let of = |text: &str| Subject::Id {
        id: id(text),
        until,
        at: moment,
    };
    for (iat, by) in [
        (json!(NOW - 11), Some(RevokedBy::Id)),
        (json!(NOW - 10), Some(RevokedBy::Id)),
        (json!(NOW - 9), None),
        (Value::Null, Some(RevokedBy::Id)),
    ] {
        assert_eq!(refused(&[("iat", iat.clone())], of(WEB)), by, "{iat}");
        assert_eq!(refused(&[("iat", iat)], of("spiffe://td/other")), None);
    }
}

#[test]
fn a_token_is_revoked_by_its_jti_or_with_the_node_that_it_names() {
    let serial = |node| HEXLOWER.encode(&node_serial(at(NOW), 1, node, [9; 9]));
    let jti = |node: u16, iat: u64| [("jti", json!(serial(node))), ("iat", json!(iat))];
    let by_itself = Subject::Serial(serial(7).parse().unwrap());
    assert_eq!(refused(&jti(7, NOW), by_itself.clone()), Some(RevokedBy::Serial));
    assert_eq!(refused(&jti(8, NOW), by_itself), None);
    let node = || Subject::Node {
        number: 7,
        until: at(NOW + 9_999),
        at: at(NOW - 10),
    };
    assert_eq!(refused(&jti(7, NOW - 10), node()), Some(RevokedBy::Node));
    assert_eq!(refused(&jti(7, NOW - 9), node()), None);
    assert_eq!(refused(&jti(8, NOW - 10), node()), None);
    for strange in [json!("not hexadecimal"), json!(7), Value::Null] {
        assert_eq!(refused(&[("jti", strange.clone())], node()), None, "{strange}");
    }
}

#[test]
fn the_jti_of_another_trust_domain_is_neither_ours_nor_names_a_node_of_ours_but_its_id_may_be_meant() {
    let serial = HEXLOWER.encode(&node_serial(at(NOW), 1, 7, [9; 9]));
    let claims = [("jti", json!(serial)), ("iat", json!(NOW - 10))];
    let node = Subject::Node {
        number: 7,
        until: at(NOW),
        at: at(NOW),
    };
    let by_itself = Subject::Serial(serial.parse().unwrap());
    let of_web = Subject::Id {
        id: id(WEB),
        until: at(NOW),
        at: at(NOW),
    };
    for (subject, ours, theirs) in [
        (node, RevokedBy::Node, None),
        (by_itself, RevokedBy::Serial, None),
        (of_web, RevokedBy::Id, Some(RevokedBy::Id)),
    ] {
        for (domain, refused) in [("td", Some(ours)), ("other", theirs)] {
            let mut revocations = Revocations::of(TrustDomain::parse(domain).unwrap());
            revocations.insert(subject.clone(), "key leaked".into());
            assert_eq!(judged(&claims, revocations), refused, "{domain}");
        }
    }
}

#[test]
fn what_cannot_be_read_means_every_token() {
    let mut revocations = Revocations::default();
    revocations.revoke_everything("of tomorrow".into());
    assert_eq!(judged(&[], revocations), Some(RevokedBy::Unreadable));
}
