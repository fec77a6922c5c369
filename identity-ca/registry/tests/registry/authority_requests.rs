use signet_registry::MAX_AUTHORITY_REQUESTS;

use crate::desk::{Desk, NOW, at};

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
    registry.end_authority_request(&[1]).await.unwrap();
    assert_eq!(registry.authority_request(&[1]).await.unwrap(), None);
}
