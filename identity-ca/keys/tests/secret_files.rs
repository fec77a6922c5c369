//! Files with secrets in them.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its key has failed")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use signet_keys::{Kek, KekError, SecretFile, SecretFileError, credential};
use tempfile::TempDir;

fn file(directory: &TempDir, name: &str, content: &[u8], mode: u32) -> SecretFile {
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    SecretFile::new(path)
}

#[test]
fn a_key_is_read_in_each_of_its_forms_and_no_other_length_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let plain = [0xa7; 32];
    let hex = "A7".repeat(32) + "\n";
    let base64 = "p6enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6c=\n";
    for form in [
        &plain[..],
        hex.as_bytes(),
        base64.as_bytes(),
        base64.trim_end_matches("=\n").as_bytes(),
    ] {
        let kek = Kek::from_key_file(&file(&directory, "kek", form, 0o600)).unwrap();
        assert_eq!(kek.to_file_text().unwrap().trim(), "a7".repeat(32));
    }
    for bad in [&b"a7a7"[..], &[1; 31], &[b'x'; 64], &[0xff; 44]] {
        let refused = Kek::from_key_file(&file(&directory, "kek", bad, 0o600));
        assert!(matches!(refused, Err(KekError::Form(_))));
    }
}

#[test]
fn a_passphrase_is_its_line_and_not_too_short() {
    let directory = tempfile::tempdir().unwrap();
    let read = |content: &[u8]| Kek::from_passphrase_file(&file(&directory, "words", content, 0o600));
    let Kek::Passphrase(words) = read(b"correct horse battery\r\n").unwrap() else {
        panic!("no passphrase");
    };
    assert_eq!(words.as_slice(), b"correct horse battery");
    assert!(matches!(
        read(b"short\n\n\n\n\n\n\n\n\n\n\n"),
        Err(KekError::Short(_))
    ));
}

#[test]
fn a_file_that_others_can_read_is_refused_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    for mode in [0o640, 0o604, 0o620, 0o666] {
        let refused = file(&directory, "kek", &[1; 32], mode).read().unwrap_err();
        assert!(matches!(refused, SecretFileError::Mode { .. }), "{mode:o}");
        assert!(refused.to_string().contains("kek"));
    }
    file(&directory, "kek", &[1; 32], 0o400).read().unwrap();
}

#[test]
fn what_is_no_file_empty_or_huge_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for path in [pipe.as_path(), directory.path(), Path::new("/dev/zero")] {
        assert!(matches!(
            SecretFile::new(path).read(),
            Err(SecretFileError::Kind { .. })
        ));
    }
    for content in [&[][..], &[b'x'; 4097]] {
        let refused = file(&directory, "kek", content, 0o600).read();
        assert!(matches!(refused, Err(SecretFileError::Size { .. })));
    }
    let missing = SecretFile::new(directory.path().join("none")).read();
    assert!(matches!(missing, Err(SecretFileError::Io { .. })));
}

#[test]
fn a_credential_is_found_by_name_and_may_be_its_services_group_s_to_read() {
    let directory = tempfile::tempdir().unwrap();
    file(&directory, "signet-ca.kek", &[1; 32], 0o440);
    let found = credential(Some(directory.path()), "signet-ca.kek").unwrap();
    assert_eq!(found.read().unwrap().as_slice(), [1; 32]);
    assert_eq!(credential(Some(directory.path()), "other"), None);
    assert_eq!(credential(None, "signet-ca.kek"), None);
    file(&directory, "signet-ca.kek", &[1; 32], 0o444);
    assert!(found.read().is_err());
}
