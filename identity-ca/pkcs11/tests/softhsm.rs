//! Keys in a token of `SoftHSM`. PKCS #11 has one state per process, and `SoftHSM` is told by its environment where its tokens are, so
//! each test runs in a process of its own.

#![expect(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::UnixTime;
use signet_keys::{
    CertificateKey, KeyKind, KeyManager as _, KeyManagerError, KeyRecord, SecretFile, SignError, Signer,
    fixed_signature,
};
use signet_pkcs11::{DeviceError, Pkcs11Keys, Pkcs11Settings};
use tempfile::TempDir;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Set for the process that does the work: where the tokens are.
const HOME: &str = "SIGNET_TEST_SOFTHSM";

const PIN: &str = "49731846";

/// Where a test has its token, in the process that is its own; none in the one that has started that.
fn own_process(test: &str) -> Option<PathBuf> {
    if let Some(home) = std::env::var_os(HOME) {
        return Some(home.into());
    }
    if !Path::new(MODULE).exists() {
        signet_skip::skip(
            &format!("softhsm::{test}"),
            "there is no SoftHSM (Debian: softhsm2)",
        );
        return None;
    }
    let home = TempDir::new().unwrap();
    let tokens = home.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let conf = home.path().join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    fs::write(&conf, text).unwrap();
    token(&conf, "ca");
    let pin = home.path().join("pin");
    fs::write(&pin, format!("{PIN}\n")).unwrap();
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("SOFTHSM2_CONF", &conf)
        .env(HOME, home.path())
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed in its own process");
    None
}

fn token(conf: &Path, label: &str) {
    let made = Command::new("softhsm2-util")
        .args([
            "--init-token",
            "--free",
            "--label",
            label,
            "--pin",
            PIN,
            "--so-pin",
            "84736251",
        ])
        .env("SOFTHSM2_CONF", conf)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

fn settings(home: &Path, uri: &str) -> Pkcs11Settings {
    Pkcs11Settings {
        module: MODULE.into(),
        token: uri.parse().unwrap(),
        pin: SecretFile::new(home.join("pin")),
    }
}

fn open(home: &Path) -> Pkcs11Keys {
    Pkcs11Keys::open(settings(home, "pkcs11:token=ca")).unwrap()
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
fn keys_made_in_the_token_certify_and_are_found_again() {
    let Some(home) = own_process("keys_made_in_the_token_certify_and_are_found_again") else {
        return;
    };
    let keys = open(&home);
    for (kind, length) in [(KeyKind::P256, 64), (KeyKind::P384, 96), (KeyKind::Rsa2048, 256)] {
        let (record, signer) = keys.generate(kind).unwrap();
        certifies(Arc::clone(&signer));
        let record = KeyRecord::decode(&record.encode()).unwrap();
        let again = keys.open(&record).unwrap();
        assert_eq!(again.public_key(), signer.public_key());
        assert!(again.is_remote());
        certifies(again);
        let signature = fixed_signature(kind, &signer.sign(b"x").unwrap()).unwrap();
        assert_eq!(signature.len(), length);
        // Debug shows no PIN.
        assert!(!format!("{keys:?} {signer:?}").contains(PIN));
    }
    let refused = keys.generate(KeyKind::Ed25519).unwrap_err();
    assert!(matches!(refused, KeyManagerError::Kind { .. }), "{refused}");
    assert!(matches!(keys.import(b""), Err(KeyManagerError::Import { .. })));
}

#[test]
fn a_key_that_is_forgotten_is_gone_and_another_s_is_left_alone() {
    let Some(home) = own_process("a_key_that_is_forgotten_is_gone_and_another_s_is_left_alone") else {
        return;
    };
    let keys = open(&home);
    let (one, _) = keys.generate(KeyKind::P256).unwrap();
    let (two, _) = keys.generate(KeyKind::P256).unwrap();
    // The registry is changed so that the first one's row leads to the second one's key.
    let mixed = KeyRecord::new("pkcs11", KeyKind::P256, one.public_key(), two.body().to_vec()).unwrap();
    assert!(matches!(keys.open(&mixed), Err(KeyManagerError::Gone(_))));
    keys.forget(&mixed).unwrap_err();
    keys.open(&two).unwrap();
    keys.forget(&one).unwrap();
    keys.forget(&one).unwrap();
    let gone = keys.open(&one).unwrap_err();
    assert!(matches!(gone, KeyManagerError::Gone(_)), "{gone}");
    keys.open(&two).unwrap();
}

#[test]
fn no_private_key_can_be_read_out_of_the_token() {
    let Some(home) = own_process("no_private_key_can_be_read_out_of_the_token") else {
        return;
    };
    let keys = open(&home);
    keys.generate(KeyKind::P256).unwrap();
    keys.generate(KeyKind::Rsa2048).unwrap();
    // The same module in the same process, so logged in already.
    let module = Pkcs11::new(MODULE).unwrap();
    let slot = module.get_slots_with_initialized_token().unwrap()[0];
    let session = module.open_ro_session(slot).unwrap();
    let found = session
        .find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)])
        .unwrap();
    assert_eq!(found.len(), 2);
    for key in found {
        let secret = [AttributeType::Value, AttributeType::PrivateExponent];
        assert_eq!(session.get_attributes(key, &secret).unwrap(), []);
        let said = session
            .get_attributes(
                key,
                &[AttributeType::NeverExtractable, AttributeType::AlwaysSensitive],
            )
            .unwrap();
        assert_eq!(
            said,
            [
                Attribute::NeverExtractable(true),
                Attribute::AlwaysSensitive(true)
            ]
        );
    }
}

#[test]
fn a_lost_session_is_opened_anew_without_anybody_noticing() {
    let Some(home) = own_process("a_lost_session_is_opened_anew_without_anybody_noticing") else {
        return;
    };
    let keys = open(&home);
    let (_, signer) = keys.generate(KeyKind::P256).unwrap();
    signer.sign(b"before").unwrap();
    for _ in 0..3 {
        // All sessions end with the module's state.
        Pkcs11::new(MODULE).unwrap().finalize().unwrap();
        signer.sign(b"after").unwrap();
    }
    // And one that was logged out from outside.
    let module = Pkcs11::new(MODULE).unwrap();
    let slot = module.get_slots_with_initialized_token().unwrap()[0];
    module.open_ro_session(slot).unwrap().logout().unwrap();
    signer.sign(b"after").unwrap();
}

#[test]
fn a_token_that_is_removed_is_told_of_and_used_again_when_it_is_back() {
    let Some(home) = own_process("a_token_that_is_removed_is_told_of_and_used_again_when_it_is_back") else {
        return;
    };
    let keys = open(&home);
    let (record, signer) = keys.generate(KeyKind::P256).unwrap();
    let (tokens, away) = (home.join("tokens"), home.join("away"));
    fs::rename(&tokens, &away).unwrap();
    fs::create_dir(&tokens).unwrap();
    Pkcs11::new(MODULE).unwrap().finalize().unwrap();
    let gone = signer.sign(b"x").unwrap_err();
    let SignError::Unreachable(said) = &gone else {
        panic!("{gone}");
    };
    assert!(said.contains("no token fits pkcs11:token=ca"), "{said}");
    // Who comes at once is told at once, and nothing is tried.
    assert!(matches!(signer.sign(b"x"), Err(SignError::Unreachable(_))));
    assert!(matches!(keys.open(&record), Err(KeyManagerError::Unreachable(_))));
    fs::remove_dir(&tokens).unwrap();
    fs::rename(&away, &tokens).unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while let Err(error) = signer.sign(b"x") {
        assert!(Instant::now() < until, "{error}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn a_wrong_pin_is_tried_once_and_never_again() {
    let Some(home) = own_process("a_wrong_pin_is_tried_once_and_never_again") else {
        return;
    };
    let keys = open(&home);
    let (_, signer) = keys.generate(KeyKind::P256).unwrap();
    fs::write(home.join("pin"), "00000000").unwrap();
    Pkcs11::new(MODULE).unwrap().finalize().unwrap();
    for _ in 0..20 {
        let refused = signer.sign(b"x").unwrap_err();
        assert!(refused.to_string().contains("refused the PIN"), "{refused}");
        assert!(!refused.to_string().contains("00000000"));
    }
    // The right one is not tried either: it could be as wrong as the first, and the next attempt the last.
    fs::write(home.join("pin"), PIN).unwrap();
    std::thread::park_timeout(Duration::from_millis(1500));
    let refused = signer.sign(b"x").unwrap_err();
    assert!(refused.to_string().contains("before a restart"), "{refused}");
    let again = open(&home).generate(KeyKind::P256).unwrap();
    again.1.sign(b"x").unwrap();
}

#[test]
fn what_leads_to_no_token_or_to_several_is_said() {
    let Some(home) = own_process("what_leads_to_no_token_or_to_several_is_said") else {
        return;
    };
    let refusal = |settings: Pkcs11Settings| Pkcs11Keys::open(settings).unwrap_err();
    let none = refusal(settings(&home, "pkcs11:token=other"));
    assert!(
        matches!(none, DeviceError::NoToken { .. }) && none.to_string().contains("`ca`"),
        "{none}"
    );
    token(&home.join("softhsm2.conf"), "ca");
    let several = refusal(settings(&home, "pkcs11:token=ca"));
    assert!(matches!(several, DeviceError::SeveralTokens { .. }), "{several}");
    let mut relative = settings(&home, "pkcs11:token=ca");
    relative.module = "libsofthsm2.so".into();
    assert!(matches!(refusal(relative.clone()), DeviceError::Module { .. }));
    relative.module = "/bin/true".into();
    assert!(matches!(refusal(relative), DeviceError::Module { .. }));
    let mut open_to_all = settings(&home, "pkcs11:serial=0");
    fs::set_permissions(home.join("pin"), fs::Permissions::from_mode(0o644)).unwrap();
    open_to_all.token = "pkcs11:token=alone".parse().unwrap();
    token(&home.join("softhsm2.conf"), "alone");
    assert!(matches!(refusal(open_to_all), DeviceError::PinFile(_)));
}

#[test]
fn many_threads_sign_at_once() {
    let Some(home) = own_process("many_threads_sign_at_once") else {
        return;
    };
    let keys = open(&home);
    let (_, signer) = keys.generate(KeyKind::P256).unwrap();
    let until = Instant::now() + Duration::from_secs(2);
    let work = || {
        let signer = Arc::clone(&signer);
        std::thread::spawn(move || {
            let mut signed = 0_u32;
            while Instant::now() < until {
                signer.sign(b"x").unwrap();
                signed += 1;
            }
            signed
        })
    };
    let threads: Vec<_> = (0..8).map(|_| work()).collect();
    let signed: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    println!("{signed} signatures in two seconds by eight threads");
    assert!(signed > 8);
}
