//! The way to the CA above: mutual TLS with the SVID that its agent on this node gives this process.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use signet_keys::KeyRecord;
use signet_proto::ca::v1::downstream_service_client::DownstreamServiceClient;
use signet_proto::ca::v1::{IssueIntermediateRequest, PublishJwtKeysRequest, UpstreamBundle};
use signet_proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use signet_proto::workload::{X509svid, X509svidRequest};
use signet_registry::Registry;
use signet_spiffe::{
    BundleSet, KeyId, SpiffeId, TrustDomain, UnixTime, X509Bundle, split_certificates, verify_x509_svid,
};
use signet_tls::{
    BundleSource as _, Expect, FixedBundles, FixedSigners, SharedBundles, SvidKeyPair, client_config_for,
    in_words, signer_name,
};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};

use super::config::SignetUpstream;
use super::state::LinkState;
use super::wire;
use crate::hex;
use crate::limits::{PING, PONG, RESPONSE};
use crate::random;

/// How long each step of connecting may take.
const STEP: Duration = Duration::from_secs(5);

/// For a call.
const CALL: Duration = Duration::from_secs(20);

/// The way to the CA above.
#[derive(Debug)]
pub(crate) struct Link {
    config: SignetUpstream,
    trust_domain: TrustDomain,
    registry: Registry,
    /// What tells this CA's registry from those of others with its SPIFFE ID.
    pub(super) instance: String,
    /// A key that no certificate has come for yet.
    waiting: Mutex<Option<KeyRecord>>,
    pub(super) state: watch::Sender<LinkState>,
    /// Which of the addresses is tried first.
    turn: AtomicUsize,
    /// What is revoked, once the CA knows.
    bundles: OnceLock<Arc<SharedBundles>>,
}

/// What the CA above said.
#[derive(Debug, thiserror::Error)]
#[error("the CA above refused: {}", .0.message())]
pub(crate) struct Refused(Status);

impl Refused {
    /// Whether it may be for the key that was asked with: another one is wanted for the next try.
    pub(crate) fn may_mean_the_key(&self) -> bool {
        matches!(self.0.code(), Code::FailedPrecondition | Code::InvalidArgument)
    }
}

pub(super) type Client = DownstreamServiceClient<Channel>;

impl Link {
    pub(crate) async fn new(
        config: SignetUpstream,
        trust_domain: TrustDomain,
        registry: Registry,
        now: UnixTime,
    ) -> anyhow::Result<Self> {
        let fresh = hex::encode(&random::bytes::<16>()?);
        Ok(Self {
            instance: registry.instance(&fresh).await?,
            config,
            trust_domain,
            registry,
            waiting: Mutex::default(),
            state: watch::Sender::new(LinkState::begins(now)),
            turn: AtomicUsize::new(0),
            bundles: OnceLock::new(),
        })
    }

    /// From now on what is revoked is refused above as well.
    pub(crate) fn honour(&self, bundles: &Arc<SharedBundles>) {
        let _ = self.bundles.set(Arc::clone(bundles));
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.config.addresses
    }

    /// How it stands.
    pub(crate) fn state(&self) -> LinkState {
        self.state.borrow().clone()
    }

    /// Has it sign an authority: sends the request up, and passes on what it publishes. Returns the chain, the new certificate first.
    pub(crate) async fn certify(
        &self,
        csr: Vec<u8>,
        life: Duration,
        now: UnixTime,
    ) -> anyhow::Result<Vec<CertificateDer<'static>>> {
        let mut client = self.connect().await?;
        let request = IssueIntermediateRequest {
            csr,
            life: life.as_secs(),
            instance: self.instance.clone(),
        };
        let answer = timeout(CALL, client.issue_intermediate(request)).await;
        let answer = answer
            .context("the CA above did not answer")?
            .map_err(Refused)?
            .into_inner();
        let told = answer.bundle.context("the CA above told no bundle")?;
        // Where the stream has told of a later bundle meanwhile, that one stays.
        let first = self.state.borrow().heard.is_none();
        self.take(told, first, now).await?;
        Ok(answer.chain.into_iter().map(CertificateDer::from).collect())
    }

    /// The key that waits for its certificate, where one was asked for in vain before. It is the caller's from then on.
    pub(crate) fn waiting(&self) -> Option<KeyRecord> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A key goes on waiting. Returns one that has to be forgotten instead: another one waits already.
    pub(crate) fn wait_with(&self, record: KeyRecord) -> Option<KeyRecord> {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(record)
    }

    /// Keeps what came from above. Says whether that changed anything.
    pub(super) async fn take(
        &self,
        told: UpstreamBundle,
        first: bool,
        now: UnixTime,
    ) -> anyhow::Result<bool> {
        let from = wire::read(told, &self.trust_domain, first, now)
            .context("what the CA above tells cannot be used")?;
        Ok(self.registry.take_above(&from, now).await?)
    }

    pub(super) async fn publish(
        &self,
        client: &mut Client,
        jwks: String,
        wit_keys: String,
    ) -> anyhow::Result<()> {
        let request = PublishJwtKeysRequest {
            jwks: jwks.into_bytes(),
            wit_keys: wit_keys.into_bytes(),
            instance: self.instance.clone(),
        };
        let answer = timeout(CALL, client.publish_jwt_keys(request)).await;
        let answer = answer.context("the CA above did not answer")?;
        answer.map_err(|status| {
            anyhow!(
                "the CA above does not publish the keys for tokens: {}",
                status.message()
            )
        })?;
        Ok(())
    }

    /// Connects as who the Workload API says that this process is now, to the first of the addresses that answers.
    pub(super) async fn connect(&self) -> anyhow::Result<Client> {
        let (identity, bundle) = svid(&self.config, &self.trust_domain).await?;
        let mut bundles = BundleSet::single(bundle);
        let own = verify_x509_svid(&identity.chain, &bundles, UnixTime::now()).ok();
        let named = self
            .registry
            .above()
            .await?
            .map(|above| above.signers)
            .unwrap_or_default();
        let own = own.and_then(|own| own.signer().cloned());
        // The CA above may sign with another one by now.
        let asked = own.as_ref().and_then(signer_name);
        let signers = upper(own, named);
        if let Some(known) = self.bundles.get() {
            bundles = bundles.with_revocations(Arc::clone(known.bundles().revocations()));
        }
        let ca = Expect::Exactly(SpiffeId::ca(&self.trust_domain));
        let bundles = Arc::new(FixedBundles::new(bundles));
        let mut tls = client_config_for(Some(&identity), bundles, ca, Arc::new(signers))?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let tls = Arc::new(tls);
        let addresses = &self.config.addresses;
        let mut failure = anyhow!("no address of the CA above is known");
        for _ in addresses {
            let turn = self.turn.load(Ordering::Relaxed);
            let Some(address) = addresses.get(turn % addresses.len()) else {
                break;
            };
            match channel(*address, Arc::clone(&tls), asked.clone()).await {
                Ok(channel) => return Ok(Client::new(channel).max_decoding_message_size(RESPONSE)),
                Err(error) => {
                    failure = error.context(format!("the CA above at {address} cannot be reached"));
                    self.turn.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Err(failure)
    }
}

/// Who may have signed what the CA above shows: an authority that it has named, if it also signed our SVID, which its agent gave us. If not,
/// what it named is of another day, and who signed our SVID is all that is known of it.
fn upper(own: Option<KeyId>, named: Vec<KeyId>) -> FixedSigners {
    match own {
        Some(own) if !named.contains(&own) => FixedSigners::new([own]),
        Some(_) | None => FixedSigners::new(named),
    }
}

async fn channel(
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    asked: Option<DnsName<'static>>,
) -> anyhow::Result<Channel> {
    let connect = tower::service_fn(move |_: Uri| {
        let (tls, asked) = (Arc::clone(&tls), asked.clone());
        async move {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            // The CA is known by its SPIFFE ID; the name says at most by which authority it shall be.
            let name = match asked {
                Some(asked) => ServerName::DnsName(asked),
                None => ServerName::try_from("signet-ca.invalid").map_err(io::Error::other)?,
            };
            let stream = TlsConnector::from(tls)
                .connect(name, tcp)
                .await
                .map_err(in_words)?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    let endpoint = Endpoint::from_static("http://signet-ca.invalid")
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .keep_alive_while_idle(true);
    let connected = timeout(STEP, endpoint.connect_with_connector(connect)).await;
    let connected = connected.context("no connection within 5 s")?;
    connected.map_err(|error| anyhow!("{}", innermost(&error)))
}

/// What went wrong at the bottom of it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// This process's own SVID, and what the CA above is checked against.
async fn svid(
    config: &SignetUpstream,
    trust_domain: &TrustDomain,
) -> anyhow::Result<(SvidKeyPair, X509Bundle)> {
    let socket = &config.workload_socket;
    let shown = socket.display();
    let svid = fetch(socket, config.identity.as_ref()).await.with_context(|| {
        format!("the Workload API of the upstream's agent at {shown} gives this process no SVID")
    })?;
    let malformed = || anyhow!("the Workload API at {shown} answers what is none");
    let id = SpiffeId::parse(&svid.spiffe_id).map_err(|_| malformed())?;
    if id.trust_domain() != trust_domain {
        bail!(
            "{id}, which the Workload API at {shown} gives, is not of the trust domain {trust_domain}: both CAs are of one"
        );
    }
    let chain = split_certificates(&svid.x509_svid).ok_or_else(malformed)?;
    let authorities = split_certificates(&svid.bundle).ok_or_else(malformed)?;
    let bundle = X509Bundle::new(trust_domain.clone(), authorities)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.x509_svid_key));
    Ok((SvidKeyPair { chain, key }, bundle))
}

async fn fetch(socket: &Path, wanted: Option<&SpiffeId>) -> anyhow::Result<X509svid> {
    let channel = signet_uds::connect(socket)?;
    let mut request = Request::new(X509svidRequest {});
    let header = MetadataValue::from_static("true");
    request.metadata_mut().insert("workload.spiffe.io", header);
    let mut client = SpiffeWorkloadApiClient::new(channel);
    let first = async { client.fetch_x509svid(request).await?.into_inner().message().await };
    let answer = timeout(STEP, first).await.context("no answer within 5 s")?;
    let answer = answer.map_err(|status| anyhow!("{}", status.message()))?;
    let svids = answer.map(|answer| answer.svids).unwrap_or_default();
    let is_it = |svid: &X509svid| wanted.is_none_or(|id| svid.spiffe_id == id.as_str());
    let found = svids.into_iter().find(is_it);
    found.with_context(|| match wanted {
        Some(id) => format!("it does not give it {id}"),
        None => "it gives it none".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use signet_registry::BelowError;

    use super::*;
    use crate::nested::issue::refuse;

    #[test]
    fn another_key_is_made_where_the_key_was_refused_and_not_while_another_ca_has_the_place() {
        let id = SpiffeId::parse("spiffe://td/ca/west").unwrap();
        let of = |error| Refused(refuse(&error)).may_mean_the_key();
        assert!(of(BelowError::Key("aa".parse().unwrap())));
        assert!(!of(BelowError::Other {
            id: id.clone(),
            ago: 7
        }));
        assert!(!of(BelowError::TooMany { id }));
    }

    #[test]
    fn who_is_above_is_told_by_what_it_named_and_by_who_signed_what_its_agent_gives() {
        let [old, new, other] = ["aa", "bb", "cc"].map(|key| key.parse::<KeyId>().ok());
        let of = |keys: &[&Option<KeyId>]| keys.iter().filter_map(|key| (*key).clone()).collect::<Vec<_>>();
        let these = |keys: &[&Option<KeyId>]| FixedSigners::new(of(keys));
        assert_eq!(upper(old.clone(), Vec::new()), these(&[&old]), "the first time");
        assert_eq!(
            upper(old.clone(), of(&[&old, &new])),
            these(&[&old, &new]),
            "while its authority changes"
        );
        assert_eq!(
            upper(new.clone(), of(&[&old])),
            these(&[&new]),
            "after one that nobody heard of here"
        );
        assert_ne!(
            upper(old.clone(), of(&[&old, &new])),
            these(&[&old, &new, &other])
        );
    }
}
