//! The SPIFFE Broker API, for programs that act for workloads of this node. Off unless brokers are named.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use signet_broker::{Brokers, Host};
use signet_spiffe::{BundleSet, TrustDomain};
use signet_tls::{BundleSource, SvidKeyPair};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;

use crate::ca::NodeAccess;
use crate::cli::RunArgs;
use crate::svids::WorkloadSource;
use crate::view::ViewStore;

/// Where brokers connect unless another place is given, in the run directory.
const SOCKET: &str = "broker/broker.sock";

/// What this node is for brokers.
#[derive(Clone, Debug)]
struct Node {
    view: Arc<ViewStore>,
    access: watch::Receiver<Option<Arc<NodeAccess>>>,
}

impl BundleSource for Node {
    fn bundles(&self) -> Arc<BundleSet> {
        self.view.bundles()
    }
}

impl Host for Node {
    fn identity(&self) -> Option<SvidKeyPair> {
        let access = self.access.borrow();
        access.as_ref().map(|access| access.identity.key_pair.clone())
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        WatchStream::from_changes(self.view.subscribe()).map(drop).boxed()
    }
}

/// The endpoint, ready to be served.
pub(crate) struct Endpoint {
    socket: PathBuf,
    trust_domain: TrustDomain,
    brokers: Brokers,
    node: Node,
}

impl Endpoint {
    /// What the command line asks for.
    pub(crate) fn new(
        args: &RunArgs,
        trust_domain: TrustDomain,
        view: Arc<ViewStore>,
        access: watch::Receiver<Option<Arc<NodeAccess>>>,
    ) -> anyhow::Result<Self> {
        let brokers = Brokers::new(&trust_domain, args.broker.iter().cloned()).context("--broker")?;
        let socket = args.broker_socket.clone();
        Ok(Self {
            socket: socket.unwrap_or_else(|| args.run_dir.join(SOCKET)),
            trust_domain,
            brokers,
            node: Node { view, access },
        })
    }

    /// Serves until `stop`; without a broker there is no socket, and nothing to do.
    pub(crate) async fn serve(
        self,
        workloads: Arc<WorkloadSource>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        if self.brokers.is_empty() {
            stop.cancelled().await;
            return Ok(());
        }
        if let Some(directory) = self.socket.parent() {
            make_private(directory)?;
        }
        let (brokers, host) = (self.brokers, Arc::new(self.node));
        tracing::info!(socket = %self.socket.display(), ?brokers, "serving the Broker API");
        let stop = stop.cancelled_owned();
        signet_broker::serve(&self.socket, self.trust_domain, brokers, host, workloads, stop)
            .await
            .context("failed to serve the Broker API")
    }
}

/// For root alone, so that no workload reaches the socket; one that is there already is the operator's to open.
fn make_private(directory: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.with_context(|| format!("failed to make {}", directory.display()))
}
