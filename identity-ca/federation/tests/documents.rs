//! Which of two documents counts, and for whom.

#![expect(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use signet_federation::{Document, DocumentError, SequenceError, Verdict, judge};
use signet_spiffe::{JwtBundle, SpiffeBundle, TrustDomain, WitBundle, X509Bundle};

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

fn authority(name: &str) -> X509Bundle {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{name}").try_into().unwrap())];
    let root = params.self_signed(&key).unwrap().der().clone();
    X509Bundle::new(domain(name), vec![root]).unwrap()
}

fn text(x509: &X509Bundle, sequence: Option<u64>) -> String {
    let bundle = SpiffeBundle {
        x509: Some(x509.clone()),
        jwt: JwtBundle::empty(x509.trust_domain().clone()),
        wit: WitBundle::empty(x509.trust_domain().clone()),
        sequence,
        refresh_hint: None,
    };
    bundle.to_jwks().unwrap()
}

fn read(x509: &X509Bundle, sequence: Option<u64>) -> Document {
    Document::read(x509.trust_domain(), text(x509, sequence).as_bytes()).unwrap()
}

#[test]
fn spiffe_row_63_an_older_document_never_takes_the_place_of_a_newer_one() {
    let (old, new) = (authority("b.example"), authority("b.example"));
    let stored = read(&old, Some(7));
    assert_eq!(judge(None, &stored), Ok(Verdict::New));
    assert_eq!(judge(Some(&stored), &read(&old, Some(7))), Ok(Verdict::Same));
    assert_eq!(judge(Some(&stored), &read(&new, Some(8))), Ok(Verdict::New));
    assert_eq!(
        judge(Some(&stored), &read(&new, Some(6))),
        Err(SequenceError::Older {
            stored: 7,
            fetched: 6
        })
    );
    assert_eq!(
        judge(Some(&stored), &read(&new, None)),
        Err(SequenceError::None { stored: 7 })
    );
    let huge = read(&old, Some(u64::MAX));
    assert!(judge(Some(&huge), &stored).is_err());
}

#[test]
fn without_a_sequence_the_latest_counts() {
    let (old, new) = (authority("b.example"), authority("b.example"));
    assert_eq!(
        judge(Some(&read(&old, None)), &read(&new, None)),
        Ok(Verdict::New)
    );
    assert_eq!(
        judge(Some(&read(&old, None)), &read(&new, Some(1))),
        Ok(Verdict::New)
    );
    assert_eq!(
        judge(Some(&read(&old, Some(1))), &read(&new, Some(1))),
        Ok(Verdict::New)
    );
}

#[test]
fn spiffe_row_70_a_document_is_of_the_trust_domain_that_it_was_fetched_for_and_no_other() {
    let ours = authority("b.example");
    let named = text(&ours, Some(1)).replacen('{', "{\"trust_domain\":\"a.example\",", 1);
    let document = Document::read(&domain("b.example"), named.as_bytes()).unwrap();
    assert_eq!(document.trust_domain(), &domain("b.example"));
    assert_eq!(
        document.bundle().x509.as_ref().unwrap().trust_domain(),
        &domain("b.example")
    );
    assert_eq!(document.text(), named);
    // The authority says whose it is, so nobody else can publish it as theirs.
    let other = Document::read(&domain("c.example"), text(&ours, Some(1)).as_bytes());
    assert!(matches!(other, Err(DocumentError::Bundle { .. })));
}

#[test]
fn what_is_too_long_or_no_text_is_not_read() {
    let ours = authority("b.example");
    let mut long = text(&ours, Some(1)).into_bytes();
    long.resize(signet_spiffe::MAX_JWKS_BYTES, b' ');
    assert!(Document::read(&domain("b.example"), &long).is_ok());
    long.push(b' ');
    let refused = Document::read(&domain("b.example"), &long);
    assert!(matches!(refused, Err(DocumentError::TooLong)));
    let refused = Document::read(&domain("b.example"), b"{\"keys\":[],\"x\":\"\xff\"}");
    assert!(matches!(refused, Err(DocumentError::Text)));
    for bad in ["", "[]", "{}", "{\"keys\":1}"] {
        let refused = Document::read(&domain("b.example"), bad.as_bytes());
        assert!(matches!(refused, Err(DocumentError::Bundle { .. })), "{bad}");
    }
    let none = Document::read(&domain("b.example"), b"{\"keys\":[]}").unwrap();
    assert_eq!(
        none.bundle().x509,
        None,
        "nothing is to be trusted then, which is a bundle too"
    );
}
