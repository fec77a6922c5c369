use signet_registry::{MAX_AUTHORITY_REQUESTS, RequestedError};

use std::time::Duration;

use signet_spiffe::TrustDomain;

use crate::authorities::x509;
use crate::desk::{Desk, NOW, at, now};

#[tokio::test]
async fn keys_wait_for_their_certificates_and_the_oldest_is_given_up_for_one_too_many() {
    let registry = Desk::new().await.registry;
    let most = u8::try_from(MAX_AUTHORITY_REQUESTS).unwrap();
    for number in 0..most {
        let (record, made) = ([number, number], at(NOW + u64::from(number)));
        let given_up = registry.keep_authority_request(&[number], &record, made).await;
        assert_eq!(given_up.unwrap(), Vec::<Vec<u8>>::new());
    }
    let later = at(NOW + 100);
    let given_up = registry
        .keep_authority_request(&[most], &[most], later)
        .await
        .unwrap();
    assert_eq!(given_up, [[0, 0]]);
    assert_eq!(registry.authority_request(&[0]).await.unwrap(), None);
    assert_eq!(registry.authority_request(&[1]).await.unwrap(), Some(vec![1, 1]));
}

#[tokio::test]
async fn a_key_that_was_given_up_becomes_no_authority_and_that_of_an_authority_is_not_given_up() {
    let registry = Desk::new().await.registry;
    let domain = TrustDomain::parse("td").unwrap();
    registry.bind_trust_domain(&domain).await.unwrap();
    registry.adopt_authorities(vec![x509(1)], now()).await.unwrap();
    let never = registry
        .prepare_requested_authority(x509(2), &[0], Duration::ZERO, now())
        .await;
    assert!(matches!(never, Err(RequestedError::NotWaiting)), "{never:?}");
    registry.keep_authority_request(&[0], &[2], now()).await.unwrap();
    let prepared = registry
        .prepare_requested_authority(x509(2), &[0], Duration::ZERO, now())
        .await;
    assert_eq!(prepared.unwrap().key, Some(vec![2]));
    // It waits no more: however many follow, nobody is told to destroy it.
    let most = u8::try_from(MAX_AUTHORITY_REQUESTS).unwrap();
    for number in 1..=most {
        let given_up = registry.keep_authority_request(&[number], &[number], now()).await;
        assert_eq!(given_up.unwrap(), Vec::<Vec<u8>>::new());
    }
    let again = registry
        .prepare_requested_authority(x509(3), &[0], Duration::ZERO, now())
        .await;
    assert!(matches!(again, Err(RequestedError::NotWaiting)), "{again:?}");
}
