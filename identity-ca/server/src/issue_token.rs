//! The one way on which tokens are made, of whichever kind: drafted, signed, logged, and looked at once more.

use std::sync::Arc;
use std::time::Duration;

use signet_authority::{IssuedToken, Serial, TokenIssueError};
use signet_log::{Document, Entry, Hash, Issuance, Record};
use signet_registry::{AppendError, SignedBy, Submission, Withheld};
use signet_rotation::{AuthorityId, AuthorityKind};
use signet_spiffe::{NodeName, SpiffeId, UnixTime};
use tokio::time::sleep;
use tonic::Status;

use crate::authorities::Current;
use crate::ca::Ca;
use crate::caller::Caller;
use crate::refusal::{self, internal};

/// What tokens count in.
const SECOND: Duration = Duration::from_secs(1);

/// How often a token is made anew because another key took over meanwhile.
const TRIES: u32 = 3;

/// What tokens of all kinds have.
pub(crate) struct Draft {
    pub(crate) id: SpiffeId,
    pub(crate) life: Duration,
    pub(crate) serial: Serial,
    pub(crate) now: UnixTime,
}

/// What a token of a kind has besides, and which key signs it.
pub(crate) trait TokenKind: Clone + Send + 'static {
    type Authority: Send + Sync + 'static;

    /// What stands in the issuance log.
    const DOCUMENT: Document;
    const SIGNER: AuthorityKind;

    /// The key that signs now.
    fn active(current: &Current) -> Result<(AuthorityId, Arc<Self::Authority>), Status>;

    /// Whether its signatures leave the process.
    fn is_remote(authority: &Self::Authority) -> bool;

    fn sign(&self, draft: &Draft, authority: &Self::Authority) -> Result<IssuedToken, TokenIssueError>;
}

fn submission<K: TokenKind>(svid: &IssuedToken, signer: AuthorityId, caller: &Caller) -> Submission {
    let issuance = Issuance {
        document: K::DOCUMENT,
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
        signer: Some(SignedBy::Active(K::SIGNER, signer)),
    }
}

impl Ca {
    /// A token of `id` with this content, which stands in the issuance log before it is handed out. Whether the caller may have
    /// it was decided before, but for revocations.
    pub(crate) async fn issue_token<K: TokenKind>(
        &self,
        caller: &Caller,
        id: &SpiffeId,
        life: Duration,
        content: K,
    ) -> Result<IssuedToken, Status> {
        let node = &caller.node().name;
        let mut tries = TRIES;
        let svid = loop {
            tries -= 1;
            self.check_not_withheld(id, node).await?;
            let now = self.after_revocations(id, node).await?;
            let serial = self
                .serial(now, Some(caller.node().number))
                .map_err(|error| internal("issue", &error))?;
            let draft = Draft {
                id: id.clone(),
                life,
                serial,
                now,
            };
            let coming = self.log.announce();
            let (svid, signer) = self.sign_token(draft, content.clone()).await?;
            drop(coming);
            match self.log.append(submission::<K>(&svid, signer, caller)).await {
                Ok(()) => break svid,
                // Nobody has seen it.
                Err(AppendError::Withheld(Withheld::Superseded)) if tries > 0 => {}
                Err(error) => return Err(refusal::append("issue", &error)),
            }
        };
        // What has been revoked gets nothing new. Asked last, so that this holds also if it was revoked just now.
        self.check_not_withheld(&svid.id, node).await?;
        if self.revoked_at(&svid.id, node).await? >= Some(svid.issued_at) {
            return Err(refusal::withheld(&Withheld::Overtaken {
                reason: "ask again".to_owned(),
            }));
        }
        Ok(svid)
    }

    /// Signs with the key that is active as of the last look at the registry, which was for this very call.
    async fn sign_token<K: TokenKind>(
        &self,
        draft: Draft,
        content: K,
    ) -> Result<(IssuedToken, AuthorityId), Status> {
        let current = self.authorities_known().await;
        let current = current.map_err(|error| refusal::storage("issue", &error))?;
        let (id, authority) = K::active(&current)?;
        let signed = if K::is_remote(&authority) {
            let sign = move || content.sign(&draft, &authority);
            self.signing.keys().sign(sign).await?
        } else {
            content.sign(&draft, &authority)
        };
        Ok((signed.map_err(|error| internal("issue", &error))?, id))
    }

    async fn check_not_withheld(&self, id: &SpiffeId, node: &NodeName) -> Result<(), Status> {
        let permit = self.known.may_issue(&self.registry, id, node).await;
        permit
            .map_err(|error| refusal::storage("issue", &error))?
            .map(drop)
            .map_err(|withheld| refusal::withheld(&withheld))
    }

    async fn revoked_at(&self, id: &SpiffeId, node: &NodeName) -> Result<Option<UnixTime>, Status> {
        let at = self.known.revoked_at(&self.registry, id, node).await;
        at.map_err(|error| refusal::storage("issue", &error))
    }

    /// Now, but later than anything of the two was revoked: those who verify could not tell a token from an older one. Tokens
    /// count whole seconds, so this may take one.
    async fn after_revocations(&self, id: &SpiffeId, node: &NodeName) -> Result<UnixTime, Status> {
        let revoked = self.revoked_at(id, node).await?;
        let now = self.clock.now();
        if revoked < Some(now) {
            return Ok(now);
        }
        sleep(SECOND).await;
        let now = self.clock.now();
        if revoked < Some(now) {
            return Ok(now);
        }
        Err(Status::unavailable(
            "what could be issued now is revoked already; look at the CA's clock",
        ))
    }
}
