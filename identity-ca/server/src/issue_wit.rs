//! `IssueWitSvid`: tokens that are bound to a workload's key, where they are on.

use std::sync::Arc;
use std::time::Duration;

use signet_authority::{IssuedToken, TokenIssueError, WitAuthority, WitKey};
use signet_log::Document;
use signet_proto::ca::v1::wit_service_server::WitService;
use signet_proto::ca::v1::{IssueWitSvidRequest, WitSvid};
use signet_rotation::{AuthorityId, AuthorityKind};
use tonic::{Request, Response, Status};
use tracing::debug;

use crate::audit::AUDIT;
use crate::authorities::Current;
use crate::ca::Ca;
use crate::caller::Caller;
use crate::clock::unix_seconds;
use crate::issue_token::{Draft, TokenKind};
use crate::refusal;

/// What a CA says that has none.
pub(crate) const OFF: &str =
    "WIT-SVIDs are off: they are an experiment, which signet-ca run --experimental-wit-svid switches on";

const NOT_YET: &str = "no key signs WIT-SVIDs yet: all nodes have to have the first one before; try again";

/// The service for nodes.
#[derive(Debug, Clone)]
pub(crate) struct Wits(pub(crate) Arc<Ca>);

#[tonic::async_trait]
impl WitService for Wits {
    async fn issue_wit_svid(
        &self,
        request: Request<IssueWitSvidRequest>,
    ) -> Result<Response<WitSvid>, Status> {
        // Before anything else, so that there is nothing else to be had here.
        if !self.0.signing.rotation.wit_svids {
            return Err(Status::unimplemented(OFF));
        }
        let caller = Caller::of(&self.0, &request).await?;
        let IssueWitSvidRequest { registration, csr } = request.get_ref();
        let svid = self.0.issue_wit_svid(&caller, registration, csr).await?;
        Ok(Response::new(WitSvid {
            spiffe_id: svid.id.to_string(),
            token: svid.token.to_string(),
            expires: unix_seconds(svid.expires),
        }))
    }
}

impl TokenKind for WitKey {
    type Authority = WitAuthority;

    const DOCUMENT: Document = Document::Wit;
    const SIGNER: AuthorityKind = AuthorityKind::Wit;

    fn active(current: &Current) -> Result<(AuthorityId, Arc<WitAuthority>), Status> {
        let active = current.wit().map_err(refusal::unusable)?;
        active.cloned().ok_or_else(|| Status::unavailable(NOT_YET))
    }

    fn is_remote(wit: &WitAuthority) -> bool {
        wit.is_remote()
    }

    fn sign(&self, draft: &Draft, wit: &WitAuthority) -> Result<IssuedToken, TokenIssueError> {
        wit.issue(&draft.id, self, draft.life, draft.serial, draft.now)
    }
}

impl Ca {
    /// A workload's token. As with certificates the node names a registration, never an ID, it must be its own, and who asks has
    /// to have the key.
    async fn issue_wit_svid(
        &self,
        caller: &Caller,
        registration: &str,
        csr: &[u8],
    ) -> Result<IssuedToken, Status> {
        let node = &caller.node().name;
        let registration = self.own_registration(node, registration)?;
        let key = WitKey::from_request(csr).map_err(|error| refusal::request(&error))?;
        // Whoever steals one can do nothing with it: it lives as long as a certificate.
        let life = match registration.ttl {
            0 => self.svid_ttl,
            seconds => Duration::from_secs(seconds.into()),
        };
        let svid = self.issue_token(caller, &registration.spiffe_id, life, key);
        let svid = svid.await?;
        debug!(
            target: AUDIT,
            {
                spiffe.id = %svid.id, peer.node = %node, svid.serial = %svid.serial,
                svid.not_after = svid.expires.as_secs()
            },
            "issued a WIT-SVID"
        );
        Ok(svid)
    }
}
