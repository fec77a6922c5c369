//! A signing certificate for a CA below this one.

use std::sync::Arc;
use std::time::Duration;

use signet_authority::{Authority, IssueError, IssuedAuthority, RequestedKey};
use signet_log::{Document, Entry, Hash, Issuance, Record};
use signet_registry::{
    AppendError, BelowError, Intermediate, Issued, SignedBy, Submission, TokenKeys, Withheld,
};
use signet_rotation::{AuthorityId, AuthorityKind};
use signet_spiffe::{JwtBundle, SerialNumber, SpiffeId, UnixTime, WitBundle};
use tokio::task::spawn_blocking;
use tonic::Status;
use tracing::info;

use super::permit::Downstream;
use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::refusal::{self, internal, invalid};

/// How often one is made anew because another authority took over meanwhile.
const TRIES: u32 = 3;

/// Most bytes of a set of keys for tokens.
const MAX_KEYS: usize = 64 * 1024;

impl Ca {
    /// Signs an authority of a CA below this one. Returns once it is taken down for revocation and stands in the issuance log.
    pub(super) async fn issue_intermediate(
        &self,
        below: &Downstream,
        csr: &[u8],
        life: u64,
    ) -> Result<IssuedAuthority, Status> {
        let key = RequestedKey::from_downstream_request(csr, self.trust_domain())
            .map_err(|error| refusal::request(&error))?;
        let most = self.signing.rotation.downstream_life;
        let life = match life {
            0 => most,
            life => Duration::from_secs(life).min(most),
        };
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let (issued, signer) = self.sign_intermediate(below, &key, life).await?;
            match self.take_down_intermediate(below, &issued, &signer).await? {
                Ok(()) => {
                    info!(
                        target: AUDIT,
                        {
                            spiffe.id = %below.id(), authority.id = %issued.key_id, svid.serial = %issued.serial,
                            svid.not_after = issued.not_after.as_secs(), authority.signer = %signer
                        },
                        "signed the authority of a CA below this one"
                    );
                    return Ok(issued);
                }
                // Nobody has seen it.
                Err(AppendError::Withheld(Withheld::Superseded)) if tries > 0 => {}
                Err(error) => return Err(refusal::append("intermediate", &error)),
            }
        }
    }

    async fn sign_intermediate(
        &self,
        below: &Downstream,
        key: &RequestedKey,
        life: Duration,
    ) -> Result<(IssuedAuthority, AuthorityId), Status> {
        let (node, _) = below.node();
        let permit = self.known.may_issue(&self.registry, below.id(), node).await;
        let floor = permit
            .map_err(|error| refusal::storage("intermediate", &error))?
            .map_err(|withheld| refusal::withheld(&withheld))?;
        let current = self.authorities().await;
        let current = current.map_err(|error| refusal::storage("intermediate", &error))?;
        let active = current.signing().map_err(refusal::unusable)?;
        if !active.authority.has_room_below() {
            return Err(Status::failed_precondition(
                "this CA's own authority allows no CA below it (pathlen): only one whose authorities are roots, or that has one with more \
                 room above it, can sign others",
            ));
        }
        let now = self.clock.now();
        let serial = self
            .serial(now, None)
            .map_err(|error| internal("intermediate", &error))?;
        let (authority, id) = (Arc::clone(&active.authority), active.id.clone());
        let key = key.clone();
        let signing =
            move |authority: &Authority| authority.issue_authority_after(&key, life, serial, now, floor);
        let signed: Result<_, IssueError> = spawn_blocking(move || signing(&authority))
            .await
            .map_err(|error| internal("intermediate", &error))?;
        Ok((
            signed.map_err(|error| refusal::issue("intermediate", &error))?,
            id,
        ))
    }

    async fn take_down_intermediate(
        &self,
        below: &Downstream,
        issued: &IssuedAuthority,
        signer: &AuthorityId,
    ) -> Result<Result<(), AppendError>, Status> {
        let now = self.clock.now();
        let (node, number) = below.node();
        let bad = |error: &dyn std::fmt::Display| internal("intermediate", error);
        let serial = SerialNumber::new(issued.serial.as_bytes()).map_err(|error| bad(&error))?;
        let new = Intermediate {
            authority: issued.key_id.clone(),
            serial: serial.clone(),
            spiffe_id: below.id().clone(),
            node: Some(number),
            signer: signer.as_str().parse().map_err(|error| bad(&error))?,
            not_before: issued.not_before,
            not_after: issued.not_after,
        };
        let registry = self.registry.acting(below.logged(), now);
        registry
            .permit_intermediate(&new, now)
            .await
            .map_err(|error| refuse(&error))?;
        let issuance = Issuance {
            document: Document::X509,
            serial: issued.serial.as_bytes().to_vec(),
            spiffe_id: SpiffeId::authority(self.trust_domain()),
            node: Some(node.clone()),
            not_before: issued.not_before.as_secs(),
            not_after: issued.not_after.as_secs(),
            sha256: Hash::sha256(issued.chain.first().map(AsRef::as_ref).unwrap_or_default()),
        };
        let submission = Submission {
            entry: Entry {
                at: now.as_secs(),
                caller: below.logged(),
                record: Record::Issuance(issuance),
            },
            issued: Some(Issued {
                serial,
                spiffe_id: below.id().clone(),
                node: node.clone(),
                not_before: issued.not_before,
                not_after: issued.not_after,
            }),
            shown: Some(below.shown()),
            signer: Some(SignedBy::Active(AuthorityKind::X509, signer.clone())),
        };
        Ok(self.log.append(submission).await)
    }

    /// Puts the keys for tokens of a CA below this one into the bundle, in place of those that it had there.
    pub(super) async fn publish_keys_of(
        &self,
        below: &Downstream,
        jwks: &[u8],
        wit_keys: &[u8],
    ) -> Result<bool, Status> {
        let domain = self.trust_domain().clone();
        let jwt = JwtBundle::from_jwks(domain.clone(), text(jwks)?).map_err(invalid)?;
        let wit = match text(wit_keys)? {
            "" => WitBundle::empty(domain),
            keys => WitBundle::from_jwks(domain, keys).map_err(invalid)?,
        };
        let now: UnixTime = self.clock.now();
        let registry = self.registry.acting(below.logged(), now);
        let mut any = false;
        for keys in [TokenKeys::Jwt(jwt), TokenKeys::Wit(wit)] {
            let changed = registry.publish_downstream_keys(below.id(), &keys, now).await;
            any |= changed.map_err(|error| refuse(&error))?;
        }
        if any {
            info!(
                target: AUDIT,
                { spiffe.id = %below.id() },
                "published the keys for tokens of a CA below this one"
            );
        }
        Ok(any)
    }
}

/// A set of keys, as text.
fn text(jwks: &[u8]) -> Result<&str, Status> {
    if jwks.len() > MAX_KEYS {
        return Err(invalid(format!("a set of keys has at most {MAX_KEYS} bytes")));
    }
    std::str::from_utf8(jwks).map_err(invalid)
}

pub(super) fn refuse(error: &BelowError) -> Status {
    match error {
        BelowError::NotDownstream(_) => Status::permission_denied(error.to_string()),
        BelowError::Key(_) => Status::failed_precondition(error.to_string()),
        // Of another code: with another key it would be refused as well.
        BelowError::Other { .. } => Status::aborted(error.to_string()),
        BelowError::Instance => invalid(error),
        BelowError::TooMany { .. } | BelowError::Keys { .. } => Status::resource_exhausted(error.to_string()),
        BelowError::Storage(error) => refusal::storage("downstream", error),
    }
}
