//! `IssueWitSvid`: tokens that are bound to a workload's key, where they are on.

use std::sync::Arc;
use std::time::Duration;

use signet_authority::{IssuedWitSvid, JwtIssueError, Serial, WitAuthority, WitKey};
use signet_log::{Document, Entry, Hash, Issuance, Record};
use signet_proto::ca::v1::wit_service_server::WitService;
use signet_proto::ca::v1::{IssueWitSvidRequest, WitSvid};
use signet_registry::{AppendError, Submission, Withheld};
use signet_rotation::{AuthorityId, AuthorityKind};
use signet_spiffe::{SpiffeId, UnixTime};
use tokio::task::spawn_blocking;
use tonic::{Request, Response, Status};
use tracing::debug;

use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::caller::Caller;
use crate::clock::unix_seconds;
use crate::refusal::{self, internal};

/// How often a token is made anew because another key took over meanwhile.
const TRIES: u32 = 3;

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

/// A token to be.
struct Token {
    id: SpiffeId,
    key: WitKey,
    life: Duration,
    serial: Serial,
    now: UnixTime,
}

impl Token {
    fn sign(self, wit: &WitAuthority) -> Result<IssuedWitSvid, JwtIssueError> {
        wit.issue(&self.id, &self.key, self.life, self.serial, self.now)
    }
}

fn submission(svid: &IssuedWitSvid, signer: AuthorityId, caller: &Caller) -> Submission {
    let issuance = Issuance {
        document: Document::Wit,
        serial: svid.serial.as_bytes().to_vec(),
        spiffe_id: svid.id.clone(),
        node: Some(caller.node().name.clone()),
        not_before: svid.issued_at.as_secs(),
        not_after: svid.expires.as_secs(),
        sha256: Hash::sha256(svid.token.as_bytes()),
    };
    Submission {
        entry: Entry {
            at: svid.issued_at.as_secs(),
            caller: caller.logged(),
            record: Record::Issuance(issuance),
        },
        issued: None,
        shown: Some(caller.shown()),
        signer: Some((AuthorityKind::Wit, signer)),
    }
}

impl Ca {
    /// A workload's token, which stands in the issuance log before it is handed out. As with certificates the node names a
    /// registration, never an ID, it must be its own, and who asks has to have the key.
    async fn issue_wit_svid(
        &self,
        caller: &Caller,
        registration: &str,
        csr: &[u8],
    ) -> Result<IssuedWitSvid, Status> {
        let node = &caller.node().name;
        let registration = self.own_registration(node, registration)?;
        let key = WitKey::from_request(csr).map_err(|error| refusal::request(&error))?;
        // Whoever steals one can do nothing with it: it lives as long as a certificate.
        let life = match registration.ttl {
            0 => self.svid_ttl,
            seconds => Duration::from_secs(seconds.into()),
        };
        let mut tries = TRIES;
        let svid = loop {
            tries -= 1;
            self.check_not_withheld(&registration.spiffe_id, node).await?;
            let now = self.after_revocations(&registration.spiffe_id, node).await?;
            let serial = self
                .serial(now, Some(caller.node().number))
                .map_err(|error| internal("issue", &error))?;
            let token = Token {
                id: registration.spiffe_id.clone(),
                key: key.clone(),
                life,
                serial,
                now,
            };
            let (svid, signer) = self.sign_wit(token).await?;
            match self.log.append(submission(&svid, signer, caller)).await {
                Ok(()) => break svid,
                // Nobody has seen it.
                Err(AppendError::Withheld(Withheld::Superseded)) if tries > 0 => {}
                Err(error) => return Err(refusal::append("issue", &error)),
            }
        };
        // As with JWT-SVIDs: asked last, so that this holds also if it was revoked just now.
        self.check_not_withheld(&svid.id, node).await?;
        if self.revoked_at(&svid.id, node).await? >= Some(svid.issued_at) {
            return Err(refusal::withheld(&Withheld::Overtaken {
                reason: "ask again".to_owned(),
            }));
        }
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

    /// Signs with the key that is active as of the last look at the registry, which was for this very call.
    async fn sign_wit(&self, token: Token) -> Result<(IssuedWitSvid, AuthorityId), Status> {
        let current = self.authorities_known().await;
        let current = current.map_err(|error| refusal::storage("issue", &error))?;
        let active = current.wit().map_err(refusal::unusable)?;
        let (id, wit) = active.ok_or_else(|| Status::unavailable(NOT_YET))?;
        let (id, wit) = (id.clone(), Arc::clone(wit));
        let signed = if wit.is_remote() {
            spawn_blocking(move || token.sign(&wit))
                .await
                .map_err(|error| internal("issue", &error))?
        } else {
            token.sign(&wit)
        };
        Ok((signed.map_err(|error| internal("issue", &error))?, id))
    }
}
