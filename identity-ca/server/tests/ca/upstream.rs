//! A CA whose authorities somebody else signs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::pem::PemObject as _;
use signet_ca::{AuditLog, DiskUpstream, Operations, Storage, Upstream};
use signet_keys::SecretFile;
use signet_proto::ca::v1::authority_service_client::AuthorityServiceClient;
use signet_proto::ca::v1::upstream_service_client::UpstreamServiceClient;
use signet_proto::ca::v1::{
    ActivateAuthorityRequest, Authority, ImportAuthorityRequest, IssueX509SvidRequest,
    ListAuthoritiesRequest, PrepareAuthorityRequest, RequestAuthorityRequest,
};
use signet_spiffe::{BundleSet, CertificateDer, UnixTime, X509Bundle, verify_x509_svid};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::audit::lines;
use crate::running::{Running, TestNode, chain, domain, request};

/// A root, in files.
pub(crate) struct Root {
    certificate: PathBuf,
    key: PathBuf,
}

impl Root {
    pub(crate) fn new(directory: &Path, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "An Offline Root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let root = Self {
            certificate: directory.join("root.pem"),
            key: directory.join("root.key"),
        };
        fs::write(&root.certificate, certificate.pem()).unwrap();
        fs::write(&root.key, key.serialize_pem()).unwrap();
        fs::set_permissions(&root.key, fs::Permissions::from_mode(0o600)).unwrap();
        root
    }

    pub(crate) fn upstream(&self) -> Upstream {
        Upstream::Disk(DiskUpstream {
            certificate: self.certificate.clone(),
            key: SecretFile::new(&self.key),
        })
    }

    fn bundle(&self) -> X509Bundle {
        X509Bundle::from_pem(domain(), &fs::read_to_string(&self.certificate).unwrap()).unwrap()
    }
}

pub(crate) async fn start(home: &Path, upstream: Upstream) -> Result<Running, String> {
    let storage = Storage::Directory(home.join("data"));
    let started = Running::configured(storage, tempfile::tempdir().unwrap(), |config| {
        config.upstream = upstream;
        config.rotation.publish_interval = Duration::ZERO;
        config.rotation.automatic = false;
    });
    started.await.map_err(|error| format!("{error:#}"))
}

fn authorities(ca: &Running) -> AuthorityServiceClient<Channel> {
    let socket = ca.directory.path().join("ca.sock");
    AuthorityServiceClient::new(signet_uds::connect(&socket).unwrap())
}

fn upstream(ca: &Running) -> UpstreamServiceClient<Channel> {
    let socket = ca.directory.path().join("ca.sock");
    UpstreamServiceClient::new(signet_uds::connect(&socket).unwrap())
}

pub(crate) async fn prepare(ca: &Running) -> Result<Authority, Status> {
    let kind = "x509".to_owned();
    let done = authorities(ca)
        .prepare_authority(PrepareAuthorityRequest { kind })
        .await?;
    Ok(done.into_inner().authority.unwrap())
}

pub(crate) async fn activate(ca: &Running) {
    let order = ActivateAuthorityRequest {
        kind: "x509".to_owned(),
        ..ActivateAuthorityRequest::default()
    };
    authorities(ca).activate_authority(order).await.unwrap();
}

async fn csr(ca: &Running) -> String {
    upstream(ca)
        .request_authority(RequestAuthorityRequest {})
        .await
        .unwrap()
        .into_inner()
        .csr
}

async fn import(ca: &Running, chain: String) -> Result<Authority, Status> {
    let done = upstream(ca)
        .import_authority(ImportAuthorityRequest { chain })
        .await?;
    Ok(done.into_inner().authority.unwrap())
}

async fn leaf(ca: &Running, node: &TestNode, name: &str) -> Vec<CertificateDer<'static>> {
    let id = format!("spiffe://td/{name}");
    let registration = ca.register(&id, "n1", "unix:uid:1").await.unwrap().id;
    let (_, csr) = request();
    let call = IssueX509SvidRequest { registration, csr };
    chain(
        &node
            .client
            .clone()
            .issue_x509_svid(call)
            .await
            .unwrap()
            .into_inner(),
    )
}

#[tokio::test]
async fn an_offline_root_signs_intermediates_and_may_be_away_otherwise() {
    let home = tempfile::tempdir().unwrap();
    let root = Root::new(home.path(), |_| {});
    let ca = start(home.path(), root.upstream()).await.unwrap();
    assert_eq!(ca.server.bundle().authorities(), root.bundle().authorities());
    let node = ca.node("n1", &[]).await;
    let web = leaf(&ca, &node, "web").await;
    assert_eq!(web.len(), 2, "the intermediate goes with the leaf");
    let bundles = BundleSet::single(root.bundle());
    let verified = verify_x509_svid(&web, &bundles, UnixTime::now()).unwrap();
    assert_eq!(verified.id().as_str(), "spiffe://td/web");
    ca.stop().await;

    // Into the safe.
    let safe = home.path().join("safe");
    fs::rename(&root.key, &safe).unwrap();
    let ca = start(home.path(), root.upstream()).await.unwrap();
    let node = ca.node("n1", &[]).await;
    leaf(&ca, &node, "api").await;
    let away = prepare(&ca).await.unwrap_err();
    assert!(away.message().contains("root.key"), "{away}");
    fs::rename(&safe, &root.key).unwrap();
    let prepared = prepare(&ca).await.unwrap();
    assert_eq!(prepared.state, "prepared");
    fs::rename(&root.key, &safe).unwrap();
    activate(&ca).await;
    let next = leaf(&ca, &node, "next").await;
    assert_ne!(next[1], web[1], "another intermediate");
    let _ = verify_x509_svid(&next, &bundles, UnixTime::now()).unwrap();
    assert_eq!(ca.server.bundle().authorities().len(), 1, "below the same root");
    ca.stop().await;
}

#[tokio::test]
async fn a_root_that_does_not_fit_is_refused_before_there_is_anything() {
    let refusal = |change: fn(&mut CertificateParams)| async move {
        let home = tempfile::tempdir().unwrap();
        let root = Root::new(home.path(), change);
        start(home.path(), root.upstream()).await.map(drop).unwrap_err()
    };
    let foreign = refusal(|root| {
        root.subject_alt_names = vec![SanType::URI("spiffe://other".try_into().unwrap())];
    });
    assert!(foreign.await.contains("trust domain other"));
    let no_room = refusal(|root| root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    assert!(no_room.await.contains("pathlen"));
    let ended = refusal(|root| root.not_after = rcgen::date_time_ymd(2020, 1, 1)).await;
    assert!(ended.contains("not valid now"), "{ended}");

    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = Root::new(home.path(), |_| {});
    let wrong = Root::new(other.path(), |_| {});
    fs::copy(&wrong.key, &root.key).unwrap();
    let key = start(home.path(), root.upstream()).await.map(drop).unwrap_err();
    assert!(key.contains("another key"), "{key}");
    fs::set_permissions(&root.key, fs::Permissions::from_mode(0o644)).unwrap();
    let open = start(home.path(), root.upstream()).await.map(drop).unwrap_err();
    assert!(open.contains("open to others"), "{open}");
}

/// Somebody else's CA, on the command line.
struct OpenSsl {
    home: PathBuf,
}

impl OpenSsl {
    fn new(home: &Path) -> Self {
        let openssl = Self {
            home: home.to_owned(),
        };
        let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout corp.key -out corp.pem -days 3650 \
                   -subj /CN=Corp -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign";
        openssl.run(new);
        openssl
    }

    fn run(&self, arguments: &str) {
        let done = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(&self.home)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Signs a request; returns the chain.
    fn sign(&self, csr: &str, extensions: &str) -> String {
        fs::write(self.home.join("signet.csr"), csr).unwrap();
        fs::write(self.home.join("extensions"), extensions).unwrap();
        self.run(
            "x509 -req -in signet.csr -CA corp.pem -CAkey corp.key -CAcreateserial -days 365 -extfile extensions -out signet.pem",
        );
        let own = fs::read_to_string(self.home.join("signet.pem")).unwrap();
        own + &fs::read_to_string(self.home.join("corp.pem")).unwrap()
    }
}

const EXTENSIONS: &str = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n\
    subjectKeyIdentifier=hash\nsubjectAltName=URI:spiffe://td\n";

#[tokio::test]
async fn another_ca_signs_by_files_and_its_root_takes_over() {
    let home = tempfile::tempdir().unwrap();
    let corporate = OpenSsl::new(home.path());
    let ca = start(home.path(), Upstream::Files).await.unwrap();
    let own = ca.server.bundle().clone();
    let waits = prepare(&ca).await.unwrap_err();
    assert!(waits.message().contains("signet ca authority csr"), "{waits}");
    let asked = csr(&ca).await;
    ca.stop().await;
    // It takes days, and the CA is started anew meanwhile.
    let ca = start(home.path(), Upstream::Files).await.unwrap();
    let node = ca.node("n1", &[]).await;
    let signed = corporate.sign(&asked, EXTENSIONS);
    let prepared = import(&ca, signed.clone()).await.unwrap();
    assert_eq!(prepared.state, "prepared");
    let again = import(&ca, signed).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    activate(&ca).await;
    let web = leaf(&ca, &node, "web").await;
    let root = fs::read_to_string(home.path().join("corp.pem")).unwrap();
    let root = X509Bundle::from_pem(domain(), &root).unwrap();
    assert_eq!(web.len(), 2);
    let _ = verify_x509_svid(&web, &BundleSet::single(root), UnixTime::now()).unwrap();
    verify_x509_svid(&web, &BundleSet::single(own), UnixTime::now()).unwrap_err();
    // As the foreign CA's own tools see it.
    let pem = |number: usize| {
        let path = home.path().join(format!("{number}.der"));
        fs::write(path, &web[number]).unwrap();
        corporate.run(&format!("x509 -inform der -in {number}.der -out {number}.pem"));
    };
    pem(0);
    pem(1);
    corporate.run("verify -CAfile corp.pem -untrusted 1.pem 0.pem");
    ca.stop().await;
}

#[tokio::test]
async fn a_chain_that_breaks_a_rule_is_refused_and_the_key_goes_on_waiting() {
    let home = tempfile::tempdir().unwrap();
    let corporate = OpenSsl::new(home.path());
    let ca = start(home.path(), Upstream::Files).await.unwrap();
    let asked = csr(&ca).await;
    let count = || async {
        let all = authorities(&ca).list_authorities(ListAuthoritiesRequest {}).await;
        all.unwrap().into_inner().authorities.len()
    };
    let before = count().await;
    for (extensions, told) in [
        (
            EXTENSIONS.replace("spiffe://td", "spiffe://other"),
            "trust domain other",
        ),
        (EXTENSIONS.replace("CA:TRUE,pathlen:0", "CA:FALSE"), "refused"),
        (EXTENSIONS.replace("keyCertSign", "digitalSignature"), "refused"),
        (EXTENSIONS.replace("spiffe://td", "spiffe://td/ca"), "path"),
    ] {
        let refused = import(&ca, corporate.sign(&asked, &extensions))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(told), "{refused}");
    }
    let good = corporate.sign(&asked, EXTENSIONS);
    let no_root = good[..good.len() / 2].rfind("-----BEGIN").map_or("", |_| {
        let (own, _) = good.split_once("-----END CERTIFICATE-----\n").unwrap();
        own
    });
    let no_root = import(&ca, format!("{no_root}-----END CERTIFICATE-----\n"))
        .await
        .unwrap_err();
    assert!(no_root.message().contains("self-signed root"), "{no_root}");
    for bad in [
        "",
        "x",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert_eq!(
            import(&ca, bad.to_owned()).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
    // Of a key that never was this CA's.
    corporate.run(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout x.key -out x.csr -subj /CN=x",
    );
    let other = fs::read_to_string(home.path().join("x.csr")).unwrap();
    let other = import(&ca, corporate.sign(&other, EXTENSIONS)).await.unwrap_err();
    assert_eq!(other.code(), Code::FailedPrecondition);
    assert_eq!(count().await, before);
    import(&ca, good).await.unwrap();
    ca.stop().await;
}

#[tokio::test]
async fn what_is_asked_of_another_ca_and_taken_from_it_is_in_the_audit_stream() {
    let home = tempfile::tempdir().unwrap();
    let corporate = OpenSsl::new(home.path());
    let log = home.path().join("audit.log");
    let audit = Some(AuditLog::File(log.clone()));
    let storage = Storage::Directory(home.path().join("data"));
    let ca = Running::configured(storage, tempfile::tempdir().unwrap(), |config| {
        config.upstream = Upstream::Files;
        config.operations = Operations {
            audit,
            ..Operations::default()
        };
    });
    let ca = ca.await.unwrap();
    let asked = csr(&ca).await;
    import(&ca, "x".to_owned()).await.unwrap_err();
    let signed = corporate.sign(&asked, EXTENSIONS);
    let certificates = CertificateDer::pem_slice_iter(signed.as_bytes());
    let digests: Vec<_> = certificates
        .map(|der| signet_log::Hash::sha256(&der.unwrap()).to_string())
        .collect();
    let prepared = import(&ca, signed).await.unwrap();
    let there = lines(&log);
    let of = |call: &str, outcome: &str| {
        let found: Vec<_> = there
            .iter()
            .filter(|line| line["call"] == call && line["outcome"] == outcome)
            .collect();
        found
    };
    let asked = of("RequestAuthority", "done");
    let taken = of("ImportAuthority", "done");
    assert_eq!((asked.len(), taken.len()), (1, 1), "{there:#?}");
    assert_eq!(asked[0]["who"]["role"], "admin");
    assert!(asked[0]["what"]["public_key"].is_string(), "{}", asked[0]);
    // The certificate is of the key that it was asked for.
    assert_eq!(taken[0]["what"]["public_key"], asked[0]["what"]["public_key"]);
    assert_eq!(taken[0]["what"]["authority"], prepared.id.as_str());
    let begun = of("ImportAuthority", "begun");
    let begun = begun.iter().find(|line| line["id"] == taken[0]["id"]).unwrap();
    for line in [begun, &taken[0]] {
        assert_eq!(line["what"]["certificates"], 2);
        assert_eq!(line["what"]["certificate"], digests[0].as_str());
        assert_eq!(line["what"]["root"], digests[1].as_str());
    }
    let refused = of("ImportAuthority", "refused");
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["code"], "invalid_argument");
    assert!(refused[0]["reason"].is_string());
    ca.stop().await;
}
