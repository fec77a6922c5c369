//! Follows the CA's view.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use signet_proto::ca::v1::SyncRequest;
use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::channel::refusal;
use super::keeper::NodeAccess;
use super::place::PlaceFile;
use crate::clock::{backoff, random};
use crate::status::Status;
use crate::view::{Position, ViewStore};

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// Until the CA answers the call; changes then come when they come.
const OPEN: Duration = Duration::from_secs(10);
/// Longest update, bytes: a snapshot of some hundred thousand identities.
const LONGEST: usize = 64 * 1024 * 1024;

/// What this node tells the others about itself.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// Best first; empty: the one that the CA is reached from.
    pub addresses: Vec<IpAddr>,
    /// TCP port of node sessions.
    pub port: u16,
}

/// Runs for ever: applies every update, resumes where it stopped, and starts anew with a snapshot if an update does not
/// fit what is known.
pub async fn follow(
    store: Arc<ViewStore>,
    mut access: watch::Receiver<Option<Arc<NodeAccess>>>,
    announcement: Announcement,
    place: PlaceFile,
    status: Arc<Status>,
) {
    // Where an earlier life was: a snapshot has to come, but it may say that the kernel's proofs still mean the same.
    let earlier = place.load();
    let mut resume = true;
    let mut attempt = 0;
    loop {
        let current = match access.wait_for(Option::is_some).await {
            Ok(current) => current.clone(),
            Err(_) => return,
        };
        let Some(current) = current else { continue };
        access.mark_unchanged();
        let line = current.channel.line();
        let mut progressed = false;
        let result = tokio::select! {
            result = stream(&store, &current, &announcement, &status, &earlier, resume, &mut progressed) => result,
            // A new SVID: come back under it before the old one expires.
            changed = access.changed() => match changed {
                Ok(()) => Ok(()),
                Err(_) => return,
            },
            // Another CA, where this one failed others, or is not the one that this node belongs to: on from there.
            () = current.channel.left(line) => Ok(()),
            () = current.channel.homesick() => Ok(()),
        };
        status.set_ca_connected(false);
        if progressed {
            attempt = 0;
        }
        match result {
            Ok(()) => resume = true,
            Err(error) => {
                resume = !error.is::<crate::view::ViewError>();
                status.fail("ca", &error);
                sleep(backoff(FIRST_RETRY, LAST_RETRY, attempt, random())).await;
                attempt = attempt.saturating_add(1);
            }
        }
    }
}

async fn stream(
    store: &ViewStore,
    access: &NodeAccess,
    announcement: &Announcement,
    status: &Status,
    earlier: &Position,
    resume: bool,
    progressed: &mut bool,
) -> anyhow::Result<()> {
    let line = access.channel.line();
    let current = store.current();
    let known = current.as_ref().map_or(earlier, |view| view.position());
    let request = SyncRequest {
        resume_revision: known.revision,
        resume_mark: known.mark.clone(),
        view_lost: current.is_none() || !resume,
        addresses: announcement.addresses.iter().map(ToString::to_string).collect(),
        session_port: announcement.port.into(),
    };
    let mut client = NodeServiceClient::new(access.channel.clone()).max_decoding_message_size(LONGEST);
    let mut updates = timeout(OPEN, client.sync(request))
        .await
        .context("the CA does not answer")?
        .map_err(|status| refusal(&status))
        .context("the CA does not let this node follow its view")?
        .into_inner();
    status.set_ca_connected(true);
    tracing::info!(view.revision = known.revision, "following the CA's view");
    loop {
        let next = updates.message().await.map_err(|status| {
            access.channel.heard(line, &status);
            refusal(&status)
        });
        let Some(update) = next.context("the CA's stream broke off")? else {
            access.channel.fail(line);
            anyhow::bail!("the CA ended its stream");
        };
        let revision = update.revision;
        store.apply(update)?;
        *progressed = true;
        tracing::debug!(view.revision = revision, "applied an update of the view");
    }
}
