//! The CA from afar: mutual TLS with the SVID that the Workload API gives this process.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use signet_proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use signet_proto::workload::{X509svid, X509svidRequest};
use signet_spiffe::{BundleSet, SpiffeId, TrustDomain, X509Bundle, split_certificates};
use signet_tls::{Expect, FixedBundles, SvidKeyPair, client_config, in_words};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};

/// How long each step of connecting may take.
const STEP: Duration = Duration::from_secs(4);

/// Where and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    /// `signet-ca run --operator-listen`.
    pub(crate) address: SocketAddr,
    /// The Workload API's socket.
    pub(crate) workload_api: PathBuf,
    /// Which identity; `None`: the default one.
    pub(crate) identity: Option<SpiffeId>,
}

impl Remote {
    /// A channel that connects at the first call.
    pub(crate) fn channel(self) -> Channel {
        let connect = tower::service_fn(move |_: Uri| {
            let remote = self.clone();
            async move { remote.connect().await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://signet-ca.invalid").connect_with_connector_lazy(connect)
    }

    async fn connect(self) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let (identity, bundle) = svid(&self.workload_api, self.identity.as_ref()).await?;
        let ca = Expect::Exactly(SpiffeId::ca(bundle.trust_domain()));
        let bundles = Arc::new(FixedBundles::new(BundleSet::single(bundle)));
        let mut config = client_config(Some(&identity), bundles, ca).map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = within(TcpStream::connect(self.address), "no connection").await??;
        tcp.set_nodelay(true)?;
        // The CA is known by its SPIFFE ID; the name is for the protocol alone.
        let name = ServerName::try_from("signet-ca.invalid").map_err(io::Error::other)?;
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        within(handshake, "no TLS handshake").await?.map_err(in_words)
    }
}

async fn within<T>(step: impl Future<Output = T>, what: &str) -> io::Result<T> {
    let late = |_| {
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!("{what} within {} s", STEP.as_secs()),
        )
    };
    timeout(STEP, step).await.map_err(late)
}

/// This process's own SVID, and what the CA is checked against.
async fn svid(socket: &Path, wanted: Option<&SpiffeId>) -> io::Result<(SvidKeyPair, X509Bundle)> {
    let failed = |why: String| io::Error::other(format!("the Workload API at {}: {why}", socket.display()));
    let channel = signet_uds::connect(socket).map_err(|error| failed(error.to_string()))?;
    let mut request = Request::new(X509svidRequest {});
    let header = MetadataValue::from_static("true");
    request.metadata_mut().insert("workload.spiffe.io", header);
    let mut client = SpiffeWorkloadApiClient::new(channel);
    let fetch = async { client.fetch_x509svid(request).await?.into_inner().message().await };
    let answer = within(fetch, "the Workload API gave no SVID").await?;
    let answer = answer.map_err(|status| failed(status.message().to_owned()))?;
    let svids = answer.map(|answer| answer.svids).unwrap_or_default();
    let is_it = |svid: &&X509svid| wanted.is_none_or(|id| svid.spiffe_id == id.as_str());
    let Some(svid) = svids.iter().find(is_it) else {
        let wanted = wanted.map_or("an identity", SpiffeId::as_str);
        return Err(failed(format!("it does not give this process {wanted}")));
    };
    let malformed = || failed("its answer is malformed".to_owned());
    let id = SpiffeId::parse(&svid.spiffe_id).map_err(|_| malformed())?;
    let chain = split_certificates(&svid.x509_svid).ok_or_else(malformed)?;
    let authorities = split_certificates(&svid.bundle).ok_or_else(malformed)?;
    let domain: TrustDomain = id.trust_domain().clone();
    let bundle = X509Bundle::new(domain, authorities).map_err(|error| failed(error.to_string()))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.x509_svid_key.clone()));
    Ok((SvidKeyPair { chain, key }, bundle))
}
