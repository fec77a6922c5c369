//! Who calls: the node behind a request, by its SVID of the moment.

use std::sync::Arc;
use std::time::Instant;

use signet_log::Caller as LoggedCaller;
use signet_registry::{Node, NodeNumber, Shown, Standing};
use signet_spiffe::{NodeName, SerialNumber, VerifiedSvid};
use signet_telemetry::Throttle;
use signet_tls::{BundleSource, Expect, PeerError};
use tonic::{Request, Status};
use tracing::warn;

use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::hex;
use crate::limits::{TOLD, TOLD_PER};
use crate::refusal::{self, internal};
use crate::stream::Peer;

/// Of what is logged of calls that were refused: everybody can make one. The audit stream has its own bound.
static REFUSED: Throttle = Throttle::new(TOLD, TOLD_PER);

/// Whom something is issued to.
#[derive(Debug, Clone)]
pub(crate) struct Applicant {
    pub(crate) node: NodeName,
    pub(crate) number: NodeNumber,
    /// As the issuance log names it.
    pub(crate) logged: LoggedCaller,
    /// What it showed; nothing of one that is known otherwise, by a join token, say.
    pub(crate) shown: Option<Shown>,
}

/// Proof that a request comes from a node that attested, and whose SVID is good now: only [`Caller::of`] makes one.
#[derive(Debug)]
#[must_use = "a call is authorized by what its caller may do"]
pub(crate) struct Caller {
    node: Arc<Node>,
    svid: VerifiedSvid,
}

impl Caller {
    /// Verifies anew at each call: a connection outlives the moment of its handshake.
    pub(crate) async fn of<T>(ca: &Ca, request: &Request<T>) -> Result<Self, Status> {
        let peer = peer(request)?;
        let svid = peer
            .svid(ca.bundles.bundles(), ca.clock.now())
            .and_then(|svid| Expect::AnyNode(ca.trust_domain().clone()).check(svid))
            .map_err(|error| refuse(peer, &error))?;
        let Some(name) = svid.id().node_name() else {
            return Err(internal("caller", &"a node's SVID without a node's name"));
        };
        let known = ca.known.node(&ca.registry, &name).await;
        ca.check_signed_here(&svid).await?;
        match known {
            Ok(Some(node)) => match ca.registry.recognize(&name, svid.serial()).await {
                Ok(Standing::Good) => Ok(Self { node, svid }),
                Ok(Standing::Replaced) => {
                    if let Some(untold) = REFUSED.admit(Instant::now()) {
                        let serial = hex::encode(svid.serial());
                        warn!(
                            target: AUDIT,
                            { peer.node = %name, peer.address = %peer.address, svid.serial = %serial, untold },
                            "refused a call: the node's SVID has been replaced"
                        );
                    }
                    Err(refusal::replaced(&name))
                }
                Err(error) => Err(refusal::storage("caller", &error)),
            },
            Ok(None) => {
                if let Some(untold) = REFUSED.admit(Instant::now()) {
                    warn!(peer.node = %name, peer.address = %peer.address, untold, "refused a call: the node is not known");
                }
                Err(Status::unauthenticated(format!(
                    "the node {name} is not known to this CA; it has to attest with a new join token"
                )))
            }
            Err(error) => Err(refusal::storage("caller", &error)),
        }
    }

    /// The node.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Serial number of its SVID.
    pub(crate) fn serial(&self) -> &[u8] {
        self.svid.serial()
    }

    /// What it showed: what it asks for is issued only while that counts.
    pub(crate) fn shown(&self) -> Shown {
        Shown {
            node: self.node.name.clone(),
            serial: SerialNumber::new(self.svid.serial()).ok(),
            not_before: self.svid.not_before(),
        }
    }

    /// As the one whom something is issued to.
    pub(crate) fn applicant(&self) -> Applicant {
        Applicant {
            node: self.node.name.clone(),
            number: self.node.number,
            logged: self.logged(),
            shown: Some(self.shown()),
        }
    }

    /// As the issuance log names it.
    pub(crate) fn logged(&self) -> LoggedCaller {
        LoggedCaller::Node(self.node.name.clone())
    }

    /// Its SVID.
    pub(crate) fn svid(&self) -> &VerifiedSvid {
        &self.svid
    }
}

/// The connection that a request came over.
pub(crate) fn peer<T>(request: &Request<T>) -> Result<&Peer, Status> {
    request
        .extensions()
        .get::<Peer>()
        .ok_or_else(|| internal("caller", &"a request without its connection"))
}

fn refuse(peer: &Peer, error: &PeerError) -> Status {
    if let Some(untold) = REFUSED.admit(Instant::now()) {
        warn!(peer.address = %peer.address, %error, untold, "refused a call");
    }
    match error {
        PeerError::NoCertificate => Status::unauthenticated(
            "this call needs a node's certificate; Attest with a join token is the only one without",
        ),
        PeerError::Svid(_) => Status::unauthenticated(error.to_string()),
        PeerError::Unexpected { .. } | PeerError::Signer { .. } => {
            Status::permission_denied(error.to_string())
        }
    }
}
