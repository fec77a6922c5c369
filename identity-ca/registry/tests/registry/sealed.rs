use std::collections::BTreeMap;

use signet_registry::{ResealError, StorageError};

use crate::desk::{Desk, now};

#[tokio::test]
async fn the_first_secret_under_a_name_stays_and_later_ones_are_told_it() {
    let registry = Desk::new().await.registry;
    assert_eq!(registry.sealed("data-key").await.unwrap(), None);
    assert_eq!(registry.keep_sealed("data-key", b"one").await.unwrap(), b"one");
    assert_eq!(registry.keep_sealed("data-key", b"two").await.unwrap(), b"one");
    assert_eq!(registry.sealed("data-key").await.unwrap().unwrap(), b"one");
    let long = registry.keep_sealed("long", &vec![0; 20_000]).await;
    assert!(matches!(long, Err(StorageError::Corrupt { .. })));
}

#[tokio::test]
async fn secrets_are_sealed_anew_all_or_none_and_the_log_says_so() {
    let registry = Desk::new().await.registry;
    for name in ["data-key", "log-key"] {
        registry.keep_sealed(name, b"old").await.unwrap();
    }
    let entries = registry.log_size().await.unwrap();
    let refused = registry.reseal(|_| Err("no")).await.unwrap_err();
    assert!(matches!(refused, ResealError::Seal("no")));
    assert_eq!(registry.sealed("log-key").await.unwrap().unwrap(), b"old");
    assert_eq!(registry.log_size().await.unwrap(), entries);
    registry
        .keep_authority_request(b"public", b"old record", now())
        .await
        .unwrap();
    let entries = entries + 1;
    let new = |rows: &BTreeMap<String, Vec<u8>>| {
        assert_eq!(rows.len(), 3);
        let new = rows.keys().map(|name| (name.clone(), b"new".to_vec()));
        Ok::<_, ()>(new.collect())
    };
    registry.reseal(new).await.unwrap();
    for name in ["data-key", "log-key"] {
        assert_eq!(registry.sealed(name).await.unwrap().unwrap(), b"new");
    }
    let record = registry.authority_request(b"public").await.unwrap();
    assert_eq!(record.unwrap(), b"new", "keys that wait for a certificate, too");
    assert_eq!(registry.log_size().await.unwrap(), entries + 3);
}
