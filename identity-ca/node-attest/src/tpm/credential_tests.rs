//! What a TPM seals (`TPM2_MakeCredential`), sealed by us from the same seed: byte for byte the same.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeySize, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use data_encoding::HEXLOWER;
use signet_swtpm::Swtpm;
use signet_tpm::{MAX_RESPONSE_BYTES, Public, Response, command, template};

use super::*;

fn exchange(tpm: &mut UnixStream, command: &Writer) -> Vec<u8> {
    tpm.write_all(command.bytes()).unwrap();
    let mut answer = vec![0; MAX_RESPONSE_BYTES];
    let length = tpm.read(&mut answer).unwrap();
    answer.truncate(length);
    answer
}

/// What a TPM seals for a public key that it is shown.
fn sealed_by_a_tpm(public: &[u8], name: &Name, secret: &[u8; 32]) -> Credential {
    let swtpm = Swtpm::start().unwrap();
    let mut tpm = UnixStream::connect(swtpm.socket()).unwrap();
    let answer = exchange(&mut tpm, &command::load_public(public));
    let key = Response::parse(&answer, true).unwrap().handle.unwrap();
    let answer = exchange(&mut tpm, &command::make_credential(key, secret, name.as_bytes()));
    let mut said = Response::parse(&answer, false).unwrap().parameters;
    Credential {
        blob: said.sized(1024).unwrap().to_vec(),
        encrypted_secret: said.sized(1024).unwrap().to_vec(),
    }
}

fn a_name() -> Name {
    Public::parse(&template::endorsement_p256()).unwrap().name()
}

#[test]
fn a_tpm_seals_the_same_for_an_rsa_key() {
    let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let pkcs8: Pkcs8V1Der<'_> = private.as_der().unwrap();
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
        &rustls_pki_types::PrivatePkcs8KeyDer::from(pkcs8.as_ref()),
        &rcgen::PKCS_RSA_SHA256,
    )
    .unwrap();
    let raw = key.public_key_raw();
    // RSAPublicKey: a header of 4, an integer's of 4 with its zero, the modulus.
    let modulus = &raw[9..9 + 256];
    let blank = template::endorsement_rsa();
    let public = Writer::new()
        .raw(&blank[..blank.len() - 256])
        .raw(modulus)
        .to_vec();
    let (name, secret) = (a_name(), [7; 32]);
    let theirs = sealed_by_a_tpm(&public, &name, &secret);
    let opener = OaepPrivateDecryptingKey::new(private).unwrap();
    let mut room = [0; 256];
    let seed = opener
        .decrypt(
            &OAEP_SHA256_MGF1SHA256,
            &theirs.encrypted_secret,
            &mut room,
            Some(IDENTITY),
        )
        .unwrap();
    let seed: [u8; 32] = (&*seed).try_into().unwrap();
    assert_eq!(wrap(&seed, &name, &secret).unwrap(), theirs.blob);
    // And we, with the same seed.
    let public = Public::parse(&public).unwrap();
    let ours = seal(public.key(), &name, &secret, &seed).unwrap();
    assert_eq!(ours.blob, theirs.blob);
}

#[test]
fn a_tpm_seals_the_same_for_a_p256_key() {
    let scalar = [0x11; 32];
    let private = PrivateKey::from_private_key(&ECDH_P256, &scalar).unwrap();
    let point = private.compute_public_key().unwrap();
    let (x, y) = coordinates(point.as_ref()).unwrap();
    let blank = template::endorsement_p256();
    let public = Writer::new()
        .raw(&blank[..blank.len() - 68])
        .sized(x)
        .sized(y)
        .to_vec();
    let (name, secret) = (a_name(), [7; 32]);
    let theirs = sealed_by_a_tpm(&public, &name, &secret);
    let mut reader = signet_tpm::Reader::new(&theirs.encrypted_secret);
    let (their_x, their_y) = (reader.sized(32).unwrap(), reader.sized(32).unwrap());
    let ephemeral = [&[4], their_x, their_y].concat();
    let seed = agree(
        &private,
        UnparsedPublicKey::new(&ECDH_P256, ephemeral),
        SealError,
        |shared| Ok(kdfe(shared, IDENTITY, their_x, x)),
    )
    .unwrap();
    assert_eq!(wrap(&seed, &name, &secret).unwrap(), theirs.blob);
}

/// Computed from the specification by other means (HMAC of Python's, AES of openssl's): whoever changes how a credential is made
/// finds out without a TPM.
#[test]
fn known_answers() {
    let (name, secret) = (a_name(), [7; 32]);
    let blob = wrap(&[0x42; 32], &name, &secret).unwrap();
    assert_eq!(HEXLOWER.encode(&blob), KNOWN_BLOB);
    let seed = kdfe(&[1; 32], IDENTITY, &[2; 32], &[3; 32]);
    assert_eq!(HEXLOWER.encode(&*seed), KNOWN_SEED);
}

const KNOWN_BLOB: &str = "0020fb40d9ddcc4b5cb71e7434f83eb1536093a63fe5cf98c68c03128f0b141021c586dba9756a6a\
    d3ad2de9b1f9fea7de38110c21a99eb43305e717f40cd04e01a3521e";
const KNOWN_SEED: &str = "2073a3306eedcfb178183d8a721f949bba9c3d4501b6c2839487bbdd3b973070";

#[test]
fn every_seal_is_another_and_nothing_is_sealed_for_no_key() {
    let nowhere = PublicKey::P256 {
        x: [1; 32],
        y: [1; 32],
    };
    assert_eq!(seal(&nowhere, &a_name(), &[7; 32], &[8; 32]), Err(SealError));
    let nothing = PublicKey::Rsa {
        modulus: vec![0x80; 3],
        exponent: 3,
    };
    assert_eq!(seal(&nothing, &a_name(), &[7; 32], &[8; 32]), Err(SealError));
    // A scalar out of range.
    let private = PrivateKey::from_private_key(&ECDH_P256, &[0x11; 32]).unwrap();
    let point = private.compute_public_key().unwrap();
    let (x, y) = coordinates(point.as_ref()).unwrap();
    let key = PublicKey::P256 {
        x: x.try_into().unwrap(),
        y: y.try_into().unwrap(),
    };
    assert_eq!(seal(&key, &a_name(), &[7; 32], &[0; 32]), Err(SealError));
    let (one, two) = (
        seal(&key, &a_name(), &[7; 32], &[1; 32]).unwrap(),
        seal(&key, &a_name(), &[7; 32], &[2; 32]).unwrap(),
    );
    assert_ne!(one.blob, two.blob);
    assert_ne!(one.encrypted_secret, two.encrypted_secret);
}
