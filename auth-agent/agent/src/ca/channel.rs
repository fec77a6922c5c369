//! gRPC to the CA over mutual TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls_pki_types::{DnsName, ServerName};
use signet_node_attest::{ChannelBinding, EXPORTER};
use signet_spiffe::{SpiffeId, TrustDomain, X509Bundle};
use signet_tls::{
    BundleSource, Expect, SignerSource, SvidKeyPair, TlsError, client_config, client_config_for, in_words,
    signer_name,
};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::addresses::CaAddresses;
use super::failover::{At, CaChannel};
use crate::clock::random;

/// For TCP and TLS together.
const CONNECT: Duration = Duration::from_secs(5);
/// The same for one of many CAs.
const SHORTEST: Duration = Duration::from_secs(1);
/// HTTP/2 pings keep a stream without news honest.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A channel that connects at the first call, and again after a loss, to the first CA that answers, and leaves one that does not do its
/// work. It shows `identity`; whoever has none attests first. Whom `signers` do not admit is none of them.
pub fn channel(
    addresses: &CaAddresses,
    identity: Option<&SvidKeyPair>,
    bundles: Arc<dyn BundleSource>,
    trust_domain: &TrustDomain,
    signers: Option<Arc<dyn SignerSource>>,
) -> Result<CaChannel, TlsError> {
    let dialer = Dialer::new(addresses, identity, bundles, trust_domain, signers)?;
    Ok(CaChannel::new(dialer))
}

/// A channel of which `at` tells where it is connected.
pub(super) fn connect(dialer: &Dialer, at: &At) -> Channel {
    let (dialer, at) = (dialer.clone(), Arc::clone(at));
    let connect = service_fn(move |_: Uri| {
        let (dialer, at) = (dialer.clone(), Arc::clone(&at));
        async move {
            let (stream, address) = dialer.dial().await?;
            *at.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    endpoint().connect_with_connector_lazy(connect)
}

/// One connection without an identity, to attest over, and what nobody but its two ends knows. There is no other one after
/// it: a channel that connected again would have another binding.
pub(crate) async fn anonymous(
    addresses: &CaAddresses,
    bundles: Arc<dyn BundleSource>,
    trust_domain: &TrustDomain,
) -> anyhow::Result<(Channel, ChannelBinding)> {
    // Who joins belongs to no CA yet.
    let dialer = Dialer::new(addresses, None, bundles, trust_domain, None)?;
    let (stream, _) = dialer.dial().await?;
    let exported = stream
        .get_ref()
        .1
        .export_keying_material([0; 32], EXPORTER, None)?;
    let mut only = Some(stream);
    let connect = service_fn(move |_: Uri| {
        let stream = only.take().map(TokioIo::new);
        std::future::ready(stream.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset)))
    });
    let channel = endpoint().connect_with_connector(connect).await?;
    Ok((channel, ChannelBinding::new(exported)))
}

fn endpoint() -> Endpoint {
    Endpoint::from_static("http://ca.signet.invalid")
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

/// Connects to the first CA that answers.
#[derive(Clone)]
pub(super) struct Dialer {
    connector: TlsConnector,
    /// Should it ever not be a DNS name, every connection fails.
    name: Option<DnsName<'static>>,
    pub(super) addresses: CaAddresses,
}

impl Dialer {
    fn new(
        addresses: &CaAddresses,
        identity: Option<&SvidKeyPair>,
        bundles: Arc<dyn BundleSource>,
        trust_domain: &TrustDomain,
        signers: Option<Arc<dyn SignerSource>>,
    ) -> Result<Self, TlsError> {
        let ca = SpiffeId::ca(trust_domain);
        let set = bundles.bundles();
        let name = name(signers.as_deref(), set.get(trust_domain), &ca);
        let ca = Expect::Exactly(ca);
        let mut config = match signers {
            Some(signers) => client_config_for(identity, bundles, ca, signers)?,
            None => client_config(identity, bundles, ca)?,
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
            addresses: addresses.clone(),
        })
    }

    async fn dial(&self) -> io::Result<(TlsStream<TcpStream>, SocketAddr)> {
        let name = self.name.clone().ok_or(io::ErrorKind::InvalidInput)?;
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in self.addresses.in_order(Instant::now().into_std()) {
            let connected = timeout(patience(self.addresses.count()), async {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                self.connector
                    .connect(ServerName::DnsName(name.clone()), stream)
                    .await
                    .map_err(in_words)
            });
            match connected.await {
                Ok(Ok(stream)) => {
                    self.addresses.answered(address);
                    return Ok((stream, address));
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::Error::from(io::ErrorKind::TimedOut),
            }
            tracing::debug!(ca.address = %address, error = %failure, "a CA could not be reached");
            self.addresses
                .failed(address, Instant::now().into_std(), random());
        }
        Err(failure)
    }
}

/// By which authority the CA's SVID shall be, where it has several: what it began to sign with while this node was away is news here. Who
/// belongs to no CA yet asks for the newest authority that it knows.
fn name(
    signers: Option<&dyn SignerSource>,
    known: Option<&X509Bundle>,
    ca: &SpiffeId,
) -> Option<DnsName<'static>> {
    let asked = match signers {
        Some(signers) => signers.asked(),
        None => known.and_then(|known| known.key_ids().last()),
    };
    // Otherwise a digest under a fixed suffix: always a DNS name.
    asked
        .and_then(signer_name)
        .or_else(|| signet_handshake::server_name(ca).ok())
}

/// For one CA of several: the last one must be reached before the caller gives up.
fn patience(count: usize) -> Duration {
    let share = CONNECT / u32::try_from(count).unwrap_or(u32::MAX).max(1);
    share.max(SHORTEST)
}

/// A refusal in the CA's words, or what lies behind a call that never got there; without gRPC's own wrapping.
pub(crate) fn refusal(status: &tonic::Status) -> anyhow::Error {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    anyhow::anyhow!(text)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};
    use rustls_pki_types::CertificateDer;
    use signet_tls::FixedSigners;

    use super::*;

    fn root() -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a root").der().clone()
    }

    #[test]
    fn who_joins_asks_for_the_newest_authority_that_it_knows_and_who_belongs_to_a_ca_for_what_its_own_says() {
        let domain = TrustDomain::parse("t.example").expect("valid");
        let ca = SpiffeId::ca(&domain);
        let bundle = X509Bundle::new(domain, vec![root(), root()]).expect("a bundle");
        let keys: Vec<_> = bundle.key_ids().cloned().collect();
        let [old, new] = keys.as_slice() else {
            unreachable!("two roots")
        };
        assert_eq!(name(None, Some(&bundle), &ca), signer_name(new));
        assert_ne!(signer_name(old), signer_name(new));
        let by_id = signet_handshake::server_name(&ca).ok();
        assert_eq!(name(None, None, &ca), by_id);
        let some = FixedSigners::new([new.clone()]);
        assert_eq!(
            name(Some(&some), Some(&bundle), &ca),
            by_id,
            "it says nothing of its own"
        );
    }
}
