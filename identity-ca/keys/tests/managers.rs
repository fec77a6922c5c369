//! What every key manager owes, and what a sealed key withstands.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its key has failed")]

use std::sync::Arc;

use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::UnixTime;
use signet_keys::{
    CertificateKey, Envelope, EnvelopeError, Kek, KeyKind, KeyManager, KeyManagerError, KeyRecord, KeyRing,
    MemoryKeys, RecordError, SealedKeys, Signer, fixed_signature,
};
use zeroize::Zeroizing;

fn sealed() -> SealedKeys {
    Envelope::create(&Kek::generate().unwrap()).unwrap().1
}

fn managers() -> [Arc<dyn KeyManager>; 2] {
    [Arc::new(MemoryKeys::default()), Arc::new(sealed())]
}

/// A root and a leaf by that key, checked by somebody else's library.
fn certifies(signer: Arc<dyn Signer>) {
    let key = CertificateKey::new(signer).unwrap();
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = root.self_signed(&key).unwrap();
    let leaf = CertificateParams::new(["leaf".to_owned()]).unwrap();
    let issuer = Issuer::new(root, &key);
    let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    let anchor = webpki::anchor_from_trusted_cert(certificate.der()).unwrap();
    webpki::EndEntityCert::try_from(leaf.der())
        .unwrap()
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            &[],
            UnixTime::now(),
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )
        .unwrap();
}

#[test]
fn every_kind_of_key_is_made_certifies_and_is_opened_again_from_its_row() {
    for manager in managers() {
        for kind in KeyKind::ALL {
            let (record, signer) = manager.generate(kind).unwrap();
            assert_eq!((signer.kind(), record.kind()), (kind, kind));
            let row = record.encode();
            let again = manager.open(&KeyRecord::decode(&row).unwrap()).unwrap();
            assert_eq!(again.public_key(), signer.public_key());
            certifies(again);
            let signature = fixed_signature(kind, &signer.sign(b"x").unwrap()).unwrap();
            let expected = match kind {
                KeyKind::P256 | KeyKind::Ed25519 => 64,
                KeyKind::P384 => 96,
                KeyKind::Rsa2048 => 256,
                KeyKind::Rsa3072 => 384,
                KeyKind::Rsa4096 => 512,
            };
            assert_eq!(signature.len(), expected);
        }
    }
}

#[test]
fn a_key_of_an_older_version_s_file_is_taken_over() {
    let old = KeyPair::generate().unwrap();
    let pkcs8 = old.serialize_der();
    for manager in managers() {
        let (record, signer) = manager.import(&pkcs8).unwrap();
        assert_eq!(
            signer.public_key(),
            rcgen::PublicKeyData::subject_public_key_info(&old)
        );
        certifies(manager.open(&record).unwrap());
        for bad in [&pkcs8[..pkcs8.len() - 1], b"", b"-----BEGIN PRIVATE KEY-----"] {
            assert!(matches!(manager.import(bad), Err(KeyManagerError::Pkcs8)));
        }
    }
}

#[test]
fn what_is_forgotten_in_memory_is_gone_and_the_error_says_so() {
    let manager = MemoryKeys::default();
    let (record, _) = manager.generate(KeyKind::P256).unwrap();
    manager.forget(&record).unwrap();
    manager.forget(&record).unwrap();
    assert!(matches!(manager.open(&record), Err(KeyManagerError::Gone(_))));
}

#[test]
fn a_ring_opens_the_keys_of_all_its_managers_and_names_the_one_that_is_missing() {
    let [memory, sealed] = managers();
    let (old, _) = memory.generate(KeyKind::P256).unwrap();
    let ring = KeyRing::new(Arc::clone(&sealed), [memory]);
    assert_eq!(ring.generate(KeyKind::P256).unwrap().0.manager(), "sealed");
    ring.open(&old).unwrap();
    let alone = KeyRing::new(sealed, []);
    let missing = alone.open(&old).unwrap_err();
    assert!(missing.to_string().contains("`memory`"), "{missing}");
}

#[test]
fn another_kek_is_refused_and_so_is_a_file_where_a_passphrase_belongs() {
    let (right, wrong) = (Kek::generate().unwrap(), Kek::generate().unwrap());
    let words = |text: &str| Kek::Passphrase(Zeroizing::new(text.into()));
    let (envelope, keys) = Envelope::create(&right).unwrap();
    let (record, _) = keys.generate(KeyKind::P256).unwrap();
    let envelope = Envelope::decode(&envelope.encode()).unwrap();
    envelope.open(&right).unwrap().open(&record).unwrap();
    assert_eq!(envelope.open(&wrong).unwrap_err(), EnvelopeError::WrongKek);
    assert_eq!(
        envelope.open(&words("correct horse")).unwrap_err(),
        EnvelopeError::NeedsKey
    );

    let (envelope, keys) = Envelope::create(&words("correct horse")).unwrap();
    let (record, _) = keys.generate(KeyKind::P256).unwrap();
    let envelope = Envelope::decode(&envelope.encode()).unwrap();
    envelope
        .open(&words("correct horse"))
        .unwrap()
        .open(&record)
        .unwrap();
    assert_eq!(
        envelope.open(&words("wrong horse!")).unwrap_err(),
        EnvelopeError::WrongKek
    );
    assert_eq!(envelope.open(&right).unwrap_err(), EnvelopeError::NeedsPassphrase);
}

#[test]
fn a_record_of_another_database_or_another_key_s_place_does_not_open() {
    let (keys, others) = (sealed(), sealed());
    let (record, _) = keys.generate(KeyKind::P256).unwrap();
    assert!(matches!(others.open(&record), Err(KeyManagerError::OtherDataKey)));
    // The sealed half of one key behind the public half of another.
    let (second, _) = keys.generate(KeyKind::P256).unwrap();
    let (a, b) = (record.encode(), second.encode());
    let body = a
        .windows(91)
        .position(|part| part == record.public_key())
        .unwrap()
        + 91;
    let mixed = KeyRecord::decode(&[&a[..body], &b[body..]].concat()).unwrap();
    assert!(matches!(keys.open(&mixed), Err(KeyManagerError::Changed)));
    let other = keys.reseal(&record, &others).unwrap();
    assert_eq!(others.open(&other).unwrap().public_key(), record.public_key());
    assert!(keys.reseal(&other, &others).is_err());
}

#[test]
fn other_secrets_are_sealed_under_their_names() {
    let keys = sealed();
    let sealed = keys.seal_secret("log key", b"seed").unwrap();
    assert_eq!(keys.open_secret("log key", &sealed).unwrap().as_slice(), b"seed");
    assert!(matches!(
        keys.open_secret("other", &sealed),
        Err(KeyManagerError::Changed)
    ));
    assert!(!sealed.windows(4).any(|part| part == b"seed"));
}

#[test]
fn no_bit_of_a_row_can_be_changed_unnoticed() {
    let kek = Kek::generate().unwrap();
    let (envelope, keys) = Envelope::create(&kek).unwrap();
    let whole = envelope.encode();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(
            Envelope::decode(&changed)
                .and_then(|envelope| envelope.open(&kek))
                .is_err(),
            "byte {at}"
        );
    }
    let (record, _) = keys.generate(KeyKind::P256).unwrap();
    let whole = record.encode();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        let opens = match KeyRecord::decode(&changed) {
            // The manager's name is what finds the manager; it is no part of the seal.
            Ok(read) if read.manager() != "sealed" => false,
            Ok(read) => keys.open(&read).is_ok(),
            Err(_) => false,
        };
        assert!(!opens, "byte {at}");
    }
}

#[test]
fn costs_that_would_stop_the_start_are_not_paid() {
    let kek = Kek::Passphrase(Zeroizing::new(b"correct horse".to_vec()));
    let (envelope, _) = Envelope::create(&kek).unwrap();
    let mut row = envelope.encode();
    // Version, ID, kind, and then the memory.
    row[18..22].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(Envelope::decode(&row), Err(EnvelopeError::Damaged));
    row[18..22].copy_from_slice(&8_u32.to_be_bytes());
    assert_eq!(
        Envelope::decode(&row),
        Err(EnvelopeError::Damaged),
        "cheap to guess"
    );
}

#[test]
fn nothing_shows_a_secret() {
    let kek = Kek::from_key_bytes(&[0x5a; 32]).unwrap();
    let (envelope, keys) = Envelope::create(&kek).unwrap();
    let (record, signer) = keys.generate(KeyKind::P256).unwrap();
    let passphrase = Kek::Passphrase(Zeroizing::new(b"correct horse".to_vec()));
    let shown = format!(
        "{kek:?} {passphrase:?} {keys:?} {signer:?} {:?}",
        CertificateKey::new(Arc::clone(&signer))
    );
    assert_eq!(
        shown,
        "Kek::Key(..) Kek::Passphrase(..) SealedKeys(..) SoftwareKey(p256, ..) \
         Some(CertificateKey(SoftwareKey(p256, ..)))"
    );
    // Rows may be seen: neither has the key in it that the other hides.
    for row in [envelope.encode(), record.encode()] {
        assert!(!row.windows(8).any(|part| part == [0x5a; 8]));
    }
}

proptest! {
    #[test]
    fn nothing_that_a_registry_can_hold_breaks_the_reading(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = KeyRecord::decode(&bytes);
        let _ = Envelope::decode(&bytes);
        let versioned = [&[1, 1][..], &bytes].concat();
        let _ = KeyRecord::decode(&versioned);
    }
}

#[test]
fn a_later_version_s_rows_are_named_as_such() {
    assert_eq!(KeyRecord::decode(&[9, 1]), Err(RecordError::Version(9)));
    assert_eq!(Envelope::decode(&[9, 1]), Err(EnvelopeError::Version(9)));
}
