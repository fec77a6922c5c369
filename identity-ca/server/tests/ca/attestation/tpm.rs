//! By a device identity in a TPM: real ones of swtpm, and who is admitted.

use std::path::Path;

use rcgen::PublicKeyData as _;
use signet_ca::{AttestationConfig, NameRule, Storage, TpmDevid, X509Pop};
use signet_devid::{Address, Directory, Kind, Passwords, Prepared, Shown, Tpm, Wanted, create};
use signet_log::Caller;
use signet_node_attest::{ChannelBinding, Method, Transcript};
use signet_proto::ca::v1::node_evidence::Proof;
use signet_proto::ca::v1::{
    BanNodeRequest, EvictNodeRequest, NodeAnswer, NodeChallenge, NodeEvidence, ReadLogRequest,
    TpmDevidEvidence,
};
use signet_spiffe::{CertificateDer, NodeName, UnixTime, verify_x509_svid};
use signet_swtpm::{Authority, Swtpm};
use signet_tpm::template;
use tempfile::TempDir;
use tonic::{Code, Status};

use super::exchange::Attested;
use crate::running::{Running, chain, request};

/// Who issues device identities, and who makes TPMs.
pub(super) struct World {
    pub(super) owner: Authority,
    pub(super) maker: Authority,
}

/// A machine with a TPM and a device identity in it.
pub(super) struct Machine {
    pub(super) tpm: Swtpm,
    pub(super) home: TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            owner: Authority::new("owner").unwrap(),
            maker: Authority::new("maker").unwrap(),
        }
    }

    /// A CA that believes both, and certificates without a TPM, too.
    pub(super) async fn ca(&self, name: Option<NameRule>) -> Running {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("owner.pem"), self.owner.pem()).unwrap();
        std::fs::write(at("maker.pem"), self.maker.pem()).unwrap();
        let (authorities, endorsements) = (at("owner.pem"), at("maker.pem"));
        let believe = |config: &mut signet_ca::Config| {
            config.attestation = AttestationConfig {
                x509pop: Some(X509Pop {
                    authorities: authorities.clone(),
                    name: None,
                }),
                tpm_devid: Some(TpmDevid {
                    authorities,
                    endorsements,
                    name,
                }),
            };
        };
        Running::configured(Storage::Memory, directory, believe)
            .await
            .unwrap()
    }

    /// A TPM of the maker's, with this endorsement key, and a device identity from the owner.
    pub(super) fn machine(&self, name: &str, endorsement: &[u8], kind: Kind) -> Machine {
        let machine = Machine::blank();
        let mut tpm = machine.open();
        let key = tpm.endorsement(endorsement).unwrap();
        let certificate = self.maker.endorse(&key.public.key().to_spki()).unwrap();
        drop(tpm);
        std::fs::write(machine.home.path().join("ek.pem"), certificate).unwrap();
        self.equip(machine, name, kind)
    }

    /// With a device identity.
    pub(super) fn equip(&self, machine: Machine, name: &str, kind: Kind) -> Machine {
        let wanted = Wanted {
            kind,
            common_name: name.to_owned(),
            dns: vec![format!("{name}.example")],
        };
        let directory = machine.directory();
        let made = create(&machine.address(), &Passwords::default(), &directory, &wanted).unwrap();
        made.endorsement.unwrap();
        let certificate = self.owner.grant(&made.request).unwrap();
        std::fs::write(directory.certificate(), certificate).unwrap();
        machine
    }

    pub(super) fn usual(&self, name: &str) -> Machine {
        self.machine(name, &template::endorsement_p256(), Kind::P256)
    }
}

impl Machine {
    pub(super) fn blank() -> Self {
        Self {
            tpm: Swtpm::start().unwrap(),
            home: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn address(&self) -> Address {
        self.tpm.address().parse().unwrap()
    }

    pub(super) fn open(&self) -> Tpm {
        Tpm::open(&self.address(), &Passwords::default()).unwrap()
    }

    pub(super) fn directory(&self) -> Directory {
        Directory::new(self.home.path())
    }

    pub(super) fn prepared(&self) -> Prepared {
        Prepared::new(&self.address(), &Passwords::default(), &self.directory()).unwrap()
    }
}

pub(super) fn evidence(shown: &Shown, node: &str, csr: &[u8]) -> NodeEvidence {
    let shown = shown.clone();
    NodeEvidence {
        node: node.to_owned(),
        csr: csr.to_vec(),
        proof: Some(Proof::TpmDevid(TpmDevidEvidence {
            chain: shown.chain,
            devid_public: shown.devid,
            attestation_key_public: shown.attestation_key,
            certification: shown.certification,
            certification_signature: shown.signature,
            endorsement_chain: shown.endorsement_chain,
        })),
    }
}

/// What is signed, with this for what the TPM has opened.
pub(super) fn to_sign(
    leaf: &[u8],
    node: &str,
    csr: &[u8],
    nonce: &[u8],
    binding: &ChannelBinding,
    secret: &[u8],
) -> Vec<u8> {
    Transcript {
        method: Method::TpmDevid,
        node: &NodeName::parse(node).unwrap(),
        nonce: nonce.try_into().unwrap(),
        binding,
        certificate: &CertificateDer::from(leaf),
        request: csr,
        secret,
    }
    .to_sign()
}

/// The answer of a node that does what it should.
pub(super) fn answer(
    prepared: &mut Prepared,
    node: &str,
    csr: &[u8],
    challenge: &NodeChallenge,
    binding: &ChannelBinding,
) -> NodeAnswer {
    let credential = challenge.tpm.as_ref().unwrap();
    let secret = prepared
        .open(&credential.blob, &credential.encrypted_secret)
        .unwrap();
    let leaf = prepared.shown().chain[0].clone();
    let message = to_sign(&leaf, node, csr, &challenge.nonce, binding, &secret);
    let (scheme, signature) = prepared.sign(&message).unwrap();
    NodeAnswer {
        scheme: scheme.into(),
        signature,
    }
}

impl Running {
    /// All of it, as it should be.
    pub(super) async fn attest_in(&self, machine: &Machine, node: &str) -> Result<Attested, Status> {
        let mut prepared = machine.prepared();
        let connection = self.connect().await;
        let (key, csr) = request();
        let mut exchange = connection.begin().await?;
        exchange.show(evidence(prepared.shown(), node, &csr)).await;
        let challenge = exchange.asked().await?;
        let answer = answer(&mut prepared, node, &csr, &challenge, &connection.binding);
        let answer = exchange.answer(answer).await?;
        Ok(Attested { key, answer })
    }
}

pub(super) fn refused(outcome: Result<impl Sized, Status>, code: Code, why: &str) {
    let status = outcome.map(drop).unwrap_err();
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(why), "{status}");
}

fn ek_sha256(pem: &Path) -> String {
    let chain = Directory::chain(pem).unwrap();
    let parsed = rcgen::SubjectPublicKeyInfo::from_der(
        x509_parser::parse_x509_certificate(&chain[0])
            .unwrap()
            .1
            .public_key()
            .raw,
    );
    let spki = parsed.unwrap().subject_public_key_info();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki);
    format!(
        "tpm_devid ek-sha256:{}",
        data_encoding::HEXLOWER.encode(digest.as_ref())
    )
}

#[tokio::test]
async fn a_device_identity_in_a_believed_tpm_is_admitted_with_every_kind_of_key() {
    let world = World::new();
    let ca = world.ca(None).await;
    for (node, endorsement, kind) in [
        ("n1", template::endorsement_p256(), Kind::P256),
        ("n2", template::endorsement_rsa(), Kind::Rsa2048),
    ] {
        let machine = world.machine(node, &endorsement, kind);
        let way = format!("tpm_devid dns:{node}.example");
        ca.allow(node, &[], &[&way]).await.unwrap();
        let attested = ca.attest_in(&machine, node).await.unwrap();
        let svid = attested.answer.svid.unwrap();
        let verified = verify_x509_svid(&chain(&svid), &ca.bundles(), UnixTime::now()).unwrap();
        assert_eq!(verified.id().as_str(), format!("spiffe://td/signet/node/{node}"));
    }
}

#[tokio::test]
async fn a_tpm_as_its_maker_delivers_it_has_its_own_certificate() {
    let mut world = World::new();
    let tpm = Swtpm::manufactured().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("owner.pem"), world.owner.pem()).unwrap();
    std::fs::copy(tpm.issuer(), at("maker.pem")).unwrap();
    world.maker = Authority::new("another maker").unwrap();
    let (authorities, endorsements) = (at("owner.pem"), at("maker.pem"));
    let believe = |config: &mut signet_ca::Config| {
        config.attestation.tpm_devid = Some(TpmDevid {
            authorities,
            endorsements,
            name: Some(NameRule::CommonName),
        });
    };
    let ca = Running::configured(Storage::Memory, directory, believe)
        .await
        .unwrap();
    let home = tempfile::tempdir().unwrap();
    let machine = world.equip(Machine { tpm, home }, "n1", Kind::P256);
    ca.allow("n1", &[], &["tpm_devid"]).await.unwrap();
    ca.attest_in(&machine, "n1").await.unwrap();
    // And its keys outlive the power.
    let mut machine = machine;
    machine.tpm.stop();
    machine.tpm.run().unwrap();
    ca.attest_in(&machine, "n1").await.unwrap();
}

#[tokio::test]
async fn an_entry_may_ask_for_one_very_tpm() {
    let world = World::new();
    let ca = world.ca(None).await;
    let (machine, other) = (world.usual("n1"), world.usual("n1"));
    ca.allow("n1", &[], &[&ek_sha256(&machine.directory().endorsement())])
        .await
        .unwrap();
    refused(
        ca.attest_in(&other, "n1").await,
        Code::PermissionDenied,
        "ek-sha256",
    );
    ca.attest_in(&machine, "n1").await.unwrap();
    // What is known of the certificate can be asked for, too; and all that is asked for has to be there.
    for (way, good) in [
        ("tpm_devid issuer-cn:owner", true),
        ("tpm_devid cn:n1", true),
        ("tpm_devid issuer-cn:maker", false),
        ("tpm_devid serial:01", false),
    ] {
        ca.allow("n1", &[], &[way]).await.unwrap();
        assert_eq!(ca.attest_in(&machine, "n1").await.is_ok(), good, "{way}");
    }
}

#[tokio::test]
async fn a_node_that_comes_back_keeps_its_number_and_a_banned_one_stays_out() {
    let world = World::new();
    let ca = world.ca(Some(NameRule::Dns)).await;
    let machine = world.usual("n1");
    let allow = || ca.allow("n1", &["10.244.1.0/24"], &["tpm_devid"]);
    allow().await.unwrap();
    let number = async || {
        let attested = ca.attest_in(&machine, "n1").await.unwrap();
        attested.answer.node.unwrap().id
    };
    let first = number().await;
    assert_eq!(number().await, first);
    ca.allow("n2", &[], &["tpm_devid"]).await.unwrap();
    refused(
        ca.attest_in(&machine, "n2").await,
        Code::PermissionDenied,
        "not for the node n2",
    );
    let ban = BanNodeRequest {
        node: "n1".into(),
        reason: "stolen".into(),
        rehearse: false,
    };
    ca.operator.clone().ban_node(ban).await.unwrap();
    let outcome = ca.attest_in(&machine, "n1").await;
    refused(outcome, Code::PermissionDenied, "banned: stolen");
    let evict = EvictNodeRequest {
        node: "n1".into(),
        reason: "found again".into(),
        rehearse: false,
    };
    ca.operator.clone().evict_node(evict).await.unwrap();
    let outcome = ca.attest_in(&machine, "n1").await;
    refused(outcome, Code::PermissionDenied, "may not attest");
    allow().await.unwrap();
    assert_eq!(number().await, first);
}

#[tokio::test]
async fn the_issuance_log_names_the_device_identity() {
    let world = World::new();
    let ca = world.ca(None).await;
    let machine = world.usual("n1");
    ca.allow("n1", &[], &["tpm_devid dns:n1.example"]).await.unwrap();
    ca.attest_in(&machine, "n1").await.unwrap();
    let request = ReadLogRequest { start: 0, limit: 0 };
    let mut read = ca.operator.clone().read_log(request).await.unwrap().into_inner();
    let mut named = 0;
    while let Some(page) = read.message().await.unwrap() {
        for entry in page.entries {
            let entry = signet_log::Entry::decode(&entry.leaf).unwrap();
            named += usize::from(matches!(entry.caller, Caller::TpmDevid(sha256) if sha256 != [0; 32]));
        }
    }
    assert!(named >= 2, "the node's entry and its first SVID: {named}");
}

#[tokio::test]
async fn each_way_is_open_by_itself() {
    let world = World::new();
    let ca = world.ca(None).await;
    let machine = world.usual("n1");
    // The certificate would do for x509pop: the entry decides.
    ca.allow("n1", &[], &["x509pop dns:n1.example"]).await.unwrap();
    refused(
        ca.attest_in(&machine, "n1").await,
        Code::PermissionDenied,
        "by tpm_devid",
    );
    let ca = Running::in_memory().await;
    ca.allow("n1", &[], &["tpm_devid dns:n1.example"]).await.unwrap();
    refused(
        ca.attest_in(&machine, "n1").await,
        Code::FailedPrecondition,
        "--tpm-devid-ca",
    );
}
