//! The Workload API, and Envoy's secret discovery, of an agent that is nothing but the CA's signing core, on a socket of its own.

#![expect(dead_code, reason = "each binary of tests uses its part")]

use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use futures::future::BoxFuture;
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::{PrivatePkcs8KeyDer, UnixTime};
use signet_attest::{EndpointTable, RequiredSelectors};
use signet_authority::{
    Authority, JwtAuthority, JwtSigningKey, RequestedKey, RevokedSerial, Serial, SigningKey,
};
use signet_interop::{Running, SvidEvent};
use signet_spiffe::{Audience, BundleSet, JwtBundleSet, SpiffeId, TrustDomain, X509Bundle};
use signet_workload_api::{
    Beside, JwtSvid, Limits, NoJwtSvid, Offer, Offers, RevocationList, SvidSource, X509Svid, serve_beside,
};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Bounds hangs; a working client answers in milliseconds, Python in a second or two.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// A workload: who it is, and the group that its processes run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) id: &'static str,
    pub(crate) gid: u32,
}

pub(crate) const SERVER: Workload = Workload {
    id: "spiffe://interop.test/ns/shop/sa/server",
    gid: 61001,
};
pub(crate) const CLIENT: Workload = Workload {
    id: "spiffe://interop.test/ns/shop/sa/client",
    gid: 61002,
};
pub(crate) const NOBODY: Workload = Workload {
    id: "spiffe://interop.test/ns/shop/sa/nobody",
    gid: 61003,
};
/// Of another trust domain.
pub(crate) const ABROAD: Workload = Workload {
    id: "spiffe://other.test/ns/shop/sa/client",
    gid: 61004,
};

struct Agent {
    offers: watch::Sender<Arc<Offers>>,
    endpoints: watch::Sender<Option<Arc<EndpointTable>>>,
    jwt: JwtAuthority,
}

impl SvidSource for Agent {
    fn offers(&self) -> watch::Receiver<Arc<Offers>> {
        self.offers.subscribe()
    }

    fn endpoints(&self) -> watch::Receiver<Option<Arc<EndpointTable>>> {
        self.endpoints.subscribe()
    }

    fn jwt_svid<'a>(
        &'a self,
        id: &'a SpiffeId,
        audience: &'a Audience,
    ) -> BoxFuture<'a, Result<Arc<JwtSvid>, NoJwtSvid>> {
        let life = Duration::from_mins(5);
        let issued = self
            .jwt
            .issue(id, audience, life, serial(), UnixTime::now())
            .unwrap();
        let svid = JwtSvid::new(issued.id, issued.token, issued.expires);
        Box::pin(async { Ok(Arc::new(svid)) })
    }
}

/// A served Workload API. `SERVER` and `CLIENT` are registered, `NOBODY` is not.
pub(crate) struct Served {
    dir: tempfile::TempDir,
    authority: Mutex<Authority>,
    agent: Arc<Agent>,
    issued: Mutex<Vec<Issued>>,
    /// Authorities beside the one that signs, of its own trust domain and of others.
    trusted: Mutex<Vec<X509Bundle>>,
    revoked: Mutex<Option<Arc<RevocationList>>>,
    runtime: Option<Runtime>,
}

struct Issued {
    workload: Workload,
    serial: Serial,
    svid: Arc<X509Svid>,
}

impl Served {
    pub(crate) fn new() -> Self {
        let served = Self::of("interop.test");
        served.register(SERVER);
        served.register(CLIENT);
        served
    }

    /// The agent of a trust domain without workloads.
    pub(crate) fn of(domain: &str) -> Self {
        let domain = TrustDomain::parse(domain).unwrap();
        let authority = Mutex::new(authority(&domain));
        let agent = Arc::new(Agent {
            offers: watch::Sender::new(Arc::new(Offers::starting())),
            endpoints: watch::Sender::new(Some(Arc::default())),
            jwt: JwtAuthority::new(domain, JwtSigningKey::generate().unwrap(), []).unwrap(),
        });
        let mut served = Self {
            dir: tempfile::tempdir().unwrap(),
            authority,
            agent,
            issued: Mutex::default(),
            trusted: Mutex::default(),
            revoked: Mutex::default(),
            runtime: None,
        };
        served.serve();
        served
    }

    fn serve(&mut self) {
        let runtime = Runtime::new().unwrap();
        let (socket, source) = (self.socket(), Arc::clone(&self.agent));
        let secrets = signet_sds::service().unwrap();
        runtime.spawn(async move {
            serve_beside(
                &socket,
                source,
                Limits::default(),
                secrets,
                std::future::pending(),
            )
            .await
            .unwrap();
        });
        let until = Instant::now() + PATIENCE;
        while UnixStream::connect(self.socket()).is_err() {
            assert!(Instant::now() < until, "the Workload API is not served");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.runtime = Some(runtime);
    }

    /// Ends the agent without a word to anybody.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Its socket must be closed before another one takes the place.
            runtime.shutdown_timeout(PATIENCE);
        }
    }

    /// Starts it again.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.serve();
    }

    /// Where it is served.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("workload.sock")
    }

    /// A folder for files of the test.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Makes a workload known, with an SVID.
    pub(crate) fn register(&self, workload: Workload) {
        let new = issue(&self.authority.lock().unwrap(), workload);
        self.issued.lock().unwrap().push(new);
        self.publish();
    }

    /// Makes a workload known, with an SVID from elsewhere.
    pub(crate) fn register_with(&self, workload: Workload, svid: Arc<X509Svid>) {
        self.issued.lock().unwrap().push(Issued {
            workload,
            serial: serial(),
            svid,
        });
        self.publish();
    }

    /// An SVID for a workload of another agent.
    pub(crate) fn svid(&self, workload: Workload) -> (Arc<X509Svid>, Serial) {
        let issued = issue(&self.authority.lock().unwrap(), workload);
        (issued.svid, issued.serial)
    }

    /// Tells that these are revoked, and nothing else. They are taken from nobody.
    pub(crate) fn revoke(&self, serials: &[Serial]) {
        let (authority, now) = (self.authority.lock().unwrap(), UnixTime::now());
        let revoked: Vec<_> = serials
            .iter()
            .map(|serial| RevokedSerial {
                serial: serial.as_bytes().to_vec(),
                at: now,
                reason: "keyCompromise".to_owned(),
            })
            .collect();
        let list = authority.revocation_list(&revoked, 1, now, DAY).unwrap();
        *self.revoked.lock().unwrap() = Some(Arc::new(RevocationList {
            trust_domain: authority.trust_domain().clone(),
            der: list.der,
            beside: Beside::default(),
        }));
        drop(authority);
        self.publish();
    }

    /// Takes a workload's identity back.
    pub(crate) fn deregister(&self, workload: Workload) {
        let mut issued = self.issued.lock().unwrap();
        issued.retain(|entry| entry.workload != workload);
        drop(issued);
        self.publish();
    }

    /// Trusts these beside its own authority, and no others.
    pub(crate) fn trust(&self, bundles: &[X509Bundle]) {
        *self.trusted.lock().unwrap() = bundles.to_vec();
        self.publish();
    }

    /// Its own authority, that signs.
    pub(crate) fn bundle(&self) -> X509Bundle {
        self.authority.lock().unwrap().bundle().clone()
    }

    /// An authority that is to follow the one that signs.
    pub(crate) fn successor(&self) -> Authority {
        authority(self.authority.lock().unwrap().trust_domain())
    }

    /// Lets another authority sign from now on, SVIDs that are there already too. The old one stays trusted.
    pub(crate) fn succeed(&self, successor: Authority) {
        for entry in self.issued.lock().unwrap().iter_mut() {
            *entry = issue(&successor, entry.workload);
        }
        *self.trusted.lock().unwrap() = vec![self.bundle()];
        *self.authority.lock().unwrap() = successor;
        self.publish();
    }

    /// SHA-256 of a workload's certificate, hexadecimal.
    pub(crate) fn digest(&self, workload: Workload) -> String {
        let issued = self.issued.lock().unwrap();
        let entry = issued.iter().find(|entry| entry.workload == workload).unwrap();
        let leaf = entry.svid.chain().first().unwrap();
        HEXLOWER.encode(digest(&SHA256, leaf).as_ref())
    }

    /// What a workload should see of itself now.
    pub(crate) fn current(&self, workload: Workload) -> SvidEvent {
        let issued = self.issued.lock().unwrap();
        let entry = issued.iter().find(|entry| entry.workload == workload).unwrap();
        SvidEvent {
            id: workload.id.to_owned(),
            serial: entry.serial.to_string().trim_start_matches('0').to_owned(),
        }
    }

    /// Renews the SVID of a workload, with a new key.
    pub(crate) fn rotate(&self, workload: Workload) {
        for entry in self.issued.lock().unwrap().iter_mut() {
            if entry.workload == workload {
                *entry = issue(&self.authority.lock().unwrap(), workload);
            }
        }
        self.publish();
    }

    fn publish(&self) {
        let issued = self.issued.lock().unwrap();
        let offer = |entry: &Issued| {
            let selector = format!("unix:gid:{}", entry.workload.gid);
            Offer::ready(
                RequiredSelectors::parse(&[selector]).unwrap(),
                Arc::clone(&entry.svid),
            )
        };
        let own = self.bundle();
        let mut bundles = BundleSet::single(own.clone());
        for trusted in self.trusted.lock().unwrap().iter() {
            let mut authorities = trusted.authorities().to_vec();
            if trusted.trust_domain() == own.trust_domain() {
                authorities.extend_from_slice(own.authorities());
                // The order says nothing: the same authorities are the same bundle.
                authorities.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
            }
            bundles.insert(X509Bundle::new(trusted.trust_domain().clone(), authorities).unwrap());
        }
        let keys = Arc::new(JwtBundleSet::single(self.agent.jwt.bundle().clone()));
        let offers = Offers::new(issued.iter().map(offer).collect(), Arc::new(bundles))
            .unwrap()
            .with_jwt_bundles(keys)
            .with_revocation_list(self.revoked.lock().unwrap().clone());
        self.agent.offers.send_replace(Arc::new(offers));
    }

    /// Starts a client as a process of a workload.
    pub(crate) fn start(&self, workload: Workload, program: &[String], arguments: &[&str]) -> Running {
        let socket = self.socket();
        let [program, first @ ..] = program else {
            panic!("no program");
        };
        let mut command = Command::new(program);
        command
            .args(first)
            .args(arguments)
            .gid(workload.gid)
            .env("SPIFFE_ENDPOINT_SOCKET", format!("unix://{}", socket.display()));
        Running::start(&mut command, PATIENCE).unwrap()
    }
}

fn authority(domain: &TrustDomain) -> Authority {
    let key = SigningKey::generate().unwrap();
    Authority::create(domain.clone(), key, serial(), UnixTime::now(), DAY).unwrap()
}

fn issue(authority: &Authority, workload: Workload) -> Issued {
    let id = SpiffeId::parse(workload.id).unwrap();
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    let requested = RequestedKey::from_request(request.der()).unwrap();
    let issued = authority
        .issue(
            &requested,
            &id,
            Duration::from_hours(1),
            serial(),
            UnixTime::now(),
        )
        .unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Issued {
        workload,
        serial: issued.serial,
        svid: Arc::new(X509Svid::new(id, issued.chain, key).unwrap()),
    }
}

fn serial() -> Serial {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    Serial::from_random(bytes)
}
