//! Authorities below others: what is asked for, what is given, and what is refused.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot make its certificate has failed"
)]

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SubjectPublicKeyInfo,
};
use signet_authority::{
    Authority, AuthorityError, ChainError, IssueError, MAX_CHAIN, RequestError, RequestedKey, Serial,
    SigningKey, chain_from_pem, request_authority,
};
use signet_keys::{KeyKind, KeyManager as _, MemoryKeys};
use signet_spiffe::{BundleSet, CertificateDer, SpiffeId, TrustDomain, UnixTime, verify_x509_svid};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer as _, ParsedExtension, X509Certificate};

const HOUR: Duration = Duration::from_hours(1);
const LEAST: Duration = Duration::from_mins(10);

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

fn serial(number: u8) -> Serial {
    Serial::from_random([number; 16])
}

/// A root of the trust domain `td`.
fn root() -> Authority {
    let key = SigningKey::generate().unwrap();
    Authority::create(domain("td"), key, serial(1), UnixTime::now(), 10 * HOUR).unwrap()
}

/// The same key twice: as it asks, and as it signs later.
fn twice(kind: KeyKind) -> (SigningKey, SigningKey) {
    let keys = MemoryKeys::default();
    let (record, signer) = keys.generate(kind).unwrap();
    let again = keys.open(&record).unwrap();
    (SigningKey::new(signer).unwrap(), SigningKey::new(again).unwrap())
}

fn certified(chain: Vec<CertificateDer<'static>>, key: SigningKey) -> Result<Authority, ChainError> {
    Authority::certified(domain("td"), chain, key, serial(9), UnixTime::now(), LEAST)
}

#[test]
fn a_request_says_what_the_certificate_should_be() {
    let key = SigningKey::generate().unwrap();
    let request = request_authority(&key, &domain("td")).unwrap();
    let (_, parsed) = X509CertificationRequest::from_der(&request.der).unwrap();
    let extensions: Vec<_> = parsed.requested_extensions().unwrap().cloned().collect();
    let text = format!("{extensions:?}");
    assert!(
        text.contains("spiffe://td") && text.contains("ca: true"),
        "{text}"
    );
    let signs = extensions.iter().any(
        |one| matches!(one, ParsedExtension::KeyUsage(usage) if usage.key_cert_sign() && usage.crl_sign()),
    );
    assert!(signs);
    assert!(request.pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
}

#[test]
fn what_an_intermediate_signs_verifies_under_the_root_and_nothing_is_below_it_but_leaves() {
    let root = root();
    for kind in [KeyKind::P256, KeyKind::P384] {
        let (asks, signs) = twice(kind);
        let request = request_authority(&asks, &domain("td")).unwrap();
        let requested = RequestedKey::from_request(&request.der).unwrap();
        let now = UnixTime::now();
        let chain = root.issue_authority(&requested, HOUR, serial(2), now).unwrap();
        let (_, own) = X509Certificate::from_der(&chain[0]).unwrap();
        let constraints = own.basic_constraints().unwrap().unwrap().value;
        assert!(constraints.ca && constraints.path_len_constraint == Some(0));
        assert!(own.key_usage().unwrap().unwrap().critical);
        let intermediate = certified(chain, signs).unwrap();
        let id = SpiffeId::parse("spiffe://td/web").unwrap();
        let leaf = intermediate.issue(&requested, &id, HOUR, serial(3), now).unwrap();
        assert_eq!(
            leaf.chain.len(),
            2,
            "the intermediate goes with it, the root does not"
        );
        let bundles = BundleSet::single(root.bundle().clone());
        assert_eq!(*verify_x509_svid(&leaf.chain, &bundles, now).unwrap().id(), id);
        // One below it would have no use.
        let (asks, signs) = twice(KeyKind::P256);
        let below = request_authority(&asks, &domain("td")).unwrap();
        let below = RequestedKey::from_request(&below.der).unwrap();
        let chain = intermediate
            .issue_authority(&below, HOUR, serial(4), now)
            .unwrap();
        assert!(matches!(
            certified(chain, signs),
            Err(ChainError::PathLength { .. })
        ));
    }
}

#[test]
fn an_intermediate_ends_with_its_root_and_one_that_ends_soon_is_refused() {
    let root = root();
    let (asks, signs) = twice(KeyKind::P256);
    let request = request_authority(&asks, &domain("td")).unwrap();
    let requested = RequestedKey::from_request(&request.der).unwrap();
    let now = UnixTime::now();
    let chain = root
        .issue_authority(&requested, 1000 * HOUR, serial(2), now)
        .unwrap();
    assert_eq!(certified(chain, signs).unwrap().not_after(), root.not_after());
    for life in [LEAST / 2, Duration::from_secs(1)] {
        let (asks, signs) = twice(KeyKind::P256);
        let request = request_authority(&asks, &domain("td")).unwrap();
        let requested = RequestedKey::from_request(&request.der).unwrap();
        let chain = root.issue_authority(&requested, life, serial(2), now).unwrap();
        let refused = certified(chain, signs).unwrap_err();
        assert!(
            matches!(refused, ChainError::TooShort { least: 600, .. }),
            "{refused}"
        );
    }
}

/// What somebody else's CA makes: a root, and a certificate for the key, each with what the test changes.
fn foreign(
    key: &SigningKey,
    change_root: impl FnOnce(&mut CertificateParams),
    change: impl FnOnce(&mut CertificateParams),
) -> Vec<CertificateDer<'static>> {
    let request = request_authority(key, &domain("td")).unwrap();
    let (_, parsed) = X509CertificationRequest::from_der(&request.der).unwrap();
    let public = SubjectPublicKeyInfo::from_der(parsed.certification_request_info.subject_pki.raw).unwrap();
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.use_authority_key_identifier_extension = true;
        params
    };
    let root_key = KeyPair::generate().unwrap();
    let mut root = authority("Corporate Root");
    change_root(&mut root);
    let mut params = authority("Signet for td");
    params.subject_alt_names = vec![SanType::URI("spiffe://td".try_into().unwrap())];
    change(&mut params);
    let root_certificate = root.self_signed(&root_key).unwrap();
    let issuer = Issuer::new(root, root_key);
    let own = params.signed_by(&public, &issuer).unwrap();
    vec![own.der().clone(), root_certificate.der().clone()]
}

fn uri(text: &str) -> Vec<SanType> {
    vec![SanType::URI(text.try_into().unwrap())]
}

#[test]
fn another_ca_s_chain_is_taken_if_what_it_signs_will_verify() {
    let (asks, signs) = twice(KeyKind::P256);
    // Its root says nothing of SPIFFE, as corporate roots do.
    certified(foreign(&asks, |_| {}, |_| {}), signs).unwrap();
}

#[test]
fn chains_that_break_a_rule_are_refused_with_the_rule() {
    let refusal = |change_root: fn(&mut CertificateParams), change: fn(&mut CertificateParams)| {
        let (asks, signs) = twice(KeyKind::P256);
        certified(foreign(&asks, change_root, change), signs).unwrap_err()
    };
    let wrong_domain = refusal(|_| {}, |own| own.subject_alt_names = uri("spiffe://other"));
    assert!(matches!(wrong_domain, ChainError::Refused(_)), "{wrong_domain}");
    let root_of_another = refusal(|root| root.subject_alt_names = uri("spiffe://other"), |_| {});
    assert!(
        matches!(root_of_another, ChainError::Authority(AuthorityError::Root(_))),
        "{root_of_another}"
    );
    let path = refusal(|_| {}, |own| own.subject_alt_names = uri("spiffe://td/ca"));
    assert!(matches!(path, ChainError::Refused(_)), "{path}");
    let no_room = refusal(
        |root| root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)),
        |_| {},
    );
    assert!(
        matches!(
            no_room,
            ChainError::PathLength {
                allowed: 0,
                below: 1,
                ..
            }
        ),
        "{no_room}"
    );
    let no_ca = refusal(|_| {}, |own| own.is_ca = IsCa::ExplicitNoCa);
    assert!(matches!(no_ca, ChainError::Refused(_)), "{no_ca}");
    let cannot_sign = refusal(
        |_| {},
        |own| own.key_usages = vec![KeyUsagePurpose::DigitalSignature],
    );
    assert!(matches!(cannot_sign, ChainError::Refused(_)), "{cannot_sign}");
}

/// Why intermediates of ours have none: RFC 5280 §4.2.1.10 has constraints on URIs, and the verifier of every Rust client refuses all that is
/// below one. Were this not so any more, nested CAs' intermediates should have it.
#[test]
fn a_constraint_on_uris_makes_what_is_below_unusable() {
    let id_ce_name_constraints = [2, 5, 29, 30];
    let permitted = vec![0x30, 8, 0xa0, 6, 0x30, 4, 0x86, 2, b't', b'd'];
    let (asks, signs) = twice(KeyKind::P256);
    let chain = foreign(
        &asks,
        |_| {},
        |own| {
            let mut constraint = CustomExtension::from_oid_content(&id_ce_name_constraints, permitted);
            constraint.set_criticality(true);
            own.custom_extensions.push(constraint);
        },
    );
    let constrained = certified(chain, signs).unwrap_err();
    assert!(matches!(constrained, ChainError::Refused(_)), "{constrained}");
}

#[test]
fn a_request_of_a_ca_below_asks_for_nothing_that_it_does_not_get() {
    let own = request_authority(&SigningKey::generate().unwrap(), &domain("td")).unwrap();
    let _ = RequestedKey::from_downstream_request(&own.der, &domain("td")).unwrap();
    let other = RequestedKey::from_downstream_request(&own.der, &domain("other")).unwrap_err();
    assert!(matches!(other, RequestError::Wants { .. }), "{other}");
    let root = root();
    assert!(root.has_room_below());
    let key = RequestedKey::from_authority_request(&own.der).unwrap();
    let floor = UnixTime::now();
    let early = root
        .issue_authority_after(&key, HOUR, serial(3), floor, Some(floor))
        .unwrap_err();
    assert!(matches!(early, IssueError::NotYet), "{early}");
    let issued = root
        .issue_authority_after(&key, 100 * HOUR, serial(3), UnixTime::now(), None)
        .unwrap();
    assert_eq!(issued.not_after, root.not_after(), "no longer than its root");
}

#[test]
fn a_chain_of_another_key_order_or_root_is_refused() {
    let (asks, _) = twice(KeyKind::P256);
    let chain = foreign(&asks, |_| {}, |_| {});
    let other = certified(chain.clone(), SigningKey::generate().unwrap()).unwrap_err();
    assert!(matches!(other, ChainError::OtherKey), "{other}");
    let (_, key) = twice(KeyKind::P256);
    let none = certified(Vec::new(), key).unwrap_err();
    assert!(matches!(none, ChainError::Length { count: 0 }));
    let (_, key) = twice(KeyKind::P256);
    let long = certified(vec![chain[1].clone(); MAX_CHAIN + 1], key).unwrap_err();
    assert!(matches!(long, ChainError::Length { .. }));
    let (_, key) = twice(KeyKind::P256);
    let no_root = certified(vec![chain[0].clone()], key).unwrap_err();
    assert!(matches!(no_root, ChainError::NoRoot), "{no_root}");
    // The right names, another root's key.
    let (asks, signs) = twice(KeyKind::P256);
    let (one, two) = (foreign(&asks, |_| {}, |_| {}), foreign(&asks, |_| {}, |_| {}));
    let forged = certified(vec![one[0].clone(), two[1].clone()], signs).unwrap_err();
    assert!(matches!(forged, ChainError::Refused(_)), "{forged}");
}

#[test]
fn a_chain_is_read_from_pem_among_remarks_and_bounded() {
    let root = root();
    let pem = root.bundle().to_pem();
    let remarks = format!("subject=CN = x\n{pem}\nissuer=y\n{pem}");
    assert_eq!(chain_from_pem(&remarks).unwrap().len(), 2);
    assert_eq!(chain_from_pem("").unwrap().len(), 0);
    assert!(chain_from_pem("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n").is_err());
    assert!(chain_from_pem(&pem.repeat(1000)).is_err());
}
