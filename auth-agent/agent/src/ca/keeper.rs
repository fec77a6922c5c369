//! Keeps the node's SVID: from disk, by attestation, by renewal.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use signet_proto::ca::v1::RenewNodeSvidRequest;
use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use signet_spiffe::{NodeName, Revoked, TrustDomain, UnixTime};
use signet_tls::BundleSource;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::addresses::CaAddresses;
use super::attest::{Exchange, NodeProver, prepare};
use super::channel::{channel, refusal};
use super::csr::new_request;
use super::failover::CaChannel;
use super::identity::NodeIdentity;
use super::own::OwnCa;
use super::store::StateFile;
use crate::clock::{backoff, random, scale, unix_now};
use crate::renewal::{Due, LOOK};
use crate::status::Status;
use crate::view::View;

/// For one call to the CA.
const CALL: Duration = Duration::from_secs(10);
/// To get ready what is shown to the CA: a TPM may take most of a minute to make its RSA key.
const PREPARE: Duration = Duration::from_mins(2);
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(15);
/// Within so many nanoseconds all nodes whose SVIDs a tainted authority signed renew them.
const TAINTED: u64 = 2_000_000_000;

/// The node's SVID and the channel to the CA that shows it. One value for each SVID.
#[derive(Debug)]
pub struct NodeAccess {
    /// The SVID.
    pub identity: NodeIdentity,
    /// The channel.
    pub channel: CaChannel,
}

/// Gets and renews the node's SVID.
#[derive(Debug)]
pub struct Keeper {
    /// This node.
    pub node: NodeName,
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// Where the CAs are.
    pub ca: CaAddresses,
    /// How this node proves who it is.
    pub prover: Arc<dyn NodeProver>,
    /// Where SVIDs are kept.
    pub state: StateFile,
    /// What the CA and the node's own SVID are verified against.
    pub bundles: Arc<dyn BundleSource>,
    /// The authorities that the CA named as its own in this agent's life before, as names of keys.
    pub signers: Arc<[String]>,
    /// Wakes when the node's own SVID may have been revoked.
    pub view: watch::Receiver<Option<Arc<View>>>,
    /// For people.
    pub status: Arc<Status>,
}

/// When an SVID that came now is due.
fn plan(due: fn(i64, i64, std::time::Instant, u64) -> Due, identity: &NodeIdentity) -> Due {
    due(
        identity.not_after,
        unix_now(),
        Instant::now().into_std(),
        random(),
    )
}

impl Keeper {
    /// Runs for ever; publishes each SVID, and nothing while there is no valid one.
    pub async fn run(mut self, publish: watch::Sender<Option<Arc<NodeAccess>>>) {
        let mut due = None;
        if let Some(identity) = self.resume() {
            due = Some(plan(Due::resumed, &identity));
            self.publish(identity, &publish);
        }
        let mut attempt = 0;
        loop {
            let current = publish.borrow().clone();
            if let Some(access) = &current {
                let end = access.identity.not_after;
                // After a failure its time has come already.
                let due = due.filter(|_| attempt == 0);
                if let Some(revoked) = self.revoked_until(due, &access.identity).await {
                    let error = anyhow::Error::from(revoked);
                    self.status
                        .fail("ca", &error.context("this node has lost its SVID"));
                    self.status.set_node_svid(0, 0);
                    publish.send_replace(None);
                    attempt = 0;
                    continue;
                }
                if unix_now() >= end {
                    tracing::error!("the node's SVID has expired before it could be renewed");
                    self.status.set_node_svid(0, 0);
                    publish.send_replace(None);
                    continue;
                }
            }
            let result = match &current {
                Some(access) => self.renew(access).await,
                None => self.attest().await,
            };
            match result {
                Ok(identity) => {
                    attempt = 0;
                    due = Some(plan(Due::issued, &identity));
                    self.save(&identity);
                    if current.is_some() {
                        // With each SVID of its own the node may belong to another CA.
                        self.ca.spread(Instant::now().into_std(), random());
                    }
                    self.publish(identity, &publish);
                }
                Err(error) => {
                    self.status.fail("ca", &error);
                    if current.is_none() {
                        // Another one may admit it: one that can sign, or whose clock is right.
                        self.ca.turn();
                    }
                    sleep(backoff(FIRST_RETRY, LAST_RETRY, attempt, random())).await;
                    attempt = attempt.saturating_add(1);
                }
            }
        }
    }

    /// Waits until it is due, as the view's target has it, or until the node's own SVID is revoked; or, where its authority is tainted,
    /// a moment: all nodes hear of that at once.
    async fn revoked_until(&mut self, mut due: Option<Due>, identity: &NodeIdentity) -> Option<Revoked> {
        let moment = Instant::now() + FIRST_RETRY + Duration::from_nanos(scale(random(), TAINTED));
        loop {
            let view = self.view.borrow_and_update().clone();
            let tainted = view
                .as_ref()
                .is_some_and(|view| view.tainted().signed(&identity.svid));
            let target = view.map_or(Duration::ZERO, |view| view.availability_target());
            due = due.map(|due| {
                due.overtaken(unix_now(), Instant::now().into_std())
                    .unwrap_or(due)
            });
            let mut until = due.map_or_else(Instant::now, |due| Instant::from_std(due.at(target)));
            if tainted {
                until = until.min(moment);
            }
            let bundles = self.bundles.bundles();
            if let Err(revoked) = bundles.revocations().check(&identity.svid) {
                return Some(revoked);
            }
            tokio::select! {
                () = sleep_until(until.min(Instant::now() + LOOK)) => if Instant::now() >= until {
                    return None;
                },
                changed = self.view.changed() => if changed.is_err() {
                    // The view's owner lives as long as the process.
                    sleep_until(until).await;
                    return None;
                },
            }
        }
    }

    /// What an earlier run left, if it is still good.
    fn resume(&self) -> Option<NodeIdentity> {
        let pair = match self.state.load() {
            Ok(pair) => pair?,
            Err(error) => {
                self.status.fail("state", &anyhow::Error::from(error));
                return None;
            }
        };
        let bundles = self.bundles.bundles();
        match NodeIdentity::new(pair, &self.trust_domain, &self.node, &bundles, UnixTime::now()) {
            Ok(identity) => {
                tracing::info!(node.id = %identity.id, "resuming with the stored node SVID");
                Some(identity)
            }
            Err(error) => {
                tracing::info!(%error, "the stored node SVID is of no use any more");
                None
            }
        }
    }

    async fn attest(&self) -> anyhow::Result<NodeIdentity> {
        let request = new_request().context("failed to make a key")?;
        let exchange = Exchange {
            node: &self.node,
            ca: &self.ca,
            bundles: &self.bundles,
            trust_domain: &self.trust_domain,
            request: request.csr(),
        };
        // Before the CA is asked, which does not wait for a TPM that makes its keys.
        let evidence = timeout(PREPARE, prepare(&self.prover))
            .await
            .context("the TPM does not answer")??;
        let answer = timeout(CALL, exchange.run(evidence))
            .await
            .with_context(|| format!("the CA at {} does not answer", self.ca))??;
        let svid = answer.svid.context("the CA answered without an SVID")?;
        let bundles = self.bundles.bundles();
        let identity = NodeIdentity::from_answer(request, svid, &self.trust_domain, &self.node, &bundles)
            .context("the CA answered with an SVID that is of no use; is the join token for this node?")?;
        tracing::info!(node.id = %identity.id, "attested to the CA");
        Ok(identity)
    }

    async fn renew(&self, access: &NodeAccess) -> anyhow::Result<NodeIdentity> {
        let request = new_request().context("failed to make a key")?;
        let call = RenewNodeSvidRequest {
            csr: request.csr().to_vec(),
        };
        let svid = timeout(
            CALL,
            NodeServiceClient::new(access.channel.clone()).renew_node_svid(call),
        )
        .await
        .context("the CA does not answer")?
        .map_err(|status| refusal(&status))
        .context("the CA did not renew the node's SVID")?
        .into_inner();
        let bundles = self.bundles.bundles();
        let identity = NodeIdentity::from_answer(request, svid, &self.trust_domain, &self.node, &bundles)?;
        tracing::info!(node.id = %identity.id, svid.not_after = identity.not_after, "renewed the node's SVID");
        Ok(identity)
    }

    fn save(&self, identity: &NodeIdentity) {
        if let Err(error) = self.state.save(&identity.key_pair) {
            // Goes on: only the next restart will need a token.
            self.status.fail("state", &anyhow::Error::from(error));
        }
    }

    fn publish(&self, identity: NodeIdentity, to: &watch::Sender<Option<Arc<NodeAccess>>>) {
        let own = OwnCa {
            signer: identity.svid.signer().cloned(),
            view: self.view.clone(),
            kept: self.signers.clone(),
        };
        match channel(
            &self.ca,
            Some(&identity.key_pair),
            self.bundles.clone(),
            &self.trust_domain,
            Some(Arc::new(own)),
        ) {
            Ok(channel) => {
                self.status.set_node_svid(identity.not_before, identity.not_after);
                to.send_replace(Some(Arc::new(NodeAccess { identity, channel })));
            }
            Err(error) => self.status.fail("ca", &anyhow::Error::from(error)),
        }
    }
}
