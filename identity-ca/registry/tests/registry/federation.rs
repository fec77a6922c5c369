use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use signet_federation::{Document, EndpointUrl, Profile, Relationship, Verdict};
use signet_log::{ChangeKind, Entry, Record};
use signet_registry::{
    FederateError, MAX_RELATIONSHIPS, NewRegistration, RegisterError, RegistrationId, StoreDocumentError,
    SvidTerms,
};
use signet_spiffe::{JwtBundle, SpiffeBundle, SpiffeId, TrustDomain, UnixTime, WitBundle, X509Bundle};

use crate::desk::{Desk, id, node, now};

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

fn web(name: &str) -> Relationship {
    let url = EndpointUrl::parse(&format!("https://{name}/")).unwrap();
    Relationship::new(domain(name), url, Profile::HttpsWeb { authorities: None }).unwrap()
}

fn document(name: &str, sequence: u64) -> Document {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{name}").try_into().unwrap())];
    let root = params.self_signed(&key).unwrap().der().clone();
    let bundle = SpiffeBundle {
        x509: Some(X509Bundle::new(domain(name), vec![root]).unwrap()),
        jwt: JwtBundle::empty(domain(name)),
        wit: WitBundle::empty(domain(name)),
        sequence: Some(sequence),
        refresh_hint: None,
    };
    Document::read(&domain(name), bundle.to_jwks().unwrap().as_bytes()).unwrap()
}

fn later() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(now().as_secs() + 60))
}

#[tokio::test]
async fn a_relationship_is_kept_as_it_was_made_and_there_is_one_per_trust_domain() {
    let desk = Desk::new().await;
    let endpoint = SpiffeId::parse("spiffe://c.example/signet/ca").unwrap();
    let url = EndpointUrl::parse("https://c.example:8443/bundle").unwrap();
    let spiffe = Relationship::new(domain("c.example"), url, Profile::HttpsSpiffe { endpoint }).unwrap();
    let first = document("c.example", 4);
    let made = desk
        .registry
        .federate(&spiffe, Some(&first), now())
        .await
        .unwrap();
    desk.registry
        .federate(&web("b.example"), None, now())
        .await
        .unwrap();
    assert_eq!(made.document.as_ref(), Some(&first));
    assert_eq!(made.fetched_at, Some(now()));
    assert_eq!(
        desk.registry.federated(&domain("c.example")).await.unwrap(),
        Some(made.clone())
    );
    assert_eq!(
        desk.registry.relationships().await.unwrap(),
        [web("b.example"), spiffe.clone()]
    );
    let again = desk.registry.federate(&web("c.example"), None, now()).await;
    assert!(matches!(again, Err(FederateError::Exists(_))));
    let gone = desk.registry.defederate(&domain("c.example")).await.unwrap();
    assert_eq!(gone, Some(made));
    assert_eq!(
        desk.registry.defederate(&domain("c.example")).await.unwrap(),
        None
    );
    assert_eq!(desk.registry.all_federated().await.unwrap().len(), 1);
}

#[tokio::test]
async fn spiffe_row_63_of_two_cas_that_ask_the_newest_document_wins() {
    let desk = Desk::new().await;
    let b = web("b.example");
    desk.registry.federate(&b, None, now()).await.unwrap();
    let (old, new) = (document("b.example", 1), document("b.example", 2));
    let store = |document| desk.registry.store_document(&b, document, later());
    assert_eq!(store(&new).await.unwrap(), Verdict::New);
    assert!(matches!(store(&old).await, Err(StoreDocumentError::Sequence(_))));
    assert_eq!(store(&new).await.unwrap(), Verdict::Same);
    let kept = desk
        .registry
        .federated(&domain("b.example"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.document, Some(new));
    assert_eq!((kept.fetched_at, kept.tried_at), (Some(later()), Some(later())));
}

#[tokio::test]
async fn a_document_that_was_fetched_for_a_relationship_that_has_gone_is_not_kept() {
    let desk = Desk::new().await;
    let (b, new) = (web("b.example"), document("b.example", 1));
    desk.registry.federate(&b, None, now()).await.unwrap();
    desk.registry.defederate(&domain("b.example")).await.unwrap();
    let refused = desk.registry.store_document(&b, &new, now()).await;
    assert!(matches!(refused, Err(StoreDocumentError::Gone(_))));
    let url = EndpointUrl::parse("https://elsewhere.example/").unwrap();
    let other = Relationship::new(domain("b.example"), url, b.profile().clone()).unwrap();
    desk.registry.federate(&other, None, now()).await.unwrap();
    let refused = desk.registry.store_document(&b, &new, now()).await;
    assert!(matches!(refused, Err(StoreDocumentError::Gone(_))));
    desk.registry.note_failure(&b, "late", now()).await.unwrap();
    let kept = desk
        .registry
        .federated(&domain("b.example"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((kept.document, kept.failure.as_str()), (None, ""));
}

#[tokio::test]
async fn a_failure_is_told_until_there_is_a_success_and_takes_nothing_away() {
    let desk = Desk::new().await;
    let (b, first) = (web("b.example"), document("b.example", 1));
    desk.registry.federate(&b, Some(&first), now()).await.unwrap();
    let revision = desk.registry.revision();
    let long = "ä".repeat(600);
    desk.registry.note_failure(&b, &long, later()).await.unwrap();
    let kept = desk
        .registry
        .federated(&domain("b.example"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.document, Some(first.clone()));
    assert_eq!(kept.failure.len(), 512);
    assert_eq!((kept.fetched_at, kept.tried_at), (Some(now()), Some(later())));
    desk.registry.store_document(&b, &first, later()).await.unwrap();
    assert_eq!(
        desk.registry.revision(),
        revision,
        "nodes were told of what is no news to them"
    );
    let kept = desk
        .registry
        .federated(&domain("b.example"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.failure, "");
}

#[tokio::test]
async fn nodes_are_told_of_documents_as_they_come_and_go() {
    let desk = Desk::with_two_nodes().await;
    let n1 = node("n1");
    let (b, c) = (web("b.example"), web("c.example"));
    let since = desk.position(desk.registry.revision()).await;
    desk.registry.federate(&b, None, now()).await.unwrap();
    let first = document("c.example", 1);
    desk.registry.federate(&c, Some(&first), now()).await.unwrap();
    let news = desk.registry.changes_since(&n1, since).await.unwrap().unwrap();
    let told: Vec<_> = news
        .foreign
        .iter()
        .map(|bundle| bundle.trust_domain.as_str())
        .collect();
    assert_eq!(told, ["c.example"]);
    assert_eq!(news.foreign[0].document, first.text());
    assert_eq!(news.removed_foreign, [domain("b.example")]);
    assert!(!news.bundle, "the own bundle has not changed");

    let since = desk.position(news.revision).await;
    let second = document("b.example", 9);
    desk.registry.store_document(&b, &second, now()).await.unwrap();
    desk.registry.defederate(&domain("c.example")).await.unwrap();
    let news = desk.registry.changes_since(&n1, since).await.unwrap().unwrap();
    assert_eq!(news.foreign[0].document, second.text());
    assert_eq!(news.removed_foreign, [domain("c.example")]);
    let all = desk.registry.snapshot(&n1, since).await.unwrap();
    assert_eq!(all.foreign, news.foreign);
}

#[tokio::test]
async fn every_step_of_a_relationship_is_in_the_issuance_log() {
    let desk = Desk::new().await;
    let b = web("b.example");
    let begin = desk.registry.log_size().await.unwrap();
    desk.registry.federate(&b, None, now()).await.unwrap();
    desk.registry
        .store_document(&b, &document("b.example", 1), now())
        .await
        .unwrap();
    desk.registry.note_failure(&b, "away", now()).await.unwrap();
    desk.registry
        .store_document(&b, &document("b.example", 2), now())
        .await
        .unwrap();
    desk.registry.defederate(&domain("b.example")).await.unwrap();
    let leaves = desk.registry.log_leaves(begin, 100).await.unwrap();
    let mut before = None;
    for leaf in &leaves {
        let Record::Change(change) = Entry::decode(&leaf.leaf).unwrap().record else {
            unreachable!("nothing was issued");
        };
        assert_eq!(change.kind, ChangeKind::Federation);
        assert_eq!(change.subject, "b.example");
        assert_eq!(change.before, before, "a step is missing");
        before = change.after;
    }
    assert_eq!(leaves.len(), 4);
    assert_eq!(before, None);
}

#[tokio::test]
async fn a_registration_names_only_trust_domains_that_are_followed() {
    let desk = Desk::with_two_nodes().await;
    let new = |number: u8, names: &[&str]| NewRegistration {
        id: RegistrationId::from_random([number; 16]),
        spiffe_id: id("web"),
        node: node("n1"),
        selectors: vec![format!("unix:uid:{number}").parse().unwrap()],
        ttl: 0,
        federates_with: names.iter().map(|name| domain(name)).collect(),
        terms: SvidTerms::default(),
        role: None,
    };
    let unknown = desk.registry.register(&new(1, &["b.example"]), now()).await;
    assert!(matches!(unknown, Err(RegisterError::UnknownTrustDomain(_))));
    for name in ["b.example", "c.example"] {
        desk.registry.federate(&web(name), None, now()).await.unwrap();
    }
    let names = ["c.example", "b.example", "c.example"];
    let made = desk.registry.register(&new(1, &names), now()).await.unwrap();
    assert_eq!(made.federates_with, [domain("b.example"), domain("c.example")]);
    assert_eq!(
        desk.registry.registrations().await.unwrap(),
        std::slice::from_ref(&made)
    );
    let plain = desk.registry.register(&new(2, &[]), now()).await.unwrap();
    assert_ne!(made.digest(), plain.digest());
    let names: Vec<_> = (0..=MAX_RELATIONSHIPS)
        .map(|number| format!("d{number}"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let many = desk.registry.register(&new(3, &names), now()).await;
    assert!(matches!(many, Err(RegisterError::TrustDomains { .. })));
}

#[tokio::test]
async fn there_is_a_limit_to_relationships() {
    let desk = Desk::new().await;
    for number in 0..MAX_RELATIONSHIPS {
        let one = web(&format!("d{number}.example"));
        desk.registry.federate(&one, None, now()).await.unwrap();
    }
    let more = desk.registry.federate(&web("more.example"), None, now()).await;
    assert!(matches!(more, Err(FederateError::TooMany)));
}
