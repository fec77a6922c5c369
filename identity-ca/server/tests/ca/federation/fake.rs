//! An endpoint that answers as it is told to.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use signet_spiffe::{JwtBundle, SpiffeBundle, TrustDomain, WitBundle, X509Bundle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::peer::anywhere;

type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Listens until it is dropped.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    answer: watch::Sender<Vec<u8>>,
    task: tokio::task::JoinHandle<()>,
}

impl Fake {
    /// Answers with this document.
    pub(crate) async fn start((chain, key): Shown, document: &str) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(anywhere()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = watch::Sender::new(Vec::new());
        let answers = answer.subscribe();
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, answer) = (acceptor.clone(), answers.borrow().clone());
                tokio::spawn(async move {
                    let Ok(mut tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let mut request = [0; 4096];
                    // One read has all of a request that small. Whoever does not like the answer hangs up.
                    let _ = tls.read(&mut request).await;
                    let _ = tls.write_all(&answer).await;
                    let _ = tls.shutdown().await;
                });
            }
        });
        let fake = Self {
            address,
            answer,
            task,
        };
        fake.serve(document);
        fake
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/", self.address)
    }

    pub(crate) fn serve(&self, document: &str) {
        self.say("200 OK", "content-type: application/json", document);
    }

    pub(crate) fn redirect(&self, status: &str, location: &str) {
        self.say(status, &format!("location: {location}"), "");
    }

    pub(crate) fn say(&self, status: &str, header: &str, body: &str) {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\n{header}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        self.answer.send_replace(answer.into_bytes());
    }

    /// As somebody who never comes to an end: no length is told.
    pub(crate) fn pour(&self, body: &str) {
        let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{body}");
        self.answer.send_replace(answer.into_bytes());
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The authority of a trust domain that has no CA here.
pub(crate) struct Authority {
    domain: TrustDomain,
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new(domain: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(&format!("spiffe://{domain}"))];
        let root = params.self_signed(&key).unwrap().der().clone();
        Self {
            domain: TrustDomain::parse(domain).unwrap(),
            issuer: Issuer::new(params, key),
            root,
        }
    }

    /// An SVID.
    pub(crate) fn svid(&self, id: &str) -> Shown {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.subject_alt_names = vec![uri(id)];
        params.not_before = (std::time::SystemTime::now() - std::time::Duration::from_mins(1)).into();
        params.not_after = (std::time::SystemTime::now() + std::time::Duration::from_hours(1)).into();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (vec![leaf], key)
    }

    /// What it publishes.
    pub(crate) fn document(&self, sequence: u64) -> String {
        let bundle = SpiffeBundle {
            x509: Some(X509Bundle::new(self.domain.clone(), vec![self.root.clone()]).unwrap()),
            jwt: JwtBundle::empty(self.domain.clone()),
            wit: WitBundle::empty(self.domain.clone()),
            sequence: Some(sequence),
            refresh_hint: Some(std::time::Duration::from_hours(1)),
        };
        bundle.to_jwks().unwrap()
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}
