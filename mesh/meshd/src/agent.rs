//! Follows signet-agent's view.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use signet_endpoints::View;
use signet_proto::agent::v1::WatchViewRequest;
use signet_proto::agent::v1::agent_service_client::AgentServiceClient;
use signet_spiffe::NodeName;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::view::ViewBuilder;

/// Pause after a lost or refused connection.
const RETRY: Duration = Duration::from_millis(500);
/// How long the agent may take to answer a call.
const OPEN: Duration = Duration::from_secs(5);

/// What is known of the agent's view.
#[derive(Clone, Debug, Default)]
pub(crate) struct AgentView {
    /// The last view; it stays while the agent is away.
    pub(crate) view: Option<Arc<View>>,
    /// Whether the agent is there.
    pub(crate) connected: bool,
    /// Why its last message could not be used.
    pub(crate) error: Option<String>,
}

/// Follows the agent for ever. Each connection begins with a snapshot, so nothing needs to be resumed.
pub(crate) async fn follow(socket: &Path, own: NodeName, publish: watch::Sender<AgentView>) {
    let mut quiet = false;
    loop {
        if let Err(error) = stream(socket, &own, &publish).await {
            let error = format!("{error:#}");
            if quiet {
                tracing::debug!(error, "no view from signet-agent");
            } else {
                tracing::info!(error, "waiting for signet-agent; what is enforced stays");
            }
        }
        quiet = !publish.borrow().connected;
        publish.send_if_modified(|known| std::mem::take(&mut known.connected));
        sleep(RETRY).await;
    }
}

async fn stream(socket: &Path, own: &NodeName, publish: &watch::Sender<AgentView>) -> anyhow::Result<()> {
    let mut client = AgentServiceClient::new(signet_uds::connect(socket)?);
    let opened = timeout(OPEN, client.watch_view(WatchViewRequest {})).await;
    let mut updates = opened.context("signet-agent does not answer")??.into_inner();
    let mut builder = ViewBuilder::new(own.clone());
    while let Some(update) = updates.message().await? {
        match builder.apply(&update) {
            Ok(refused) => {
                for part in &refused {
                    tracing::warn!(part, "left out a part of signet-agent's view");
                }
                let view = builder.view().map(Arc::new);
                tracing::debug!(view.revision = update.revision, "view changed");
                publish.send_replace(AgentView {
                    view,
                    connected: true,
                    error: refused.into_iter().next(),
                });
            }
            Err(error) => {
                publish.send_modify(|known| known.error = Some(error.to_string()));
                return Err(error.into());
            }
        }
    }
    anyhow::bail!("signet-agent ended the stream")
}
