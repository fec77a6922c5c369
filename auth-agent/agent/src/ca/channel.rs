//! gRPC to the CA over mutual TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use signet_spiffe::{SpiffeId, TrustDomain};
use signet_tls::{BundleSource, Expect, SvidKeyPair, TlsError, client_config};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::addresses::CaAddresses;

/// For TCP and TLS together.
const CONNECT: Duration = Duration::from_secs(5);
/// The same for one of many CAs.
const SHORTEST: Duration = Duration::from_secs(1);
/// HTTP/2 pings keep a stream without news honest.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A channel that connects at the first call, and again after a loss, to the first CA that answers. Without `identity` only `Attest` will be answered.
pub fn channel(
    addresses: &CaAddresses,
    identity: Option<&SvidKeyPair>,
    bundles: Arc<dyn BundleSource>,
    trust_domain: &TrustDomain,
) -> Result<Channel, TlsError> {
    let ca = SpiffeId::ca(trust_domain);
    // A digest under a fixed suffix: always a DNS name. Should it ever not be, every connection fails.
    let name = signet_handshake::server_name(&ca).ok();
    let mut config = client_config(identity, bundles, Expect::Exactly(ca))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let addresses = addresses.clone();
    let connect = service_fn(move |_: Uri| {
        let (connector, name, addresses) = (connector.clone(), name.clone(), addresses.clone());
        async move {
            let name = name.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
            let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
            for address in addresses.in_order() {
                let connected = timeout(patience(addresses.count()), async {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    connector.connect(ServerName::DnsName(name.clone()), stream).await
                });
                match connected.await {
                    Ok(Ok(stream)) => {
                        addresses.answered(address);
                        return Ok(TokioIo::new(stream));
                    }
                    Ok(Err(error)) => failure = error,
                    Err(_) => failure = io::Error::from(io::ErrorKind::TimedOut),
                }
                tracing::debug!(ca.address = %address, error = %failure, "a CA could not be reached");
            }
            Err(failure)
        }
    });
    Ok(Endpoint::from_static("http://ca.signet.invalid")
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connect))
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
