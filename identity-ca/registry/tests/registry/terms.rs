//! What registrations say of their SVIDs, changes in place, and many at once.

use signet_registry::{
    NewRegistration, Position, RegisterError, RegistrationId, RegistrationUpdate, Role, SvidTerms,
    TermsUpdate, UpdateError,
};
use signet_spiffe::{DnsName, Hint, KeyType};

use crate::desk::{Desk, id, node, now};

fn new(number: u8, service_account: &str, on: &str) -> NewRegistration {
    NewRegistration {
        id: RegistrationId::from_random([number; 16]),
        spiffe_id: id(service_account),
        node: node(on),
        selectors: vec!["unix:uid:1000".parse().unwrap()],
        ttl: 0,
        federates_with: Vec::new(),
        terms: SvidTerms::default(),
        role: None,
    }
}

fn dns(names: &[&str]) -> Vec<DnsName> {
    names.iter().map(|name| DnsName::parse(name).unwrap()).collect()
}

fn full() -> SvidTerms {
    SvidTerms {
        hint: Some(Hint::parse("für außen").unwrap()),
        dns_names: dns(&["a.example", "b.example"]),
        key_type: KeyType::Ed25519,
        jwt_ttl: 60,
        downstream: true,
    }
}

#[tokio::test]
async fn terms_are_kept_in_order_and_come_with_the_changes() {
    let desk = Desk::with_two_nodes().await;
    let given = NewRegistration {
        terms: SvidTerms {
            dns_names: dns(&["b.example", "a.example", "b.example"]),
            ..full()
        },
        role: Some(Role::Reader),
        ..new(1, "web", "n1")
    };
    let made = desk.registry.register(&given, now()).await.unwrap();
    assert_eq!((&made.terms, made.role), (&full(), Some(Role::Reader)));
    let read = desk.registry.registration(made.id).await.unwrap().unwrap();
    assert_eq!(read, made);
    let snapshot = desk
        .registry
        .snapshot(&node("n1"), Position::default())
        .await
        .unwrap();
    assert_eq!(snapshot.registrations, std::slice::from_ref(&made));
    // The log would show a change of any of it.
    let mut digests = vec![made.digest()];
    for change in [
        SvidTerms { hint: None, ..full() },
        SvidTerms {
            dns_names: dns(&["a.example"]),
            ..full()
        },
        SvidTerms {
            key_type: KeyType::P256,
            ..full()
        },
        SvidTerms { jwt_ttl: 0, ..full() },
        SvidTerms {
            downstream: false,
            ..full()
        },
    ] {
        digests.push(
            signet_registry::Registration {
                terms: change,
                ..made.clone()
            }
            .digest(),
        );
    }
    digests.push(
        signet_registry::Registration {
            role: None,
            ..made.clone()
        }
        .digest(),
    );
    let count = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), count);
    let many = (0..17).map(|number| DnsName::parse(&format!("h{number}.x")).unwrap());
    let too_many = NewRegistration {
        terms: SvidTerms {
            dns_names: many.collect(),
            ..full()
        },
        ..new(2, "other", "n1")
    };
    let refused = desk.registry.register(&too_many, now()).await.unwrap_err();
    assert!(
        matches!(refused, RegisterError::DnsNames { count: 17 }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_node_gets_its_registrations_in_the_order_in_which_they_were_made() {
    let desk = Desk::with_two_nodes().await;
    for (number, name) in [(9, "first"), (1, "second"), (5, "third")] {
        desk.register(number, name, "n1").await.unwrap();
    }
    let order = async || {
        let snapshot = desk
            .registry
            .snapshot(&node("n1"), Position::default())
            .await
            .unwrap();
        snapshot
            .registrations
            .iter()
            .map(|one| one.spiffe_id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(order().await, ["first", "second", "third"].map(id));
    // A change does not move it, and one that comes back goes to the end.
    let update = RegistrationUpdate {
        ttl: Some(60),
        ..RegistrationUpdate::default()
    };
    let first = RegistrationId::from_random([9; 16]);
    desk.registry
        .update_registration(first, update, now())
        .await
        .unwrap();
    assert_eq!(order().await, ["first", "second", "third"].map(id));
    desk.registry.deregister(first, now()).await.unwrap();
    desk.register(9, "first", "n1").await.unwrap();
    assert_eq!(order().await, ["second", "third", "first"].map(id));
}

#[tokio::test]
async fn a_change_of_one_registration_is_one_change_for_one_node() {
    let desk = Desk::with_two_nodes().await;
    for number in 1..=20 {
        desk.register(number, &format!("w{number}"), "n1").await.unwrap();
    }
    desk.register(30, "elsewhere", "n2").await.unwrap();
    let before = desk.registry.revision();
    let seen = desk.position(before).await;
    let update = RegistrationUpdate {
        terms: TermsUpdate {
            hint: Some(Some(Hint::parse("new").unwrap())),
            dns_names: Some(dns(&["w.example"])),
            ..TermsUpdate::default()
        },
        ..RegistrationUpdate::default()
    };
    let target = RegistrationId::from_random([7; 16]);
    let changed = desk
        .registry
        .update_registration(target, update.clone(), now())
        .await
        .unwrap();
    assert_eq!(changed.terms.dns_names, dns(&["w.example"]));
    assert_eq!(desk.registry.revision().0, before.0 + 1);
    let news = desk
        .registry
        .changes_since(&node("n1"), seen)
        .await
        .unwrap()
        .unwrap();
    assert!(!news.snapshot);
    assert_eq!(news.registrations, [changed]);
    assert!(news.identities.is_empty() && news.nodes.is_empty() && !news.bundle);
    let others = desk
        .registry
        .changes_since(&node("n2"), seen)
        .await
        .unwrap()
        .unwrap();
    assert!(others.registrations.is_empty());
    // The same once more is none at all.
    let revision = desk.registry.revision();
    desk.registry
        .update_registration(target, update, now())
        .await
        .unwrap();
    assert_eq!(desk.registry.revision(), revision);
}

#[tokio::test]
async fn a_change_is_refused_for_the_reasons_for_which_a_registration_is() {
    let desk = Desk::with_two_nodes().await;
    let one = desk.register(1, "web", "n1").await.unwrap();
    let other = NewRegistration {
        selectors: vec!["unix:uid:2000".parse().unwrap()],
        ..new(2, "web", "n1")
    };
    desk.registry.register(&other, now()).await.unwrap();
    let with = |selectors: &[&str]| RegistrationUpdate {
        selectors: Some(selectors.iter().map(|text| text.parse().unwrap()).collect()),
        ..RegistrationUpdate::default()
    };
    let refused = async |update| {
        desk.registry
            .update_registration(one.id, update, now())
            .await
            .unwrap_err()
    };
    assert!(matches!(
        refused(with(&[])).await,
        UpdateError::Register(RegisterError::Selectors { count: 0 })
    ));
    assert!(matches!(
        refused(with(&["unix:uid:2000"])).await,
        UpdateError::Register(RegisterError::Exists { existing }) if existing == other.id
    ));
    let foreign = RegistrationUpdate {
        federates_with: Some(vec![signet_spiffe::TrustDomain::parse("b.example").unwrap()]),
        ..RegistrationUpdate::default()
    };
    assert!(matches!(
        refused(foreign).await,
        UpdateError::Register(RegisterError::UnknownTrustDomain(_))
    ));
    assert_eq!(desk.registry.registration(one.id).await.unwrap().unwrap(), one);
    let gone = RegistrationId::from_random([77; 16]);
    let unknown = desk
        .registry
        .update_registration(gone, RegistrationUpdate::default(), now())
        .await;
    assert!(matches!(unknown, Err(UpdateError::Unknown(_))));
}

#[tokio::test]
async fn many_are_registered_all_or_not_at_all() {
    let desk = Desk::with_two_nodes().await;
    desk.register(1, "there", "n1").await.unwrap();
    let revision = desk.registry.revision();
    let good = [new(2, "there", "n1"), new(3, "a", "n1"), new(4, "b", "n2")];
    let bad = [good.to_vec(), vec![new(5, "c", "n9"), new(6, "a", "n1")]].concat();
    let result = desk.registry.register_all(&bad, false, now()).await.unwrap();
    assert!(!result.committed);
    let refused = result.outcomes.iter().map(Result::is_err).collect::<Vec<_>>();
    assert_eq!(refused, [true, false, false, true, true], "{result:?}");
    assert!(matches!(result.outcomes[3], Err(RegisterError::UnknownNode(_))));
    assert!(
        matches!(result.outcomes[4], Err(RegisterError::Exists { .. })),
        "twice in one list"
    );
    let rehearsed = desk.registry.register_all(&good, true, now()).await.unwrap();
    assert!(!rehearsed.committed && rehearsed.outcomes[1].is_ok());
    assert_eq!(desk.registry.revision(), revision, "nothing has happened");
    assert_eq!(desk.registry.count_registrations().await.unwrap(), 1);
    let made = desk.registry.register_all(&good, false, now()).await.unwrap();
    assert!(made.committed);
    assert_eq!(desk.registry.count_registrations().await.unwrap(), 3);
    // Once more: all are there.
    let again = desk.registry.register_all(&good, false, now()).await.unwrap();
    assert!(again.committed && again.outcomes.iter().all(Result::is_err));
}
