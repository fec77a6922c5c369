//! Against TPMs of swtpm's, and against something that only says that it is one.

#![expect(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use signet_devid::{Address, DevidError, Directory, Kind, Made, Passwords, Prepared, Tpm, Wanted, create};
use signet_swtpm::{Authority, Swtpm};
use signet_tpm::{Writer, handle, template};
use zeroize::Zeroizing;

fn make(tpm: &Swtpm, passwords: &Passwords, home: &Path) -> Result<Made, DevidError> {
    let wanted = Wanted {
        kind: Kind::P256,
        common_name: "n1".to_owned(),
        dns: Vec::new(),
    };
    create(&address(tpm), passwords, &Directory::new(home), &wanted)
}

fn address(tpm: &Swtpm) -> Address {
    tpm.address().parse().unwrap()
}

fn prepare(tpm: &Swtpm, passwords: &Passwords, home: &Path) -> Result<Prepared, DevidError> {
    Prepared::new(&address(tpm), passwords, &Directory::new(home))
}

/// Gives the TPM an endorsement certificate in a file, and the identity its own.
fn equip(tpm: &Swtpm, passwords: &Passwords, home: &Path) {
    let authority = Authority::new("all in one").unwrap();
    let mut open = Tpm::open(&address(tpm), passwords).unwrap();
    let key = open.endorsement(&template::endorsement_p256()).unwrap();
    let endorsement = authority.endorse(&key.public.key().to_spki()).unwrap();
    drop(open);
    std::fs::write(home.join("ek.pem"), endorsement).unwrap();
    let made = make(tpm, passwords, home).unwrap();
    made.endorsement.unwrap();
    std::fs::write(home.join("devid.pem"), authority.grant(&made.request).unwrap()).unwrap();
}

/// `TPM2_HierarchyChangeAuth`.
fn set_password(tpm: &Swtpm, hierarchy: u32, password: &[u8]) {
    let session = Writer::new().u32(handle::PASSWORD).sized(&[]).u8(0).sized(&[]);
    let rest = Writer::new()
        .u32(hierarchy)
        .u32(9)
        .raw(session.bytes())
        .sized(password);
    let size = u32::try_from(10 + rest.bytes().len()).unwrap();
    let command = Writer::new().u16(0x8002).u32(size).u32(0x129).raw(rest.bytes());
    let mut stream = UnixStream::connect(tpm.socket()).unwrap();
    stream.write_all(command.bytes()).unwrap();
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).unwrap();
    assert_eq!(answer[6..10], [0; 4], "{:x?}", &answer[..length]);
}

#[test]
fn hierarchies_may_have_passwords() {
    let tpm = Swtpm::start().unwrap();
    let home = tempfile::tempdir().unwrap();
    set_password(&tpm, handle::OWNER, b"owner's");
    set_password(&tpm, handle::ENDORSEMENT, b"endorsement's");
    let error = make(&tpm, &Passwords::default(), home.path()).unwrap_err();
    assert!(error.to_string().contains("password"), "{error}");
    let password = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
    let good = Passwords {
        owner: password("owner's"),
        endorsement: password("endorsement's"),
    };
    equip(&tpm, &good, home.path());
    prepare(&tpm, &good, home.path()).unwrap();
    let wrong = Passwords {
        endorsement: password("wrong"),
        ..good
    };
    let error = prepare(&tpm, &wrong, home.path()).unwrap_err();
    assert!(error.to_string().contains("password"), "{error}");
}

#[test]
fn what_is_used_is_given_back_however_often_and_however_it_ends() {
    let tpm = Swtpm::start().unwrap();
    let home = tempfile::tempdir().unwrap();
    let none = Passwords::default();
    equip(&tpm, &none, home.path());
    // A bare TPM has room for three keys, and for three sessions.
    for _ in 0..8 {
        let mut prepared = prepare(&tpm, &none, home.path()).unwrap();
        prepared.open(&[0, 0], &[0, 0]).unwrap_err();
        prepared.sign(b"still there").unwrap();
    }
}

#[test]
fn an_identity_is_not_written_over_and_is_of_no_use_to_another_tpm() {
    let (tpm, other) = (Swtpm::start().unwrap(), Swtpm::start().unwrap());
    let home = tempfile::tempdir().unwrap();
    let none = Passwords::default();
    equip(&tpm, &none, home.path());
    let before = std::fs::read(home.path().join("devid.priv")).unwrap();
    let error = make(&tpm, &none, home.path()).unwrap_err();
    assert!(error.to_string().contains("already"), "{error}");
    assert_eq!(std::fs::read(home.path().join("devid.priv")).unwrap(), before);
    let error = prepare(&other, &none, home.path()).unwrap_err();
    assert!(matches!(error, DevidError::Foreign("the DevID key")), "{error}");
    // What is damaged is not loaded either.
    let mut damaged = before.clone();
    damaged[40] ^= 1;
    std::fs::write(home.path().join("devid.priv"), damaged).unwrap();
    let error = prepare(&tpm, &none, home.path()).unwrap_err();
    assert!(matches!(error, DevidError::Foreign("the DevID key")), "{error}");
    // Nor is a certificate of another key shown.
    std::fs::write(home.path().join("devid.priv"), before).unwrap();
    std::fs::copy(home.path().join("ek.pem"), home.path().join("devid.pem")).unwrap();
    let error = prepare(&tpm, &none, home.path()).unwrap_err();
    assert!(
        error.to_string().contains("not of the key in devid.pub"),
        "{error}"
    );
}

#[test]
fn a_tpm_without_a_certificate_or_with_another_s_is_told_apart() {
    let tpm = Swtpm::start().unwrap();
    let home = tempfile::tempdir().unwrap();
    let none = Passwords::default();
    let made = make(&tpm, &none, home.path()).unwrap();
    assert!(matches!(made.endorsement, Err(DevidError::NoEndorsement(_))));
    let other = Swtpm::start().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    equip(&other, &none, elsewhere.path());
    std::fs::copy(elsewhere.path().join("ek.pem"), home.path().join("ek.pem")).unwrap();
    let authority = Authority::new("owner").unwrap();
    std::fs::write(
        home.path().join("devid.pem"),
        authority.grant(&made.request).unwrap(),
    )
    .unwrap();
    let error = prepare(&tpm, &none, home.path()).unwrap_err();
    assert!(matches!(error, DevidError::OtherEndorsement), "{error}");
}

#[test]
fn whatever_is_no_tpm_is_an_error_and_no_more() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let answers: [&[u8]; 6] = [
        b"",
        b"\x80\x01",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        // Longer than any answer, shorter than any, and with less in it than it says.
        b"\x80\x02\xff\xff\xff\xff\0\0\0\0",
        b"\x80\x02\0\0\0\x09\0\0\0\0",
        b"\x80\x02\0\0\0\x12\0\0\0\0\x80\0\0\0\xff\xff\xff\xff",
    ];
    let server = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut command = [0; 4096];
            let _ = stream.read(&mut command).unwrap();
            stream.write_all(answer).unwrap();
        }
    });
    let address = format!("unix:{}", socket.display()).parse().unwrap();
    for answer in answers {
        let mut tpm = Tpm::open(&address, &Passwords::default()).unwrap();
        assert!(tpm.storage().is_err(), "{answer:x?}");
    }
    server.join().unwrap();
    let nowhere: Address = "/nonexistent/tpm".parse().unwrap();
    let error = Tpm::open(&nowhere, &Passwords::default()).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/tpm"), "{error}");
}
