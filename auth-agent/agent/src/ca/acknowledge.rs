//! Tells the CA which trust bundle this node has: what is in it may sign then.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use signet_proto::ca::v1::AcknowledgeBundleRequest;
use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use signet_proto::view::v1::TrustBundle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::Code;

use super::bundle::BundleFile;
use super::channel::refusal;
use super::keeper::NodeAccess;
use crate::clock::{backoff, random};
use crate::status::Status;
use crate::view::View;

const CALL: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_mins(1);

/// Writes each trust bundle down, then says so, and not before.
#[derive(Debug)]
pub struct Acknowledger {
    /// Where bundles come from. What is in here is in use.
    pub view: watch::Receiver<Option<Arc<View>>>,
    /// Whom to tell.
    pub access: watch::Receiver<Option<Arc<NodeAccess>>>,
    /// Where it is kept.
    pub file: BundleFile,
    /// For people.
    pub status: Arc<Status>,
}

impl Acknowledger {
    /// Runs until the view's owner has gone. Tells anew under each SVID: the CA may have been put back to an earlier state.
    pub async fn run(mut self) {
        let mut written = None;
        let mut told: Option<(TrustBundle, Arc<NodeAccess>)> = None;
        let mut attempt = 0;
        loop {
            let bundle = self
                .view
                .borrow_and_update()
                .as_ref()
                .map(|view| view.wire_bundle().clone());
            let access = self.access.borrow_and_update().clone();
            let mut wait = None;
            if let (Some(bundle), Some(access)) = (bundle, access) {
                let is_told = told
                    .as_ref()
                    .is_some_and(|(before, by)| *before == bundle && Arc::ptr_eq(by, &access));
                if !is_told {
                    match self.tell(&bundle, &access, &mut written).await {
                        Ok(()) => {
                            attempt = 0;
                            told = Some((bundle, access));
                        }
                        Err(error) => {
                            self.status.fail("trust-bundle", &error);
                            wait = Some(backoff(FIRST_RETRY, LAST_RETRY, attempt, random()));
                            attempt = attempt.saturating_add(1);
                        }
                    }
                }
            }
            let again = async {
                match wait {
                    Some(wait) => sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.view.changed() => if changed.is_err() { return },
                changed = self.access.changed() => if changed.is_err() { return },
                () = again => {}
            }
        }
    }

    async fn tell(
        &self,
        bundle: &TrustBundle,
        access: &NodeAccess,
        written: &mut Option<TrustBundle>,
    ) -> anyhow::Result<()> {
        if written.as_ref() != Some(bundle) {
            self.file
                .save(bundle)
                .context("failed to write the trust bundle down")?;
            *written = Some(bundle.clone());
        }
        let call = AcknowledgeBundleRequest {
            sequence: bundle.sequence,
            mark: bundle.mark.clone(),
        };
        let mut client = NodeServiceClient::new(access.channel.clone());
        let answer = timeout(CALL, client.acknowledge_bundle(call))
            .await
            .context("the CA does not answer")?;
        match answer {
            // Where it did not count there is a newer bundle on its way.
            Ok(_) => Ok(()),
            // A CA of an earlier version waits for nobody.
            Err(status) if status.code() == Code::Unimplemented => Ok(()),
            Err(status) => Err(refusal(&status).context("the CA was not told of the trust bundle")),
        }
    }
}
