//! Revocation: what is named is refused, and nothing else.

use std::sync::Arc;

use rcgen::KeyIdMethod;
use signet_spiffe::{
    BundleSet, CertificateDer, KeyId, Revocations, RevokedBy, SerialNumber, SpiffeId, Subject, SvidError,
    TrustDomain, VerifiedSvid, node_serial, verify_x509_svid,
};

use crate::maker::{HOUR, NOW, Signer, at, leaf_params, now, signer_params, valid};

const WEB: &str = "spiffe://td/ns/shop/sa/web";
const OTHER: &str = "spiffe://td/ns/shop/sa/other";

fn revoked(subject: Subject) -> Arc<Revocations> {
    let mut revocations = Revocations::default();
    revocations.insert(subject, "key leaked".into());
    Arc::new(revocations)
}

fn judge(
    chain: &[CertificateDer<'_>],
    bundles: &BundleSet,
    revocations: &Arc<Revocations>,
) -> Result<VerifiedSvid, SvidError> {
    verify_x509_svid(
        chain,
        &bundles.clone().with_revocations(revocations.clone()),
        now(),
    )
}

fn by(result: Result<VerifiedSvid, SvidError>) -> Option<RevokedBy> {
    match result {
        Err(SvidError::Revoked(revoked)) => Some(revoked.by),
        Ok(_) => None,
        Err(other) => panic!("refused for another reason: {other}"),
    }
}

fn web() -> SpiffeId {
    SpiffeId::parse(WEB).unwrap()
}

#[test]
fn a_revoked_serial_refuses_that_certificate_and_no_other() {
    let root = Signer::root("td");
    let bundles = root.bundles("td");
    let with_serial = |serial: &[u8]| {
        let mut params = leaf_params(WEB);
        params.serial_number = Some(rcgen::SerialNumber::from_slice(serial));
        root.leaf(&params)
    };
    // The first bit of the second is set, so its encoding begins with a zero.
    let (one, two) = (with_serial(&[0x42, 1]), with_serial(&[0xc2, 1]));
    let serial = |leaf: &CertificateDer<'static>| {
        let svid = verify_x509_svid(std::slice::from_ref(leaf), &bundles, now()).unwrap();
        SerialNumber::new(svid.serial()).unwrap()
    };
    let (first, second) = (serial(&one), serial(&two));
    assert_ne!(first, second);
    let revocations = revoked(Subject::Serial(first));
    assert_eq!(
        by(judge(std::slice::from_ref(&one), &bundles, &revocations)),
        Some(RevokedBy::Serial)
    );
    assert_eq!(
        by(judge(std::slice::from_ref(&two), &bundles, &revocations)),
        None
    );
    let revocations_of_two = revoked(Subject::Serial("c2:01".parse().unwrap()));
    assert_eq!(second, "c201".parse().unwrap());
    assert_eq!(
        by(judge(&[two], &bundles, &revocations_of_two)),
        Some(RevokedBy::Serial)
    );
    let error = judge(&[one], &bundles, &revocations).unwrap_err();
    assert_eq!(error.claimed_id(), Some(&web()));
    assert!(error.to_string().contains("key leaked"), "{error}");
}

#[test]
fn a_revoked_id_refuses_what_was_issued_up_to_the_moment_and_not_what_comes_after() {
    let root = Signer::root("td");
    let bundles = root.bundles("td");
    let issued = |id: &str, age: u64| {
        let mut params = leaf_params(id);
        valid(&mut params, NOW - age, NOW + HOUR);
        root.leaf(&params)
    };
    let until = at(NOW - 300);
    let revocations = revoked(Subject::Id {
        id: web(),
        until,
        at: until,
    });
    for (age, refused) in [(600, true), (300, true), (299, false), (0, false)] {
        let found = by(judge(&[issued(WEB, age)], &bundles, &revocations));
        assert_eq!(found, refused.then_some(RevokedBy::Id), "{age}");
        let other = by(judge(&[issued(OTHER, age)], &bundles, &revocations));
        assert_eq!(other, None, "{age}");
    }
}

#[test]
fn a_revoked_node_refuses_what_it_asked_for_up_to_the_moment_whoever_shows_it() {
    let root = Signer::root("td");
    let bundles = root.bundles("td");
    let issued = |node: u16, age: u64| {
        let mut params = leaf_params(WEB);
        let serial = node_serial(now(), 1, node, [9; 9]);
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
        valid(&mut params, NOW - age, NOW + HOUR);
        root.leaf(&params)
    };
    let until = at(NOW - 300);
    let revocations = revoked(Subject::Node {
        number: 7,
        until,
        at: until,
    });
    for (age, refused) in [(600, true), (300, true), (299, false), (0, false)] {
        let found = by(judge(&[issued(7, age)], &bundles, &revocations));
        assert_eq!(found, refused.then_some(RevokedBy::Node), "{age}");
        for other in [8, 0, 0x0700] {
            let found = by(judge(&[issued(other, age)], &bundles, &revocations));
            assert_eq!(found, None, "{other}, {age}");
        }
    }
    // Nobody's number is 0: that is who did not ask.
    let nobody = revoked(Subject::Node {
        number: 0,
        until,
        at: until,
    });
    assert_eq!(by(judge(&[issued(0, 600)], &bundles, &nobody)), None);
}

#[test]
fn serials_and_nodes_of_one_trust_domain_mean_nothing_in_another() {
    let (ours, theirs) = (Signer::root("td"), Signer::root("other"));
    let mut bundles = ours.bundles("td");
    bundles.insert(theirs.bundles("other").iter().next().unwrap().clone());
    let serial = node_serial(now(), 1, 5, [9; 9]);
    let with_serial = |signer: &Signer, id: &str| {
        let mut params = leaf_params(id);
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
        signer.leaf(&params)
    };
    let (web, foreign) = (
        with_serial(&ours, WEB),
        with_serial(&theirs, "spiffe://other/ns/shop/sa/web"),
    );
    let (until, number) = (now(), 5);
    let node = Subject::Node {
        number,
        until,
        at: until,
    };
    let by_itself = Subject::Serial(SerialNumber::new(&serial).unwrap());
    for (subject, refused) in [(node, RevokedBy::Node), (by_itself, RevokedBy::Serial)] {
        let mut revocations = Revocations::of(TrustDomain::parse("td").unwrap());
        assert!(revocations.is_empty());
        revocations.insert(subject, "key leaked".into());
        assert!(!revocations.is_empty());
        let revocations = Arc::new(revocations);
        let judge =
            |leaf: &CertificateDer<'static>| by(judge(std::slice::from_ref(leaf), &bundles, &revocations));
        assert_eq!(judge(&web), Some(refused));
        assert_eq!(judge(&foreign), None, "{refused:?}");
    }
}

#[test]
fn the_later_of_two_revocations_of_an_id_counts_in_either_order() {
    for order in [[10, 20], [20, 10]] {
        let mut revocations = Revocations::default();
        for seconds in order {
            let until = at(seconds);
            revocations.insert(
                Subject::Id {
                    id: web(),
                    until,
                    at: until,
                },
                "again".into(),
            );
        }
        assert_eq!(revocations.of_id(&web()).unwrap().0, at(20));
    }
}

#[test]
fn a_revoked_authority_refuses_everything_below_it_whatever_the_leaf_says_of_its_issuer() {
    let root = Signer::root("td");
    let bundles = root.bundles("td");
    let mut lower = signer_params(None);
    lower.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 20]);
    let lower = root.intermediate(lower);
    let upper = root.intermediate(signer_params(None));
    // rcgen's leaves name no issuer unless told to: a signer that is found out leaves it away.
    let below = [lower.leaf(&leaf_params(WEB)), lower.der()];
    let beside = [upper.leaf(&leaf_params(WEB)), upper.der()];
    let revocations = revoked(Subject::Authority(KeyId::new(&[7; 20]).unwrap()));
    assert_eq!(
        by(judge(&below, &bundles, &revocations)),
        Some(RevokedBy::Authority)
    );
    assert_eq!(by(judge(&beside, &bundles, &revocations)), None);

    let root_key = bundles.iter().next().unwrap().key_ids().next().unwrap().clone();
    let revocations = revoked(Subject::Authority(root_key));
    for chain in [&below[..], &beside[..], &[root.leaf(&leaf_params(WEB))]] {
        assert_eq!(
            by(judge(chain, &bundles, &revocations)),
            Some(RevokedBy::Authority)
        );
    }
}

#[test]
fn a_revocation_that_cannot_be_read_refuses_everything() {
    let root = Signer::root("td");
    let mut revocations = Revocations::default();
    assert!(revocations.is_empty());
    revocations.revoke_everything("a kind that is newer than this program".into());
    assert_eq!(
        by(judge(
            &[root.leaf(&leaf_params(WEB))],
            &root.bundles("td"),
            &Arc::new(revocations)
        )),
        Some(RevokedBy::Unreadable)
    );
}

#[test]
fn a_bad_certificate_is_refused_for_what_is_bad_and_not_for_being_revoked() {
    let (root, stranger) = (Signer::root("td"), Signer::root("td"));
    let revocations = revoked(Subject::Id {
        id: web(),
        until: now(),
        at: now(),
    });
    let judged = judge(
        &[stranger.leaf(&leaf_params(WEB))],
        &root.bundles("td"),
        &revocations,
    );
    assert!(matches!(judged, Err(SvidError::Path { .. })), "{judged:?}");
}

#[test]
fn serials_and_key_ids_are_read_as_people_copy_them() {
    let serial: SerialNumber = "00:AB:0c".parse().unwrap();
    assert_eq!(serial, SerialNumber::new(&[0xab, 0x0c]).unwrap());
    assert_eq!(serial.to_string(), "ab0c");
    assert_eq!("abc".parse::<SerialNumber>().unwrap().to_string(), "0abc");
    for bad in ["", "00", "xy", &"ab".repeat(21), "é"] {
        assert!(bad.parse::<SerialNumber>().is_err(), "{bad}");
    }
    for bad in ["", "g0", &"ab".repeat(65)] {
        assert!(bad.parse::<KeyId>().is_err(), "{bad}");
    }
    assert_eq!("00:01".parse::<KeyId>().unwrap().as_bytes(), [0, 1]);
}
