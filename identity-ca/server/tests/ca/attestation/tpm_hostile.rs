//! Whoever has not the TPM that they say, or not the key in it.

use rcgen::{CertificateParams, KeyPair, KeyUsagePurpose, PublicKeyData as _};
use signet_ca::NameRule;
use signet_devid::{Directory, Kind, Prepared, Shown};
use signet_proto::ca::v1::{NodeAnswer, TpmDevidEvidence, node_evidence::Proof};
use signet_swtpm::Authority;
use signet_tpm::{Attributes, Public, Writer, template};
use tonic::{Code, Status};

use super::device::sign;
use super::exchange::Exchange;
use super::tpm::{Machine, World, answer, evidence, refused, to_sign};
use crate::running::{Running, request};

/// A CA that admits n1 and n2 by device identity.
async fn stage(world: &World) -> Running {
    let ca = world.ca(None).await;
    for node in ["n1", "n2"] {
        let way = format!("tpm_devid dns:{node}.example");
        ca.allow(node, &[], &[&way]).await.unwrap();
    }
    ca
}

/// What the CA says to this evidence.
async fn shown(ca: &Running, shown: &Shown) -> Result<(), Status> {
    let mut exchange = ca.connect().await.begin().await.unwrap();
    exchange.show(evidence(shown, "n1", &request().1)).await;
    exchange.asked().await.map(drop)
}

fn is_no_signature(outcome: Result<impl Sized, Status>) {
    refused(outcome, Code::Unauthenticated, "signature");
}

/// A key that somebody has in a file, described as one of a TPM's.
struct Software {
    key: KeyPair,
    public: Vec<u8>,
}

impl Software {
    fn new(attributes: Attributes) -> Self {
        let key = KeyPair::generate().unwrap();
        let blank = template::signer(Kind::P256, attributes);
        let (x, y) = key.der_bytes()[1..].split_at(32);
        // In place of the two empty numbers at the end.
        let public = Writer::new()
            .raw(&blank[..blank.len() - 4])
            .sized(x)
            .sized(y)
            .to_vec();
        Self { key, public }
    }

    /// A statement like a TPM's about a key, and its signature.
    fn certify(&self, about: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let name = Public::parse(about).unwrap().name();
        let statement = Writer::new()
            .u32(0xff54_4347)
            .u16(0x8017)
            .sized(&[])
            .sized(&[])
            .raw(&[0; 25])
            .sized(name.as_bytes())
            .sized(&[])
            .to_vec();
        // Ecdsa-Sig-Value to the numbers in it.
        let der = sign(&self.key, &statement);
        let r = usize::from(der[3]);
        let numbers = [&der[4..4 + r], &der[6 + r..]];
        let signature =
            numbers.iter().fold(
                Writer::new().u16(0x0018).u16(0x000b),
                |signature, number| match number {
                    [0, rest @ ..] => signature.sized(rest),
                    all => signature.sized(all),
                },
            );
        (statement, signature.to_vec())
    }
}

/// As a device identity, or as an attestation key, of a good TPM.
fn attributes(of: &[u8]) -> Attributes {
    Attributes(u32::from_be_bytes(of[4..8].try_into().unwrap()))
}

fn devid_attributes() -> Attributes {
    attributes(&template::device_identity(Kind::P256))
}

fn ak_attributes() -> Attributes {
    attributes(&template::attestation())
}

fn der(pem: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("one.pem");
    std::fs::write(&file, pem).unwrap();
    Directory::chain(&file).unwrap()[0].to_vec()
}

/// The certificate that the owner gives to whoever asks for one for this key.
fn owned(world: &World, spki: &[u8]) -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["n1.example".to_owned()]).unwrap();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    der(&world.owner.certify(&params, spki).unwrap())
}

#[tokio::test]
async fn a_key_in_software_is_not_in_the_tpm_whatever_is_said_of_it() {
    let world = World::new();
    let ca = stage(&world).await;
    let machine = world.usual("n1");
    let mut prepared = machine.prepared();
    let devid = Software::new(devid_attributes());
    let spki = devid.key.subject_public_key_info();
    // The true attestation key has made a statement, but about another key.
    let mut said = prepared.shown().clone();
    said.chain = vec![owned(&world, &spki)];
    said.devid.clone_from(&devid.public);
    refused(
        shown(&ca, &said).await,
        Code::Unauthenticated,
        "about another key",
    );
    // An attestation key in software says whatever it is told to, and nothing is wrong with that until the TPM is asked.
    let ak = Software::new(ak_attributes());
    (said.certification, said.signature) = ak.certify(&devid.public);
    said.attestation_key.clone_from(&ak.public);
    let connection = ca.connect().await;
    let (_, csr) = request();
    let mut exchange = connection.begin().await.unwrap();
    exchange.show(evidence(&said, "n1", &csr)).await;
    let challenge = exchange.asked().await.unwrap();
    // The true TPM does not open what is for an attestation key that it does not have.
    let credential = challenge.tpm.unwrap();
    let opened = prepared.open(&credential.blob, &credential.encrypted_secret);
    opened.unwrap_err();
    let message = to_sign(
        &said.chain[0],
        "n1",
        &csr,
        &challenge.nonce,
        &connection.binding,
        &[0; 32],
    );
    let guessed = NodeAnswer {
        scheme: 0x0403,
        signature: sign(&devid.key, &message),
    };
    is_no_signature(exchange.answer(guessed).await);
}

#[tokio::test]
async fn an_attestation_key_of_another_tpm_does_not_answer() {
    let world = World::new();
    let ca = stage(&world).await;
    let (machine, other) = (world.usual("n1"), world.usual("n2"));
    let (mut here, mut there) = (machine.prepared(), other.prepared());
    let mut mixed = here.shown().clone();
    mixed
        .endorsement_chain
        .clone_from(&there.shown().endorsement_chain);
    let connection = ca.connect().await;
    let (_, csr) = request();
    let mut exchange = connection.begin().await.unwrap();
    exchange.show(evidence(&mixed, "n1", &csr)).await;
    let challenge = exchange.asked().await.unwrap();
    let credential = challenge.tpm.unwrap();
    // Neither of the two has both keys.
    for tpm in [&mut here, &mut there] {
        tpm.open(&credential.blob, &credential.encrypted_secret)
            .unwrap_err();
    }
    let message = to_sign(
        &mixed.chain[0],
        "n1",
        &csr,
        &challenge.nonce,
        &connection.binding,
        &[0; 32],
    );
    let (scheme, signature) = here.sign(&message).unwrap();
    let guessed = NodeAnswer {
        scheme: scheme.into(),
        signature,
    };
    is_no_signature(exchange.answer(guessed).await);
}

#[tokio::test]
async fn a_tpm_of_an_unknown_maker_is_not_believed() {
    let world = World::new();
    let ca = stage(&world).await;
    let mut said = world.usual("n1").prepared().shown().clone();
    let good = said.endorsement_chain.clone();
    let why = "endorsement certificate";
    let stranger = Authority::new("maker").unwrap();
    let software = KeyPair::generate().unwrap().subject_public_key_info();
    for (chain, why) in [
        (vec![], why),
        (
            vec![der(&stranger.endorse(&software).unwrap())],
            "does not lead to an authority",
        ),
        // A device identity is no endorsement, and the other way round.
        (said.chain.clone(), why),
        (vec![vec![0x30; 9000]], "8192"),
        (vec![good[0].clone(); 9], "at most 8"),
        (vec![b"nonsense".to_vec()], "malformed"),
        (vec![der(world.maker.pem())], "an authority's"),
    ] {
        said.endorsement_chain = chain;
        refused(shown(&ca, &said).await, Code::Unauthenticated, why);
    }
    // Signed by the maker, and for something else.
    let mut params = CertificateParams::default();
    params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    said.endorsement_chain = vec![der(&world.maker.certify(&params, &software).unwrap())];
    refused(
        shown(&ca, &said).await,
        Code::Unauthenticated,
        "lead to an authority",
    );
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![];
    said.endorsement_chain = vec![der(&world.maker.certify(&params, &software).unwrap())];
    refused(shown(&ca, &said).await, Code::Unauthenticated, "decrypts");
    let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let other = world.maker.endorse(&other.subject_public_key_info()).unwrap();
    said.endorsement_chain = vec![der(&other)];
    refused(
        shown(&ca, &said).await,
        Code::Unauthenticated,
        "neither RSA of 2048 bits nor P-256",
    );
    said.endorsement_chain = good;
    shown(&ca, &said).await.unwrap();
}

/// An exchange that has got as far as the challenge.
async fn asked(
    ca: &Running,
    prepared: &Prepared,
    csr: &[u8],
) -> (
    super::exchange::Connection,
    Exchange,
    signet_proto::ca::v1::NodeChallenge,
) {
    let connection = ca.connect().await;
    let mut exchange = connection.begin().await.unwrap();
    exchange.show(evidence(prepared.shown(), "n1", csr)).await;
    let challenge = exchange.asked().await.unwrap();
    (connection, exchange, challenge)
}

#[tokio::test]
async fn a_challenge_that_was_relayed_is_not_answered_for_another_connection() {
    let world = World::new();
    let ca = stage(&world).await;
    let machine = world.usual("n1");
    let mut prepared = machine.prepared();
    let (_, csr) = request();
    // Somebody in between has the TPM open it, and sign for its own connection.
    let (theirs, mut exchange, challenge) = asked(&ca, &prepared, &csr).await;
    let machine_s = ca.connect().await;
    assert_ne!(theirs.binding, machine_s.binding);
    let relayed = answer(&mut prepared, "n1", &csr, &challenge, &machine_s.binding);
    is_no_signature(exchange.answer(relayed).await);
}

#[tokio::test]
async fn an_answer_is_for_one_exchange_one_node_and_one_request() {
    let world = World::new();
    let ca = stage(&world).await;
    let machine = world.usual("n1");
    let mut prepared = machine.prepared();
    let (_, csr) = request();
    let (connection, mut exchange, challenge) = asked(&ca, &prepared, &csr).await;
    let good = answer(&mut prepared, "n1", &csr, &challenge, &connection.binding);
    exchange.answer(good.clone()).await.unwrap();
    drop(exchange);
    // Over the same connection, a second time; and what is asked is another thing each time.
    let mut again = connection.begin().await.unwrap();
    again.show(evidence(prepared.shown(), "n1", &csr)).await;
    let other = again.asked().await.unwrap();
    assert_ne!(other.nonce, challenge.nonce);
    assert_ne!(other.tpm, challenge.tpm);
    is_no_signature(again.answer(good).await);
    for wrong in ["node", "request", "nonce", "secret", "no secret", "another key"] {
        let (connection, mut exchange, mut challenge) = asked(&ca, &prepared, &csr).await;
        let binding = &connection.binding;
        let leaf = prepared.shown().chain[0].clone();
        let wrong = match wrong {
            "node" => answer(&mut prepared, "n2", &csr, &challenge, binding),
            "request" => answer(&mut prepared, "n1", &request().1, &challenge, binding),
            "nonce" => {
                challenge.nonce = vec![0; 32];
                answer(&mut prepared, "n1", &csr, &challenge, binding)
            }
            "another key" => {
                let thief = KeyPair::generate().unwrap();
                let credential = challenge.tpm.as_ref().unwrap();
                let secret = prepared.open(&credential.blob, &credential.encrypted_secret);
                let message = to_sign(&leaf, "n1", &csr, &challenge.nonce, binding, &secret.unwrap());
                NodeAnswer {
                    scheme: 0x0403,
                    signature: sign(&thief, &message),
                }
            }
            kind => {
                let secret: &[u8] = if kind == "secret" { &[0; 32] } else { &[] };
                let message = to_sign(&leaf, "n1", &csr, &challenge.nonce, binding, secret);
                let (scheme, signature) = prepared.sign(&message).unwrap();
                NodeAnswer {
                    scheme: scheme.into(),
                    signature,
                }
            }
        };
        is_no_signature(exchange.answer(wrong).await);
    }
}

#[tokio::test]
async fn a_certificate_of_another_key_or_another_node_is_not_this_tpm_s() {
    let world = World::new();
    let ca = stage(&world).await;
    let (machine, other) = (world.usual("n1"), world.usual("n2"));
    let mut said = machine.prepared().shown().clone();
    let good = said.chain.clone();
    said.chain.clone_from(&other.prepared().shown().chain);
    refused(
        shown(&ca, &said).await,
        Code::Unauthenticated,
        "not of the DevID key",
    );
    said.chain.clone_from(&said.endorsement_chain);
    refused(shown(&ca, &said).await, Code::Unauthenticated, "key usage");
    let stranger = Authority::new("owner").unwrap();
    let spki = Public::parse(&said.devid).unwrap().key().to_spki();
    let mut params = CertificateParams::new(vec!["n1.example".to_owned()]).unwrap();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    said.chain = vec![der(&stranger.certify(&params, &spki).unwrap())];
    refused(
        shown(&ca, &said).await,
        Code::Unauthenticated,
        "does not lead to an authority",
    );
    said.chain = good;
    // Under another name it is another node's: by the entry, or by the rule of the CA's.
    refused(
        ca.attest_in(&machine, "n2").await,
        Code::PermissionDenied,
        "dns:n2.example",
    );
    let named = world.ca(Some(NameRule::Dns)).await;
    refused(
        named.attest_in(&machine, "n2").await,
        Code::PermissionDenied,
        "not for the node n2",
    );
}

/// What this machine says of a key that its TPM has made after a template, certified by a key after another one.
fn made(world: &World, machine: &Machine, devid: &[u8], ak: &[u8]) -> Shown {
    let mut said = machine.prepared().shown().clone();
    let mut tpm = machine.open();
    let storage = tpm.storage().unwrap();
    let (devid, ak) = (
        tpm.create(&storage, devid).unwrap(),
        tpm.create(&storage, ak).unwrap(),
    );
    let key = tpm.load(&storage, &devid, "it").unwrap();
    let signer = tpm.load(&storage, &ak, "it").unwrap();
    tpm.forget(&storage).unwrap();
    (said.certification, said.signature) = tpm.certify(&key, &signer).unwrap();
    said.chain = vec![owned(world, &devid.public.key().to_spki())];
    said.devid = devid.public.as_bytes().to_vec();
    said.attestation_key = ak.public.as_bytes().to_vec();
    said
}

#[tokio::test]
async fn a_key_that_may_leave_its_tpm_or_signs_other_things_is_refused() {
    let world = World::new();
    let ca = stage(&world).await;
    let machine = world.usual("n1");
    let without = |all: Attributes, less: Attributes| Attributes(all.0 & !less.0);
    let free = Attributes::all([Attributes::FIXED_TPM, Attributes::FIXED_PARENT]);
    let p256 = |attributes| template::signer(Kind::P256, attributes);
    let (devid, ak) = (template::device_identity(Kind::P256), template::attestation());
    for (devid, ak, why) in [
        (p256(without(devid_attributes(), free)), &ak, "cannot leave it"),
        // It signs only what the TPM says: a device identity has to sign our transcript.
        (ak.clone(), &ak, "for signing alone"),
        // Whatever signs anything can sign a statement about a key that is nowhere.
        (devid.clone(), &devid, "not restricted"),
        (
            devid.clone(),
            &p256(without(ak_attributes(), free)),
            "cannot leave it",
        ),
    ] {
        let said = made(&world, &machine, &devid, ak);
        refused(shown(&ca, &said).await, Code::Unauthenticated, why);
    }
    // The same in order, so that it is the attributes that are refused.
    shown(&ca, &made(&world, &machine, &devid, &ak)).await.unwrap();
    // And what is only said to be in order has another name than what was certified.
    let mut said = made(&world, &machine, &p256(without(devid_attributes(), free)), &ak);
    said.devid[4..8].copy_from_slice(&devid_attributes().0.to_be_bytes());
    refused(
        shown(&ca, &said).await,
        Code::Unauthenticated,
        "about another key",
    );
}

#[tokio::test]
async fn structures_that_are_none_are_refused_with_their_cause_and_cost_nothing() {
    let world = World::new();
    let ca = stage(&world).await;
    let machine = world.usual("n1");
    let good = machine.prepared().shown().clone();
    let huge = vec![0x80; 20_000];
    let change = |change: &dyn Fn(&mut Shown)| {
        let mut said = good.clone();
        change(&mut said);
        said
    };
    for (said, why) in [
        (change(&|said| said.devid.clone_from(&huge)), "too long"),
        (change(&|said| said.attestation_key.clone_from(&huge)), "too long"),
        (change(&|said| said.certification.clone_from(&huge)), "not signed"),
        (change(&|said| said.signature.clone_from(&huge)), "malformed"),
        (change(&|said| said.devid.clear()), "malformed"),
        (change(&|said| said.devid.push(0)), "malformed"),
        (change(&|said| said.attestation_key.truncate(20)), "malformed"),
        (change(&|said| said.signature.push(0)), "malformed"),
        (change(&|said| said.certification[10] ^= 1), "not signed"),
        (change(&|said| said.chain.clear()), "no certificate"),
    ] {
        refused(shown(&ca, &said).await, Code::Unauthenticated, why);
    }
    // What is longer still is not even read.
    let mut said = good.clone();
    said.devid = vec![0x80; 200_000];
    refused(shown(&ca, &said).await, Code::OutOfRange, "too large");
    let mut exchange = ca.connect().await.begin().await.unwrap();
    let mut nothing = evidence(&good, "n1", &request().1);
    nothing.proof = Some(Proof::TpmDevid(TpmDevidEvidence::default()));
    exchange.show(nothing).await;
    refused(exchange.asked().await, Code::Unauthenticated, "no certificate");
    // An attestation key in software with a fine signature over what is no statement of a TPM's.
    let ak = Software::new(ak_attributes());
    let mut said = good.clone();
    said.attestation_key.clone_from(&ak.public);
    (said.certification, said.signature) = ak.certify(&good.devid);
    shown(&ca, &said).await.unwrap();
    said.signature = good.signature.clone();
    refused(shown(&ca, &said).await, Code::Unauthenticated, "not signed");
}
