//! What the endpoint shows in its TLS handshakes. TLS 1.3 and 1.2 with the suites of Mozilla's intermediate profile, which
//! are rustls' own (Federation §5); no client is asked who it is (§5.2).

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use signet_telemetry::Throttle;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use crate::ca::Ca;
use crate::clock::Clock;
use crate::limits::{TOLD, TOLD_PER};
use crate::own_svid::{self, OwnSvid};

use super::config::EndpointIdentity;

/// Pause after a failed renewal.
const RETRY: Duration = Duration::from_secs(5);

/// What is shown at this moment.
#[derive(Debug)]
pub(super) enum Identity {
    /// Renewed for as long as the task is there.
    Svid {
        current: watch::Receiver<Arc<ServerConfig>>,
        _renewal: AbortOnDropHandle<()>,
    },
    Files(Files),
}

/// A certificate and its key in files, which others renew.
#[derive(Debug)]
pub(super) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    clock: Clock,
    loaded: Mutex<(Stamps, Arc<ServerConfig>)>,
    failures: Throttle,
}

/// Another one: the files are others.
type Stamps = [(u64, u64, i64, i64); 2];

impl Identity {
    pub(super) async fn new(ca: &Arc<Ca>, wanted: &EndpointIdentity) -> anyhow::Result<Self> {
        match wanted {
            EndpointIdentity::Spiffe => {
                let (config, own) = svid(ca).await?;
                let (sender, current) = watch::channel(config);
                let renewal = tokio::spawn(renew(Arc::clone(ca), sender, own));
                Ok(Self::Svid {
                    current,
                    _renewal: AbortOnDropHandle::new(renewal),
                })
            }
            EndpointIdentity::Web { certificate, key } => {
                let stamps =
                    stamps(certificate, key).context("failed to read the bundle endpoint's files")?;
                let config = load(certificate, key, &ca.clock)?;
                Ok(Self::Files(Files {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    clock: ca.clock.clone(),
                    loaded: Mutex::new((stamps, config)),
                    failures: Throttle::new(TOLD, TOLD_PER),
                }))
            }
        }
    }

    /// For the next handshake.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        match self {
            Self::Svid { current, .. } => Arc::clone(&current.borrow()),
            Self::Files(files) => files.current(),
        }
    }
}

impl Files {
    /// Looks whether the files changed, which costs two calls of the kernel, and reads them if so. Files that cannot be
    /// read, or do not belong together (somebody is about to replace the second one), leave what was loaded.
    fn current(&self) -> Arc<ServerConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let found = stamps(&self.certificate, &self.key);
        if found.as_ref().is_ok_and(|found| *found == loaded.0) {
            return Arc::clone(&loaded.1);
        }
        let new = found
            .map_err(anyhow::Error::from)
            .and_then(|found| Ok((found, load(&self.certificate, &self.key, &self.clock)?)));
        match new {
            Ok(new) => {
                info!(file = %self.certificate.display(), "the bundle endpoint has a new certificate");
                *loaded = new;
            }
            Err(error) => {
                if let Some(untold) = self.failures.admit(Instant::now()) {
                    let error = format!("{error:#}");
                    warn!(
                        error,
                        untold, "the bundle endpoint goes on with the old certificate"
                    );
                }
            }
        }
        Arc::clone(&loaded.1)
    }
}

fn stamps(certificate: &Path, key: &Path) -> io::Result<Stamps> {
    let stamp = |file: &Path| {
        let found: Metadata = file.metadata()?;
        Ok::<_, io::Error>((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    Ok([stamp(certificate)?, stamp(key)?])
}

fn load(certificate: &Path, key: &Path, clock: &Clock) -> anyhow::Result<Arc<ServerConfig>> {
    let failed = |file: &Path| format!("failed to read {}", file.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| failed(certificate))?;
    let secret = PrivateKeyDer::from_pem_file(key).with_context(|| failed(key))?;
    server_config(chain, secret, clock)
        .with_context(|| format!("{} and {} cannot be used", certificate.display(), key.display()))
}

/// An SVID of the CA's own, for the endpoint alone.
async fn svid(ca: &Ca) -> anyhow::Result<(Arc<ServerConfig>, OwnSvid)> {
    let own = own_svid::identity(ca).await?;
    let config = server_config(own.pair.chain.clone(), own.pair.key.clone_key(), &ca.clock)?;
    Ok((config, own))
}

async fn renew(ca: Arc<Ca>, config: watch::Sender<Arc<ServerConfig>>, first: OwnSvid) {
    let OwnSvid {
        mut renew_in,
        mut signer,
        ..
    } = first;
    loop {
        own_svid::due(&ca, renew_in, &signer).await;
        match svid(&ca).await {
            Ok((new, own)) => {
                config.send_replace(new);
                renew_in = own.renew_in.max(Duration::from_secs(1));
                signer = own.signer;
            }
            Err(error) => {
                let error = format!("{error:#}");
                error!(error, "failed to renew the bundle endpoint's SVID");
                sleep(RETRY).await;
                renew_in = Duration::ZERO;
            }
        }
    }
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clock: &Clock,
) -> anyhow::Result<Arc<ServerConfig>> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.time_provider = Arc::new(clock.clone());
    Ok(Arc::new(config))
}
