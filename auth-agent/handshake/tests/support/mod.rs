//! A certificate authority, workloads, and a wire for tests.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: what fails here is the test"
)]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use signet_handshake::{
    AwaitingConfirm, Binding, Credentials, HandshakeError, Initiator, Limits, Now, Party, Progress, Proof,
    Responder,
};
use signet_spiffe::{BundleSet, SpiffeId, TrustDomain, UnixTime, X509Bundle, verify_x509_svid};
use signet_tls::{BundleSource, SvidKeyPair};

#[derive(Debug)]
pub(crate) struct Bundles(Arc<BundleSet>);

impl BundleSource for Bundles {
    fn bundles(&self) -> Arc<BundleSet> {
        self.0.clone()
    }
}

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    bundle: X509Bundle,
}

pub(crate) fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).expect("valid")
}

pub(crate) fn now() -> Now {
    Now {
        clock: Instant::now(),
        unix: UnixTime::now(),
    }
}

impl Authority {
    pub(crate) fn new(domain: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "test root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(&format!("spiffe://{domain}"))];
        let certificate = params.self_signed(&key).expect("a root");
        let domain = TrustDomain::parse(domain).expect("valid");
        let bundle = X509Bundle::new(domain, vec![certificate.der().clone()]).expect("a bundle");
        Self {
            issuer: Issuer::new(params, key),
            bundle,
        }
    }

    pub(crate) fn bundles(&self) -> Arc<dyn BundleSource> {
        Arc::new(Bundles(Arc::new(self.set())))
    }

    pub(crate) fn set(&self) -> BundleSet {
        BundleSet::single(self.bundle.clone())
    }

    /// An SVID that is valid for the next `seconds`.
    pub(crate) fn issue(&self, id: &SpiffeId, seconds: u64) -> Arc<Credentials> {
        let end = SystemTime::now() + Duration::from_secs(seconds);
        Arc::new(self.credentials(self.leaf(id, end), UnixTime::now()))
    }

    /// An SVID that has expired a minute ago. Only an attacker has credentials with one.
    pub(crate) fn issue_expired(&self, id: &SpiffeId) -> Arc<Credentials> {
        let pair = self.leaf(id, SystemTime::now() - Duration::from_mins(1));
        Arc::new(self.credentials(pair, an_hour_ago()))
    }

    pub(crate) fn credentials(&self, pair: SvidKeyPair, at: UnixTime) -> Credentials {
        let verified = verify_x509_svid(&pair.chain[..1], &self.set(), at).expect("verifies");
        Credentials::new(pair, &verified)
    }

    pub(crate) fn leaf(&self, id: &SpiffeId, end: SystemTime) -> SvidKeyPair {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.subject_alt_names = vec![uri(id.as_str())];
        params.not_before = (SystemTime::now() - Duration::from_hours(2)).into();
        params.not_after = end.into();
        let certificate = params.signed_by(&key, &self.issuer).expect("a leaf");
        SvidKeyPair {
            chain: vec![CertificateDer::from(certificate.der().to_vec())],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        }
    }
}

pub(crate) fn an_hour_ago() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() - 3600))
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("IA5"))
}

pub(crate) fn binding(exporter: u8) -> Binding {
    Binding::new(
        [exporter; 32],
        id("spiffe://t.example/signet/node/a"),
        id("spiffe://t.example/signet/node/b"),
    )
}

pub(crate) fn party(ca: &Authority, local: &Arc<Credentials>, remote: &SpiffeId) -> Party {
    Party {
        local: local.clone(),
        remote: remote.clone(),
        bundles: ca.bundles(),
        binding: binding(7),
        limits: Limits::default(),
    }
}

/// Both sides of a completed inner handshake, before their confirmations are exchanged.
pub(crate) struct Meeting {
    pub(crate) initiator: AwaitingConfirm,
    pub(crate) initiator_mac: [u8; 32],
    pub(crate) responder: AwaitingConfirm,
    pub(crate) responder_mac: [u8; 32],
}

/// Which side refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    Initiator(HandshakeError),
    Responder(HandshakeError),
}

/// Carries records between the two until both are complete or one refuses. `tamper` sees every message.
pub(crate) fn meet_over(
    initiator: Party,
    responder: Party,
    mut tamper: impl FnMut(&mut Vec<u8>),
) -> Result<Meeting, Refusal> {
    let at = now();
    let (initiator, mut hello) = Initiator::start(initiator, at).map_err(Refusal::Initiator)?;
    tamper(&mut hello);
    let (responder, mut flight) =
        match Responder::accept(responder, &hello, at).map_err(Refusal::Responder)? {
            Progress::More { state, records } => (state, records),
            Progress::Complete { .. } => panic!("complete after one message"),
        };
    tamper(&mut flight);
    let (initiator, mut finish, initiator_mac) =
        match initiator.on_records(&flight, at).map_err(Refusal::Initiator)? {
            Progress::Complete { state, records, mac } => (state, records, mac),
            Progress::More { .. } => return Err(Refusal::Initiator(HandshakeError::Deadline)),
        };
    tamper(&mut finish);
    match responder.on_records(&finish, at).map_err(Refusal::Responder)? {
        Progress::Complete { state, records, mac } => {
            assert!(records.is_empty(), "no tickets");
            Ok(Meeting {
                initiator,
                initiator_mac,
                responder: state,
                responder_mac: mac,
            })
        }
        Progress::More { .. } => Err(Refusal::Responder(HandshakeError::Deadline)),
    }
}

pub(crate) fn meet(initiator: Party, responder: Party) -> Result<Meeting, Refusal> {
    meet_over(initiator, responder, |_| {})
}

impl Meeting {
    /// Exchanges the confirmations: the initiator's and the responder's results.
    pub(crate) fn confirm(self) -> (Result<Proof, HandshakeError>, Result<Proof, HandshakeError>) {
        let at = now();
        let responder = self.responder.on_confirm(&self.initiator_mac, at);
        (self.initiator.on_confirm(&self.responder_mac, at), responder)
    }
}
