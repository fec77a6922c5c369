//! Who calls as a CA below this one.

use std::time::Instant;

use signet_log::Caller as LoggedCaller;
use signet_registry::{NodeNumber, Shown};
use signet_spiffe::{NodeName, SerialNumber, SpiffeId, VerifiedSvid};
use signet_telemetry::Throttle;
use signet_tls::{BundleSource as _, Expect, PeerError};
use tonic::{Request, Status};
use tracing::warn;

use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::caller::peer;
use crate::limits::{TOLD, TOLD_PER};
use crate::refusal;

/// Of what is logged of calls that were refused: everybody can make one.
static REFUSED: Throttle = Throttle::new(TOLD, TOLD_PER);

/// Proof that a request comes from a CA that is registered below this one: only [`Downstream::of`] makes one.
#[derive(Debug, Clone)]
#[must_use = "a call is authorized by what its caller may do"]
pub(crate) struct Downstream {
    svid: VerifiedSvid,
    node: NodeName,
    number: NodeNumber,
}

impl Downstream {
    /// Verifies anew at each call.
    pub(crate) async fn of<T>(ca: &Ca, request: &Request<T>) -> Result<Self, Status> {
        let peer = peer(request)?;
        let judged = match peer.svid(ca.bundles.bundles(), ca.clock.now()) {
            Ok(svid) => Self::judge(ca, svid).await,
            Err(error) => Err(Status::unauthenticated(error.to_string())),
        };
        if let Err(status) = &judged
            && let Some(untold) = REFUSED.admit(Instant::now())
        {
            warn!(
                target: AUDIT,
                { peer.address = %peer.address, reason = status.message(), untold },
                "refused a call of a CA that would be below this one"
            );
        }
        judged
    }

    async fn judge(ca: &Ca, svid: VerifiedSvid) -> Result<Self, Status> {
        let svid = Expect::AnyInTrustDomain(ca.trust_domain().clone())
            .check(svid)
            .map_err(|error: PeerError| Status::permission_denied(error.to_string()))?;
        let storage = |error| refusal::storage("downstream", &error);
        let known = ca
            .known
            .downstream(&ca.registry, svid.id())
            .await
            .map_err(storage)?;
        if !known {
            return Err(Status::permission_denied(format!(
                "{} is not registered as a downstream CA: `signet ca register --downstream`, in all its registrations",
                svid.id()
            )));
        }
        ca.check_signed_here(&svid).await?;
        let number = SerialNumber::new(svid.serial())
            .ok()
            .and_then(|serial| serial.node());
        let node = match number {
            Some(number) => ca.known.node_by_number(&ca.registry, NodeNumber(number)).await,
            None => Ok(None),
        };
        let Some(node) = node.map_err(storage)? else {
            return Err(Status::permission_denied(
                "this SVID is of no node that is known: ask with one that an agent's Workload API gives",
            ));
        };
        Ok(Self {
            svid,
            node: node.name.clone(),
            number: node.number,
        })
    }

    /// Whether it still may: nothing of what it was let in by has been revoked or ended.
    pub(crate) async fn still(&self, ca: &Ca) -> Result<(), Status> {
        let bundles = ca.bundles.bundles();
        let checked = bundles.revocations().check(&self.svid);
        checked.map_err(|revoked| Status::permission_denied(revoked.to_string()))?;
        Self::judge(ca, self.svid.clone()).await.map(drop)
    }

    pub(crate) fn id(&self) -> &SpiffeId {
        self.svid.id()
    }

    pub(crate) fn node(&self) -> (&NodeName, NodeNumber) {
        (&self.node, self.number)
    }

    pub(crate) fn svid(&self) -> &VerifiedSvid {
        &self.svid
    }

    /// As the issuance log names it.
    pub(crate) fn logged(&self) -> LoggedCaller {
        LoggedCaller::Identity(self.id().clone())
    }

    /// What it showed: what it asks for is issued only while that counts.
    pub(crate) fn shown(&self) -> Shown {
        Shown {
            node: self.node.clone(),
            serial: SerialNumber::new(self.svid.serial()).ok(),
            not_before: self.svid.not_before(),
        }
    }
}

impl Ca {
    /// Refuses what a CA below this one has signed: it may be anybody's name, and gives nobody a right here.
    pub(crate) async fn check_signed_here(&self, svid: &VerifiedSvid) -> Result<(), Status> {
        let current = self.authorities_known().await;
        let current = current.map_err(|error| refusal::storage("caller", &error))?;
        let ours = svid
            .signer()
            .is_some_and(|signer| current.signers.contains(signer));
        if ours {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "the SVID of {} was signed by another CA of the trust domain, and this one takes orders from its own alone",
            svid.id()
        )))
    }
}
