//! Bundles of other trust domains in the view: for workloads, and nothing else.

#![expect(clippy::expect_used, reason = "a test whose set-up fails has failed")]

mod support;

use signet_agent::view::ViewStore;
use signet_proto::view::v1 as wire;
use signet_spiffe::{JwtBundle, SpiffeBundle, TrustDomain, WitBundle};
use signet_tls::BundleSource as _;
use support::{Authority, Cluster, node_name};

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).expect("valid")
}

fn foreign(name: &str, document: String) -> wire::ForeignBundle {
    wire::ForeignBundle {
        trust_domain: name.to_owned(),
        document,
    }
}

fn published(authority: &Authority) -> wire::ForeignBundle {
    let bundle = SpiffeBundle {
        x509: authority.bundles().get(&authority.domain).cloned(),
        jwt: JwtBundle::empty(authority.domain.clone()),
        wit: WitBundle::empty(authority.domain.clone()),
        sequence: Some(1),
        refresh_hint: None,
    };
    foreign(authority.domain.as_str(), bundle.to_jwks().expect("a document"))
}

fn change(revision: u64) -> wire::Update {
    wire::Update {
        revision,
        ..wire::Update::default()
    }
}

fn store(own: &Authority) -> (ViewStore, wire::Update) {
    let cluster = Cluster {
        nodes: vec!["127.0.0.1:1".parse().expect("an address")],
        workloads: vec![(1, 256)],
        encryption: wire::EncryptionMode::Off,
        revision: 1,
    };
    let store = ViewStore::new(node_name(1), own.domain.clone(), own.bundles());
    (store, cluster.snapshot(own, 1))
}

#[test]
fn spiffe_row_64_a_foreign_bundle_is_beside_ours_and_vouches_for_nobody_towards_this_node() {
    let (own, b) = (Authority::new("t.example"), Authority::new("b.example"));
    let (store, mut snapshot) = store(&own);
    snapshot.foreign_bundles = vec![published(&b)];
    store.apply(snapshot).expect("applies");
    let view = store.current().expect("a view");
    let names: Vec<_> = view
        .foreign_bundles()
        .iter()
        .map(|bundle| bundle.trust_domain().as_str())
        .collect();
    assert_eq!(names, ["b.example"]);
    assert!(view.foreign_jwt_bundles().get(&domain("b.example")).is_some());
    for ours in [
        view.bundles().clone(),
        view.published_bundles().clone(),
        store.bundles(),
    ] {
        assert!(ours.get(&domain("b.example")).is_none());
        assert_eq!(ours.get(&own.domain), own.bundles().get(&own.domain));
    }
}

#[test]
fn foreign_bundles_come_change_and_go() {
    let (own, b) = (Authority::new("t.example"), Authority::new("b.example"));
    let (store, snapshot) = store(&own);
    store.apply(snapshot.clone()).expect("applies");
    let mut update = change(2);
    update.foreign_bundles = vec![published(&b)];
    store.apply(update).expect("applies");
    let mut update = change(3);
    let other = Authority::new("b.example");
    update.foreign_bundles = vec![published(&other)];
    store.apply(update).expect("applies");
    let found = store
        .current()
        .expect("a view")
        .foreign_bundles()
        .get(&b.domain)
        .cloned();
    assert_eq!(found, other.bundles().get(&b.domain).cloned());
    let mut update = change(4);
    update.removed_foreign_bundles = vec!["b.example".to_owned()];
    store.apply(update).expect("applies");
    let view = store.current().expect("a view");
    assert!(view.foreign_bundles().get(&b.domain).is_none());
    assert!(view.foreign_jwt_bundles().get(&b.domain).is_none());
    // What a snapshot lacks is gone as well.
    let mut update = change(5);
    update.foreign_bundles = vec![published(&b)];
    store.apply(update).expect("applies");
    store.apply(snapshot).expect("applies");
    assert!(
        store
            .current()
            .expect("a view")
            .foreign_bundles()
            .get(&b.domain)
            .is_none()
    );
}

#[test]
fn a_foreign_bundle_that_cannot_be_read_is_none_and_stops_nothing_else() {
    let (own, b) = (Authority::new("t.example"), Authority::new("b.example"));
    let (store, mut snapshot) = store(&own);
    snapshot.foreign_bundles = vec![published(&b)];
    store.apply(snapshot).expect("applies");
    let mut update = change(2);
    update.foreign_bundles = vec![foreign("b.example", "nonsense".to_owned())];
    store.apply(update).expect("applies");
    let view = store.current().expect("a view");
    assert_eq!(view.revision(), 2);
    assert!(
        view.foreign_bundles().get(&b.domain).is_none(),
        "the old one goes on to count"
    );
}

#[test]
fn spiffe_row_70_nobody_else_s_document_becomes_this_trust_domain_s_bundle() {
    let own = Authority::new("t.example");
    let (store, snapshot) = store(&own);
    store.apply(snapshot).expect("applies");
    let mut update = change(2);
    update.foreign_bundles = vec![published(&Authority::new("t.example"))];
    assert!(store.apply(update).is_err());
    let view = store.current().expect("a view");
    assert_eq!(
        view.published_bundles().get(&own.domain),
        own.bundles().get(&own.domain)
    );
}
