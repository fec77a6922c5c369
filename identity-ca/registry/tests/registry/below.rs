//! CAs below this one: their place, and their signing certificates.

use std::time::Duration;

use signet_registry::{
    BelowError, INSTANCE_KEPT, INSTANCE_LEFT, Intermediate, MAX_INTERMEDIATES, NewRegistration,
    NewRevocation, NodeFate, NodeNumber, RegisterError, RegistrationId, SvidTerms, Target,
};
use signet_spiffe::{KeyId, SerialNumber, SpiffeId, UnixTime};

use crate::desk::{Desk, NOW, at, id, node, now};

const HOUR: u64 = 3600;

fn key(number: u64) -> KeyId {
    KeyId::new(&number.to_be_bytes()).unwrap()
}

fn intermediate(number: u64) -> Intermediate {
    Intermediate {
        authority: key(number),
        serial: SerialNumber::new(&(number + 1).to_be_bytes()).unwrap(),
        spiffe_id: id("west"),
        node: Some(NodeNumber(1)),
        signer: key(u64::MAX),
        not_before: now(),
        not_after: at(NOW + HOUR),
    }
}

fn registration(number: u8, spiffe_id: SpiffeId, downstream: bool) -> NewRegistration {
    NewRegistration {
        id: RegistrationId::from_random([number; 16]),
        spiffe_id,
        node: node("n1"),
        selectors: vec![format!("unix:uid:{number}").parse().unwrap()],
        ttl: 0,
        federates_with: Vec::new(),
        terms: SvidTerms {
            downstream,
            ..SvidTerms::default()
        },
        role: None,
    }
}

impl Desk {
    async fn with_west() -> Self {
        let desk = Self::with_two_nodes().await;
        let west = registration(1, id("west"), true);
        desk.registry.register(&west, now()).await.unwrap();
        desk
    }

    async fn permit(&self, number: u64, now: UnixTime) -> Result<(), BelowError> {
        let new = Intermediate {
            not_after: UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs() + HOUR)),
            ..intermediate(number)
        };
        self.registry.permit_intermediate(&new, now).await
    }

    async fn revoke_for_good(&self, target: Target) {
        let new = NewRevocation {
            target,
            cut: now(),
            until: at(NOW + 24 * HOUR),
            reason: "stolen".to_owned(),
            asker: "uid:0".to_owned(),
            closed: true,
        };
        self.registry
            .revoke(&new, NodeFate::Stays, now(), false)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn of_the_intermediates_of_one_ca_only_those_count_that_harm_somebody() {
    let desk = Desk::with_west().await;
    let most = u64::try_from(MAX_INTERMEDIATES).unwrap();
    for number in 0..most {
        desk.permit(number, now()).await.unwrap();
    }
    let full = desk.permit(most, now()).await.unwrap_err();
    assert!(matches!(full, BelowError::TooMany { .. }), "{full}");
    // Who did not receive the answer asks for the same key again.
    desk.permit(3, now()).await.unwrap();
    desk.revoke_for_good(Target::Authority(key(7))).await;
    desk.permit(most, now()).await.unwrap();
    let full = desk.permit(most + 1, now()).await.unwrap_err();
    assert!(matches!(full, BelowError::TooMany { .. }), "{full}");
    desk.permit(most + 1, at(NOW + 2 * HOUR)).await.unwrap();
}

#[tokio::test]
async fn what_follows_from_a_revocation_for_good_ends_with_the_intermediate() {
    let desk = Desk::with_west().await;
    desk.permit(1, now()).await.unwrap();
    desk.revoke_for_good(Target::Id(id("west"))).await;
    let all = desk.registry.revocations().await.unwrap();
    let closed = |target| all.iter().find(|one| one.target == target).map(|one| one.closed);
    assert_eq!(closed(Target::Id(id("west"))), Some(true));
    assert_eq!(closed(Target::Authority(key(1))), Some(false));
}

#[tokio::test]
async fn who_runs_a_ca_is_not_registered_without_the_permission_by_mistake() {
    let desk = Desk::with_west().await;
    desk.permit(1, now()).await.unwrap();
    let without = registration(2, id("west"), false);
    let refused = desk.registry.register(&without, now()).await.unwrap_err();
    assert!(matches!(refused, RegisterError::Downstream { .. }));
    let text = refused.to_string();
    assert!(
        text.contains("--downstream") && text.contains("signet ca revoke"),
        "{text}"
    );
    let with = registration(3, id("west"), true);
    desk.registry.register(&with, now()).await.unwrap();
    desk.permit(2, now()).await.unwrap();
    assert!(desk.registry.revocations().await.unwrap().is_empty());
    // The other way about nothing is taken from anybody.
    let web = registration(4, id("web"), false);
    desk.registry.register(&web, now()).await.unwrap();
    let web = registration(5, id("web"), true);
    desk.registry.register(&web, now()).await.unwrap();
}

#[tokio::test]
async fn of_two_cas_with_one_spiffe_id_the_one_that_is_there_stays() {
    let desk = Desk::with_west().await;
    let west = id("west");
    let see = async |name: &str, seconds| desk.registry.see_instance(&west, name, at(seconds)).await;
    see("a", NOW).await.unwrap();
    see("", NOW).await.unwrap();
    let other = see("b", NOW + 7).await.unwrap_err();
    assert!(matches!(other, BelowError::Other { ago: 7, .. }));
    let text = other.to_string();
    assert!(
        text.contains("database of its own") && text.contains("--downstream"),
        "{text}"
    );
    desk.registry
        .check_instance(&west, "b", at(NOW))
        .await
        .unwrap_err();
    desk.registry.check_instance(&west, "a", at(NOW)).await.unwrap();
    see("a", NOW + 60).await.unwrap();
    // Somebody else's word does not take its place away.
    desk.registry.leave_instance(&west, "b", at(NOW)).await.unwrap();
    see("b", NOW + 59 + INSTANCE_KEPT.as_secs()).await.unwrap_err();
    see("b", NOW + 60 + INSTANCE_KEPT.as_secs()).await.unwrap();
    see("a", NOW + 61 + INSTANCE_KEPT.as_secs()).await.unwrap_err();
    for bad in ["a b", &"a".repeat(65)] {
        let refused = see(bad, NOW).await.unwrap_err();
        assert!(matches!(refused, BelowError::Instance), "{refused}");
    }
    // A registry has one name for ever.
    assert_eq!(desk.registry.instance("first").await.unwrap(), "first");
    assert_eq!(desk.registry.instance("second").await.unwrap(), "first");
}

#[tokio::test]
async fn a_ca_below_that_goes_keeps_its_place_until_its_other_streams_would_have_spoken() {
    let desk = Desk::with_west().await;
    let west = id("west");
    let see = async |name: &str, seconds| desk.registry.see_instance(&west, name, at(seconds)).await;
    let leave = async |seconds| {
        let left = desk.registry.leave_instance(&west, "a", at(seconds));
        left.await.unwrap();
    };
    let left = INSTANCE_LEFT.as_secs();
    see("a", NOW).await.unwrap();
    // One of two streams ends, wherever the other one is.
    leave(NOW + 1).await;
    see("b", NOW + left).await.unwrap_err();
    see("a", NOW + left).await.unwrap();
    see("b", NOW + 1 + left).await.unwrap_err();
    // Then the other one.
    leave(NOW + 1 + left).await;
    see("b", NOW + left + left).await.unwrap_err();
    see("b", NOW + 1 + left + left).await.unwrap();
    // Who goes when it has not been seen for a while does not keep its place for longer.
    let later = NOW + 1000;
    see("a", later).await.unwrap();
    leave(later + INSTANCE_KEPT.as_secs() - 1).await;
    see("b", later + INSTANCE_KEPT.as_secs()).await.unwrap();
}
