//! What the authority puts into certificates, read back by parsers that are not ours and by our own verifier.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot make its certificate has failed"
)]

use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType};
use signet_authority::{
    Authority, AuthorityError, BACKDATE, IssueError, IssuedSvid, LeafContents, MAX_REQUEST_BYTES,
    RequestError, RequestedKey, RevokedSerial, Serial, SigningKey,
};
use signet_spiffe::{BundleSet, DnsName, KeyType, SpiffeId, TrustDomain, UnixTime, verify_x509_svid};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

const NOW: u64 = 1_800_000_000;
const HOUR: Duration = Duration::from_hours(1);
const YEAR: Duration = Duration::from_hours(24 * 365);

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn domain() -> TrustDomain {
    TrustDomain::parse("cluster.local").unwrap()
}

fn web() -> SpiffeId {
    SpiffeId::workload(&domain(), "shop", "web").unwrap()
}

fn authority() -> Authority {
    let key = SigningKey::generate().unwrap();
    Authority::create(domain(), key, Serial::from_random([7; 16]), at(NOW), YEAR).unwrap()
}

fn request(key: &KeyPair) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serialize_request(key).unwrap().der().to_vec()
}

fn requested() -> RequestedKey {
    RequestedKey::from_request(&request(&KeyPair::generate().unwrap())).unwrap()
}

fn issue(authority: &Authority, life: Duration) -> IssuedSvid {
    let serial = Serial::from_random([0xff; 16]);
    authority
        .issue(&requested(), &web(), life, serial, at(NOW))
        .unwrap()
}

fn parse(der: &[u8]) -> X509Certificate<'_> {
    let (rest, parsed) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    parsed
}

fn names(certificate: &X509Certificate<'_>) -> (bool, Vec<String>) {
    let san = certificate.subject_alternative_name().unwrap().unwrap();
    let name = |name: &GeneralName<'_>| {
        let GeneralName::URI(uri) = name else {
            panic!("not a URI: {name:?}")
        };
        (*uri).to_owned()
    };
    (san.critical, san.value.general_names.iter().map(name).collect())
}

#[test]
fn spiffe_rows_07_12_14_15_the_root_is_an_svid_of_the_trust_domain_that_signs() {
    let authority = authority();
    let root = parse(authority.certificate());
    assert_eq!(names(&root).1, ["spiffe://cluster.local"]);
    let basic = root.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca);
    let usage = root.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert!(!usage.value.digital_signature());
    assert!(root.extended_key_usage().unwrap().is_none());
    assert_eq!(root.validity().not_before.timestamp(), 1_800_000_000 - 300);
    assert_eq!(authority.not_after(), at(NOW + YEAR.as_secs()));
}

#[test]
fn spiffe_rows_09_10_11_14_15_16_a_leaf_is_by_the_book() {
    let authority = authority();
    let svid = issue(&authority, HOUR);
    let leaf = parse(&svid.chain[0]);
    assert_eq!(names(&leaf), (true, vec![web().to_string()]));
    assert!(
        leaf.subject().iter_rdn().next().is_none(),
        "the subject is not empty"
    );
    let basic = leaf.basic_constraints().unwrap().unwrap();
    assert!(!basic.value.ca);
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical);
    assert_eq!(usage.value.flags, 1, "more than digitalSignature");
    let extended = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.any && extended.other.is_empty());
    let extensions = leaf.extensions_map().unwrap();
    for (name, arc) in [
        ("subject key identifier", "2.5.29.14"),
        ("authority key identifier", "2.5.29.35"),
    ] {
        assert!(
            extensions.keys().any(|oid| oid.to_id_string() == arc),
            "no {name}"
        );
    }
    assert_eq!(svid.chain.len(), 1, "the root must not be in the chain");
}

#[test]
fn a_leaf_is_verified_by_the_bundle_of_its_authority_and_by_no_other() {
    let authority = authority();
    let svid = issue(&authority, HOUR);
    let ours = BundleSet::single(authority.bundle().clone());
    let verified = verify_x509_svid(&svid.chain, &ours, at(NOW)).unwrap();
    assert_eq!((verified.id(), verified.not_after()), (&web(), svid.not_after));
    let other = BundleSet::single(self::authority().bundle().clone());
    assert!(verify_x509_svid(&svid.chain, &other, at(NOW)).is_err());
}

#[test]
fn serials_are_positive_and_as_given() {
    let svid = issue(&authority(), HOUR);
    let leaf = parse(&svid.chain[0]);
    assert_eq!(
        leaf.raw_serial(),
        [&[0], [0xff; 16].as_slice()].concat(),
        "a serial with its top bit set is padded"
    );
}

#[test]
fn validity_is_backdated_and_stays_within_the_root_s() {
    let authority = authority();
    let svid = issue(&authority, HOUR);
    let leaf = parse(&svid.chain[0]);
    assert_eq!(
        (svid.not_before, svid.not_after),
        (at(NOW - BACKDATE.as_secs()), at(NOW + 3600))
    );
    assert_eq!(leaf.validity().not_before.timestamp(), 1_800_000_000 - 300);
    assert_eq!(leaf.validity().not_after.timestamp(), 1_800_000_000 + 3600);

    assert_eq!(issue(&authority, 2 * YEAR).not_after, authority.not_after());

    let early = at(NOW - 200);
    let serial = Serial::from_random([1; 16]);
    let svid = authority
        .issue(&requested(), &web(), HOUR, serial, early)
        .unwrap();
    assert_eq!(svid.not_before, at(NOW - 300), "before the root's own validity");
}

#[test]
fn nothing_is_issued_outside_the_root_s_validity_or_without_life() {
    let authority = authority();
    let issue = |life, now| authority.issue(&requested(), &web(), life, Serial::from_random([1; 16]), now);
    for moment in [NOW - 301, NOW + YEAR.as_secs(), u64::MAX] {
        assert!(
            matches!(issue(HOUR, at(moment)), Err(IssueError::RootNotValid)),
            "{moment}"
        );
    }
    assert!(matches!(issue(Duration::ZERO, at(NOW)), Err(IssueError::NoLife)));
    assert!(issue(Duration::MAX, at(NOW)).is_ok());
}

#[test]
fn no_leaf_carries_a_foreign_id_or_the_authority_s_own() {
    let authority = authority();
    let issue = |id: &str| {
        let id = SpiffeId::parse(id).unwrap();
        authority.issue(&requested(), &id, HOUR, Serial::from_random([1; 16]), at(NOW))
    };
    assert!(matches!(
        issue("spiffe://other/a"),
        Err(IssueError::TrustDomain { .. })
    ));
    assert!(matches!(
        issue("spiffe://cluster.local"),
        Err(IssueError::RootPath { .. })
    ));
}

#[test]
fn nothing_but_the_public_key_is_taken_from_a_request() {
    let authority = authority();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "root");
    params.subject_alt_names = vec![SanType::URI(
        "spiffe://cluster.local/signet/ca".try_into().unwrap(),
    )];
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let greedy = params.serialize_request(&key).unwrap();
    let requested = RequestedKey::from_request(greedy.der()).unwrap();
    let svid = authority
        .issue(&requested, &web(), HOUR, Serial::from_random([1; 16]), at(NOW))
        .unwrap();
    let leaf = parse(&svid.chain[0]);
    assert_eq!(names(&leaf).1, [web().to_string()]);
    assert!(leaf.subject().iter_rdn().next().is_none() && !leaf.is_ca());
    assert_eq!(leaf.key_usage().unwrap().unwrap().value.flags, 1);
    assert_eq!(
        leaf.public_key().subject_public_key.data.as_ref(),
        key.public_key_raw()
    );
}

#[test]
fn a_request_must_be_signed_by_its_own_key() {
    let key = KeyPair::generate().unwrap();
    let good = request(&key);
    assert!(RequestedKey::from_request(&good).is_ok());
    let mut other_key = good.clone();
    let position = good
        .windows(65)
        .position(|window| window == key.public_key_raw())
        .unwrap();
    other_key[position..position + 65].copy_from_slice(KeyPair::generate().unwrap().public_key_raw());
    assert_eq!(
        RequestedKey::from_request(&other_key).unwrap_err(),
        RequestError::Signature
    );
    let (_, parsed) = X509CertificationRequest::from_der(&good).unwrap();
    let signed = parsed.certification_request_info.raw;
    let start = good
        .windows(signed.len())
        .position(|window| window == signed)
        .unwrap();
    for position in start..start + signed.len() {
        let mut changed = good.clone();
        changed[position] ^= 0x80;
        assert!(
            RequestedKey::from_request(&changed).is_err(),
            "byte {position} does not matter"
        );
    }
}

#[test]
fn a_request_is_one_bounded_der_value() {
    let good = request(&KeyPair::generate().unwrap());
    let trailing = [good.as_slice(), &[0]].concat();
    for bad in [
        &[] as &[u8],
        &good[..good.len() - 1],
        &trailing,
        b"-----BEGIN CERTIFICATE REQUEST-----",
    ] {
        assert_eq!(
            RequestedKey::from_request(bad).unwrap_err(),
            RequestError::Malformed
        );
    }
    let bytes = MAX_REQUEST_BYTES + 1;
    assert_eq!(
        RequestedKey::from_request(&vec![0x30; bytes]).unwrap_err(),
        RequestError::TooLong { bytes }
    );
}

#[test]
fn only_keys_on_p256_and_p384_are_certified() {
    let ask = |algorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        RequestedKey::from_request(&request(&key)).map(drop)
    };
    assert_eq!(ask(&rcgen::PKCS_ECDSA_P256_SHA256), Ok(()));
    assert_eq!(ask(&rcgen::PKCS_ECDSA_P384_SHA384), Ok(()));
    assert_eq!(ask(&rcgen::PKCS_ED25519), Err(RequestError::KeyType));
    assert_eq!(ask(&rcgen::PKCS_ECDSA_P521_SHA512), Err(RequestError::KeyType));
}

#[test]
fn an_authority_is_restored_only_with_its_own_key_and_trust_domain() {
    let authority = authority();
    let root = authority.bundle().authorities()[0].clone();
    let other_key = SigningKey::generate().unwrap();
    let mismatch = Authority::restore(domain(), vec![root.clone()], other_key);
    assert!(matches!(mismatch, Err(AuthorityError::KeyMismatch)));
    let other = TrustDomain::parse("other").unwrap();
    let foreign = Authority::restore(other, vec![root], SigningKey::generate().unwrap());
    assert!(matches!(foreign, Err(AuthorityError::Root(_))));
    let nothing = Authority::restore(domain(), vec![], SigningKey::generate().unwrap());
    assert!(matches!(nothing, Err(AuthorityError::KeyMismatch)));
}

#[test]
fn debug_output_has_no_key() {
    let text = format!("{:?}", authority());
    assert!(
        text.starts_with("Authority {") && !text.contains("key:"),
        "{text}"
    );
}

#[test]
fn the_revocation_list_is_signed_by_the_root_and_refuses_what_it_names_in_an_outsider_s_eyes() {
    let authority = authority();
    let serial = |byte| Serial::from_random([byte; 16]);
    let svid = |byte| {
        let issued = authority.issue(&requested(), &web(), HOUR, serial(byte), at(NOW));
        issued.unwrap().chain.remove(0)
    };
    // The first bit of one serial is set, of the other not.
    let named = [0xee_u8, 0x11].map(|byte| RevokedSerial {
        serial: serial(byte).as_bytes().to_vec(),
        at: at(NOW),
        reason: "key-compromise".to_owned(),
    });
    let list = authority.revocation_list(&named, 7, at(NOW), HOUR).unwrap();
    let parsed = webpki::BorrowedCertRevocationList::from_der(&list.der).unwrap();
    let parsed = webpki::CertRevocationList::from(parsed);
    let lists = [&parsed];
    let options = webpki::RevocationOptionsBuilder::new(&lists)
        .unwrap()
        .with_depth(webpki::RevocationCheckDepth::Chain)
        .build();
    let root = rustls_pki_types::CertificateDer::from(authority.certificate());
    let anchors = [webpki::anchor_from_trusted_cert(&root).unwrap()];
    let judge = |leaf: &rustls_pki_types::CertificateDer<'_>, now| {
        let leaf = webpki::EndEntityCert::try_from(leaf).unwrap();
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &[],
            at(now),
            webpki::KeyUsage::server_auth(),
            Some(options),
            None,
        )
        .map(|_| ())
    };
    for byte in [0xee, 0x11] {
        assert_eq!(
            judge(&svid(byte), NOW),
            Err(webpki::Error::CertRevoked),
            "{byte:x}"
        );
    }
    assert_eq!(judge(&svid(0xef), NOW), Ok(()));
    let empty = authority.revocation_list(&[], 8, at(NOW), HOUR).unwrap();
    assert!(webpki::BorrowedCertRevocationList::from_der(&empty.der).is_ok());
    assert!(
        authority
            .revocation_list(&[], 9, authority.not_after(), HOUR)
            .is_err()
    );
}

#[test]
fn a_certificate_after_a_revocation_begins_after_what_it_revokes() {
    let authority = authority();
    let issue = |floor, now| {
        let serial = Serial::from_random([9; 16]);
        authority.issue_after(&requested(), &web(), HOUR, serial, at(now), floor)
    };
    let cut = authority.begins(at(NOW));
    assert_eq!(issue(None, NOW).unwrap().not_before, cut);
    let after = issue(Some(cut), NOW).unwrap();
    assert_eq!(after.not_before.as_secs(), cut.as_secs() + 1);
    assert!(matches!(issue(Some(at(NOW)), NOW), Err(IssueError::NotYet)));
    assert_eq!(issue(Some(at(NOW)), NOW + 1).unwrap().not_before, at(NOW + 1));
}

fn request_for(kind: KeyType) -> Vec<u8> {
    let algorithm = match kind {
        KeyType::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyType::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyType::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
        KeyType::Ed25519 => &rcgen::PKCS_ED25519,
    };
    request(&KeyPair::generate_for(algorithm).unwrap())
}

#[test]
fn a_registration_that_says_a_kind_of_key_gets_a_certificate_for_that_kind_and_no_other() {
    let authority = authority();
    for kind in KeyType::ALL {
        let request = request_for(kind);
        for wanted in KeyType::ALL.into_iter().filter(|other| *other != kind) {
            let refused = RequestedKey::of_kind(&request, wanted).unwrap_err();
            assert_eq!(refused, RequestError::OtherKeyType { wanted });
        }
        let key = RequestedKey::of_kind(&request, kind).unwrap();
        let serial = Serial::from_random([3; 16]);
        let svid = authority.issue(&key, &web(), HOUR, serial, at(NOW)).unwrap();
        let bundles = BundleSet::single(authority.bundle().clone());
        assert_eq!(
            verify_x509_svid(&svid.chain, &bundles, at(NOW)).unwrap().id(),
            &web(),
            "{kind}"
        );
    }
    let mut forged = request_for(KeyType::Rsa2048);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(
        RequestedKey::of_kind(&forged, KeyType::Rsa2048).unwrap_err(),
        RequestError::Signature
    );
    let big = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_3072).unwrap();
    assert_eq!(
        RequestedKey::of_kind(&request(&big), KeyType::Rsa2048).unwrap_err(),
        RequestError::OtherKeyType {
            wanted: KeyType::Rsa2048
        }
    );
}

#[test]
fn spiffe_rows_09_11_dns_names_stand_beside_the_one_uri_and_change_nothing_else() {
    let authority = authority();
    let dns = ["web.shop.example", "web"].map(|name| DnsName::parse(name).unwrap());
    let contents = LeafContents {
        id: &web(),
        dns_names: &dns,
    };
    let serial = Serial::from_random([4; 16]);
    let svid = authority
        .issue(&requested(), contents, HOUR, serial, at(NOW))
        .unwrap();
    let leaf = parse(&svid.chain[0]);
    let san = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(san.critical && leaf.subject().iter_rdn().next().is_none());
    assert_eq!(
        san.value.general_names,
        [
            GeneralName::URI(web().as_str()),
            GeneralName::DNSName("web.shop.example"),
            GeneralName::DNSName("web"),
        ]
    );
    let bundles = BundleSet::single(authority.bundle().clone());
    assert_eq!(
        verify_x509_svid(&svid.chain, &bundles, at(NOW)).unwrap().id(),
        &web()
    );
}
