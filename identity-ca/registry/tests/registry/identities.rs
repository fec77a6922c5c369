use signet_registry::{
    DeregisterError, FIRST_IDENTITY, NewRegistration, QUARANTINE, RegisterError, RegistrationId, SvidTerms,
};
use signet_spiffe::SpiffeId;

use crate::desk::{Desk, NOW, at, id, node, now, token};

#[tokio::test]
async fn a_spiffe_id_has_one_number_wherever_it_is_registered() {
    let desk = Desk::with_two_nodes().await;
    let web = desk.register(1, "web", "n1").await.unwrap();
    let api = desk.register(2, "api", "n1").await.unwrap();
    let web_too = desk.register(3, "web", "n2").await.unwrap();
    assert_eq!(
        (web.identity, api.identity, web_too.identity),
        (FIRST_IDENTITY, FIRST_IDENTITY + 1, FIRST_IDENTITY)
    );
    let identities = desk.registry.identities().await.unwrap();
    assert_eq!(
        identities.iter().map(|i| i.number).collect::<Vec<_>>(),
        [256, 257]
    );
    assert_eq!(desk.registry.registrations().await.unwrap(), [api, web, web_too]);
    assert_eq!(desk.registry.count_registrations().await.unwrap(), 3);
}

#[tokio::test]
async fn a_number_goes_to_another_id_only_a_day_after_its_release() {
    let desk = Desk::with_two_nodes().await;
    let web = desk.register(1, "web", "n1").await.unwrap();
    desk.registry.deregister(web.id, now()).await.unwrap();
    assert!(desk.registry.identities().await.unwrap().is_empty());
    let day = NOW + QUARANTINE.as_secs();
    let early = desk.register_at(2, "early", "n1", at(day - 1)).await.unwrap();
    assert_eq!(early.identity, FIRST_IDENTITY + 1);
    let late = desk.register_at(3, "late", "n1", at(day)).await.unwrap();
    assert_eq!(late.identity, FIRST_IDENTITY);
}

#[tokio::test]
async fn an_id_that_comes_back_gets_its_number_back() {
    let desk = Desk::with_two_nodes().await;
    desk.register(1, "first", "n1").await.unwrap();
    let web = desk.register(2, "web", "n1").await.unwrap();
    desk.registry.deregister(web.id, now()).await.unwrap();
    let again = desk.register(3, "web", "n2").await.unwrap();
    assert_eq!(again.identity, web.identity);
}

#[tokio::test]
async fn a_number_is_released_with_the_last_registration_only() {
    let desk = Desk::with_two_nodes().await;
    let one = desk.register(1, "web", "n1").await.unwrap();
    let two = desk.register(2, "web", "n2").await.unwrap();
    desk.registry.deregister(one.id, now()).await.unwrap();
    assert_eq!(desk.registry.identities().await.unwrap().len(), 1);
    desk.registry.deregister(two.id, now()).await.unwrap();
    assert!(desk.registry.identities().await.unwrap().is_empty());
    let gone = desk.registry.deregister(two.id, now()).await.unwrap_err();
    assert!(matches!(gone, DeregisterError::Unknown(id) if id == two.id));
}

#[tokio::test]
async fn selectors_are_a_set() {
    let desk = Desk::with_two_nodes().await;
    let with = |number: u8, selectors: &[&str]| NewRegistration {
        id: RegistrationId::from_random([number; 16]),
        spiffe_id: id("web"),
        node: node("n1"),
        selectors: selectors
            .iter()
            .map(|selector| selector.parse().unwrap())
            .collect(),
        ttl: 60,
        federates_with: Vec::new(),
        terms: SvidTerms::default(),
        role: None,
    };
    let first = with(1, &["unix:uid:1", "endpoint:shop/web", "unix:uid:1"]);
    let first = desk.registry.register(&first, now()).await.unwrap();
    let texts: Vec<_> = first.selectors.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["endpoint:shop/web", "unix:uid:1"]);
    assert_eq!(first.ttl, 60);
    let same = desk
        .registry
        .register(&with(2, &["unix:uid:1", "endpoint:shop/web"]), now())
        .await
        .unwrap_err();
    assert!(
        matches!(same, RegisterError::Exists { existing } if existing == first.id),
        "{same}"
    );
    let none = desk.registry.register(&with(3, &[]), now()).await.unwrap_err();
    assert!(matches!(none, RegisterError::Selectors { count: 0 }), "{none}");
    let uids: Vec<_> = (0..17).map(|uid| format!("unix:uid:{uid}")).collect();
    let uids: Vec<_> = uids.iter().map(String::as_str).collect();
    let many = desk.registry.register(&with(3, &uids), now()).await.unwrap_err();
    assert!(matches!(many, RegisterError::Selectors { count: 17 }), "{many}");
}

#[tokio::test]
async fn signet_s_own_ids_cannot_be_registered() {
    let desk = Desk::with_two_nodes().await;
    for own in [
        "spiffe://td",
        "spiffe://td/signet",
        "spiffe://td/signet/ca",
        "spiffe://td/signet/node/n2",
    ] {
        let new = NewRegistration {
            id: RegistrationId::from_random([1; 16]),
            spiffe_id: SpiffeId::parse(own).unwrap(),
            node: node("n1"),
            selectors: vec!["unix:uid:0".parse().unwrap()],
            ttl: 0,
            federates_with: Vec::new(),
            terms: SvidTerms::default(),
            role: None,
        };
        let error = desk.registry.register(&new, now()).await.unwrap_err();
        assert!(
            matches!(error, RegisterError::Infrastructure { .. }),
            "{own}: {error}"
        );
    }
}

#[tokio::test]
async fn workloads_are_registered_on_nodes_that_are_there_or_expected() {
    let desk = Desk::new().await;
    let unknown = desk.register(1, "web", "n1").await.unwrap_err();
    assert!(matches!(unknown, RegisterError::UnknownNode(_)), "{unknown}");
    desk.registry
        .create_token(&token(1, "n1", &[]), now())
        .await
        .unwrap();
    desk.register(1, "web", "n1").await.unwrap();
}

#[tokio::test]
async fn hundreds_at_once_are_as_if_they_had_been_made_one_by_one() {
    let desk = Desk::with_two_nodes().await;
    // Two that were there yesterday: one comes back, and has its number although its time is over.
    for (number, name) in [(1, "gone"), (2, "back"), (3, "stays")] {
        let made = desk.register(number, name, "n1").await.unwrap();
        if name != "stays" {
            desk.registry.deregister(made.id, now()).await.unwrap();
        }
    }
    let day = at(NOW + QUARANTINE.as_secs());
    let new = |number: u8, place: u8, name: String, on: &str| NewRegistration {
        id: RegistrationId::from_random([number, place, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]),
        spiffe_id: id(&name),
        node: node(on),
        selectors: vec!["unix:uid:1".parse().unwrap()],
        ttl: 0,
        federates_with: Vec::new(),
        terms: SvidTerms::default(),
        role: None,
    };
    let mut all: Vec<_> = (0..150)
        .map(|number| new(1, number, format!("w{number}"), "n1"))
        .collect();
    all.extend((0..50).map(|number| new(2, number, format!("w{number}"), "n2")));
    all.extend([
        new(3, 0, "back".to_owned(), "n2"),
        new(3, 1, "stays".to_owned(), "n2"),
    ]);
    let since = desk.position(desk.registry.revision()).await;
    let done = desk.registry.register_all(&all, false, day).await.unwrap();
    assert!(done.committed);
    let made: Vec<_> = done.outcomes.into_iter().map(Result::unwrap).collect();
    for (asked, made) in all.iter().zip(&made) {
        let kept = desk.registry.registration(asked.id).await.unwrap();
        assert_eq!(kept.as_ref(), Some(made));
    }
    let ordinals: Vec<_> = made.iter().map(|made| made.ordinal).collect();
    assert!(ordinals.windows(2).all(|pair| pair[0] < pair[1]));
    let identities = desk.registry.identities().await.unwrap();
    assert_eq!(identities.len(), 152);
    let number = |name: &str| {
        let found = identities.iter().find(|one| one.spiffe_id == id(name));
        found.map(|one| one.number)
    };
    assert_eq!(
        number("w0"),
        Some(FIRST_IDENTITY),
        "that of the one that has gone"
    );
    assert_eq!(number("back"), Some(FIRST_IDENTITY + 1));
    assert_eq!(number("w1"), Some(FIRST_IDENTITY + 3));
    // All hear of it at once.
    let changes = desk
        .registry
        .changes_since(&node("n2"), since)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((changes.identities.len(), changes.registrations.len()), (152, 52));
    let places = |name: &str| {
        let found = changes.identities.iter().find(|one| one.spiffe_id == id(name));
        found.unwrap().nodes.len()
    };
    assert_eq!((places("w0"), places("w60"), places("stays")), (2, 1, 2));
}

#[tokio::test]
async fn one_that_may_run_a_ca_is_not_taken_that_by_another_one_of_the_same_call() {
    let desk = Desk::with_two_nodes().await;
    let new = |number: u8, on: &str, downstream| NewRegistration {
        id: RegistrationId::from_random([number; 16]),
        spiffe_id: id("ca"),
        node: node(on),
        selectors: vec!["unix:uid:1".parse().unwrap()],
        ttl: 0,
        federates_with: Vec::new(),
        terms: SvidTerms {
            downstream,
            ..SvidTerms::default()
        },
        role: None,
    };
    let refused = [new(1, "n1", true), new(2, "n2", false)];
    let done = desk.registry.register_all(&refused, false, now()).await.unwrap();
    assert!(!done.committed && matches!(done.outcomes[1], Err(RegisterError::Downstream { .. })));
    // Where the first one has not, it is nobody's.
    let plain = [new(1, "n1", false), new(2, "n2", true)];
    let done = desk.registry.register_all(&plain, false, now()).await.unwrap();
    assert!(done.committed);
}
