//! Revocation, bans and eviction: what the operator asks for, and what the CA itself honours.

use std::sync::Arc;
use std::time::Duration;

use signet_authority::RevokedSerial;
use signet_proto::ca::v1::revoke_request::Subject as Asked;
use signet_proto::ca::v1::{AuthorityCrl, GetCrlResponse, RevocationEntry, RevokeRequest, RevokeResponse};
use signet_registry::{
    Effect, NewRevocation, NodeFate, NodeNumber, Position, Registry, Revision, Revocation, RevokeError,
    StorageError, StoredAuthority, Target,
};
use signet_rotation::{AuthorityKind, State};
use signet_spiffe::{KeyId, NodeName, Revocations, SerialNumber, SpiffeId, Subject, UnixTime};
use signet_tls::BundleSource;
use tonic::Status;
use tracing::{info, warn};

use crate::audit::AUDIT;
use crate::authorities::{Current, Lists};
use crate::ca::Ca;
use crate::clock::unix_seconds;
use crate::config::{MAX_NODE_SVID_TTL, MAX_SVID_TTL, ROOT_LIFE};
use crate::refusal::{self, invalid};
use crate::wire;

/// How long a revocation list counts. Those who fetch it come back sooner.
pub(crate) const LIST_LIFE: Duration = Duration::from_hours(1);

/// Longest reason, characters.
const MAX_REASON: usize = 256;

/// An operator's request, checked.
pub(crate) struct Order {
    pub(crate) target: Target,
    pub(crate) fate: NodeFate,
    pub(crate) reason: String,
    pub(crate) asker: String,
    /// New certificates may follow at once.
    pub(crate) reissue: bool,
    pub(crate) rehearse: bool,
    /// Also what the CA knows nothing of.
    pub(crate) force: bool,
}

impl Ca {
    /// What a call of `Revoke` asks for.
    pub(crate) fn order(&self, request: &RevokeRequest, asker: String) -> Result<Order, Status> {
        let target = match request.subject.as_ref() {
            None => {
                return Err(invalid(
                    "say what to revoke: a serial number, SPIFFE ID, node or authority",
                ));
            }
            Some(Asked::Serial(text)) => Target::Serial(
                text.parse::<SerialNumber>()
                    .map_err(|error| invalid(format!("that is no serial number: {error}")))?,
            ),
            Some(Asked::SpiffeId(text)) => Target::Id(self.revocable(text)?),
            Some(Asked::Node(text)) => Target::Node(NodeName::parse(text).map_err(invalid)?),
            Some(Asked::Authority(text)) => Target::Authority(self.foreign_authority(text)?),
        };
        Ok(Order {
            // A serial number comes once: there is nothing to keep closed.
            reissue: request.reissue || !matches!(target, Target::Id(_)),
            target,
            fate: NodeFate::Stays,
            reason: reason(&request.reason)?,
            asker,
            rehearse: request.rehearse,
            force: request.force,
        })
    }

    /// What `BanNode` and `EvictNode` ask for.
    pub(crate) fn node_order(
        name: &str,
        fate: NodeFate,
        why: &str,
        asker: String,
        rehearse: bool,
    ) -> Result<Order, Status> {
        Ok(Order {
            target: Target::Node(NodeName::parse(name).map_err(invalid)?),
            fate,
            reason: reason(why)?,
            asker,
            reissue: true,
            rehearse,
            // The registry itself tells whether there is such a node.
            force: true,
        })
    }

    fn revocable(&self, text: &str) -> Result<SpiffeId, Status> {
        let id = SpiffeId::parse(text).map_err(invalid)?;
        if id.trust_domain() != self.trust_domain() {
            return Err(invalid(format!(
                "{id} is not of the trust domain {}",
                self.trust_domain()
            )));
        }
        if let Some(name) = id.node_name() {
            return Err(invalid(format!(
                "{id} is the node {name}: revoke it as a node, with all that it holds keys for"
            )));
        }
        if id.is_infrastructure() || id.path().is_empty() {
            return Err(invalid(format!(
                "{id} is the CA's own and cannot be revoked by itself"
            )));
        }
        Ok(id)
    }

    fn foreign_authority(&self, text: &str) -> Result<KeyId, Status> {
        let key: KeyId = text
            .parse()
            .map_err(|error| invalid(format!("that is no key identifier: {error}")))?;
        let current = self.signing.latest();
        let ours = |id: &str| {
            current
                .all
                .iter()
                .any(|one| one.life.state.is_published() && one.life.id.as_str() == id)
        };
        if ours(&key.to_string()) {
            return Err(Status::failed_precondition(format!(
                "{key} is an authority of this CA: `signet ca authority revoke x509 {key}` takes it out of the bundle as well, if it does \
                 not sign"
            )));
        }
        Ok(key)
    }

    /// Revokes, or rehearses it. Whoever asked may go away meanwhile: what is begun is brought to its end.
    pub(crate) async fn revoke(
        self: &Arc<Self>,
        registry: Registry,
        order: Order,
    ) -> Result<RevokeResponse, Status> {
        let ca = Arc::clone(self);
        tokio::spawn(async move { ca.carry_out(&registry, order).await })
            .await
            .unwrap_or_else(|error| Err(Status::internal(format!("the revocation broke off: {error}"))))
    }

    async fn carry_out(&self, registry: &Registry, order: Order) -> Result<RevokeResponse, Status> {
        // A node may be expected and not known yet; see above.
        let may_be_new = order.force || matches!(order.target, Target::Node(_));
        if !may_be_new {
            let known = registry.knows(&order.target).await;
            if !known.map_err(|error| refusal::storage("revoke", &error))? {
                return Err(Status::not_found(unknown(&order.target)));
            }
        }
        let now = self.clock.now();
        let authorities = self.authorities().await;
        let authorities = authorities.map_err(|error| refusal::storage("revoke", &error))?;
        let new = NewRevocation {
            cut: cut(&authorities, now),
            until: end_of(&order.target, now),
            target: order.target,
            reason: order.reason,
            asker: order.asker,
            closed: !order.reissue,
        };
        let effect = registry
            .revoke(&new, order.fate, now, order.rehearse)
            .await
            .map_err(|error| refuse(&error))?;
        if !order.rehearse {
            warn!(
                target: AUDIT,
                {
                    revocation.id = %new.target, revocation.reason = new.reason, revocation.by = new.asker,
                    revocation.fate = ?order.fate, revocation.certificates = effect.certificates
                },
                "revoked"
            );
            self.honour()
                .await
                .map_err(|error| refusal::storage("revoke", &error))?;
        }
        Ok(self.answer(&effect))
    }

    /// Lets a revoked SPIFFE ID have certificates again.
    pub(crate) async fn reopen(
        &self,
        registry: &Registry,
        id: &str,
        asker: &str,
    ) -> Result<RevocationEntry, Status> {
        let id = SpiffeId::parse(id).map_err(invalid)?;
        let reopened = registry.reopen(&id).await.map_err(|error| refuse(&error))?;
        info!(
            target: AUDIT,
            {
                spiffe.id = %id, revocation.by = asker
            },
            "reopened: new certificates may be issued"
        );
        Ok(entry(&reopened))
    }

    /// Brings what this process itself refuses up to date, and wakes the streams that may have to end.
    pub(crate) async fn honour(&self) -> Result<(), StorageError> {
        let _in_order = self.honouring.lock().await;
        let as_of = self.known.revocations(&self.registry).await?;
        let now = self.clock.now();
        let mut revocations = Revocations::of(self.trust_domain().clone());
        for row in self.registry.revocations().await? {
            if row.until < now && !row.banned && !row.closed {
                continue;
            }
            let reason: Arc<str> = if row.banned {
                format!("the node is banned: {}", row.reason).into()
            } else {
                row.reason.as_str().into()
            };
            let (until, at) = (row.cut, row.at);
            let subject = match row.target {
                Target::Serial(serial) => Subject::Serial(serial),
                Target::Authority(key) => Subject::Authority(key),
                Target::Id(id) => Subject::Id { id, until, at },
                Target::Node(name) => {
                    if let Some(NodeNumber(number)) = row.node_number {
                        revocations.insert(Subject::Node { number, until, at }, reason.clone());
                    }
                    let id = SpiffeId::node(self.trust_domain(), &name);
                    Subject::Id { id, until, at }
                }
            };
            revocations.insert(subject, reason);
        }
        let bundles = self.bundles.bundles();
        self.bundles
            .replace(signet_spiffe::BundleSet::clone(&bundles).with_revocations(Arc::new(revocations)));
        self.known.has_honoured(as_of);
        self.honoured.send_modify(|count| *count += 1);
        Ok(())
    }

    /// The same where somebody revoked since, also if nobody has told us.
    pub(crate) async fn honour_latest(&self) -> Result<(), StorageError> {
        if self.known.revocations(&self.registry).await? == self.known.honoured() {
            return Ok(());
        }
        self.honour().await
    }

    fn answer(&self, effect: &Effect) -> RevokeResponse {
        RevokeResponse {
            revocation: Some(entry(&effect.revocation)),
            certificates: count(effect.certificates),
            spiffe_ids: effect.spiffe_ids.iter().map(ToString::to_string).collect(),
            connected: count(self.connected.nodes().len()),
        }
    }

    /// The revocation lists for nodes, which all ask as soon as they hear of a revocation: those for all, which hold up to this
    /// revision.
    pub(crate) async fn crl_for_nodes(&self) -> Result<GetCrlResponse, Status> {
        let revision: Revision = *self.registry.watch().borrow();
        let lists = self.crl_for_all().await?;
        let number = lists.number.max(revision.0);
        Ok(GetCrlResponse { number, ..lists })
    }

    /// Revocation lists that are signed once for all who ask: they serve until there is another revocation or authority to tell of, or a
    /// part of their life is over. Without the PEM, which is longer than the lists themselves: agents make their own.
    pub(crate) async fn crl_for_all(&self) -> Result<GetCrlResponse, Status> {
        let mut last = self.lists_for_all.lock().await;
        let failed = |error| refusal::storage("crl", &error);
        let of = (
            self.known.revocations(&self.registry).await.map_err(failed)?,
            self.known.authorities_seen(),
        );
        let now = self.clock.now();
        let serves = |last: &&ListsForAll| {
            let age = now.as_secs().saturating_sub(last.signed.as_secs());
            last.of == of && age < LIST_LIFE.as_secs() / 4
        };
        if let Some(last) = last.as_ref().filter(serves) {
            return Ok(last.lists.clone());
        }
        let lists = GetCrlResponse {
            pem: String::new(),
            ..self.crl().await?
        };
        *last = Some(ListsForAll {
            of,
            signed: now,
            lists: lists.clone(),
        });
        Ok(lists)
    }

    /// The revocation lists of this moment, signed. Their number is the registry's revision, which never goes down; two lists
    /// with one number differ in their dates alone.
    pub(crate) async fn crl(&self) -> Result<GetCrlResponse, Status> {
        let revision: Revision = *self.registry.watch().borrow();
        let now = self.clock.now();
        let revoked = self
            .registry
            .revoked_certificates(now)
            .await
            .map_err(|error| refusal::storage("crl", &error))?;
        let revoked: Vec<_> = revoked
            .into_iter()
            .map(|certificate| RevokedSerial {
                serial: certificate.serial.as_bytes().to_vec(),
                // A clock that is ahead may have made it later than now.
                at: certificate.at.min(now),
                reason: certificate.reason,
            })
            .collect();
        let current = self.authorities().await;
        let current = current.map_err(|error| refusal::storage("crl", &error))?;
        let certificates = count(revoked.len());
        let lists = Lists::sign(current, revoked, revision.0, now, LIST_LIFE).await;
        let lists = lists.map_err(|error| refusal::issue("crl", &error))?.0;
        let Some((_, first)) = lists.first() else {
            return Err(refusal::unusable("no authority signs lists here"));
        };
        Ok(GetCrlResponse {
            der: first.der.clone(),
            pem: lists.iter().map(|(_, list)| list.pem.as_str()).collect(),
            number: revision.0,
            this_update: unix_seconds(first.this_update),
            next_update: unix_seconds(first.next_update),
            certificates,
            lists: lists
                .into_iter()
                .map(|(authority, list)| AuthorityCrl {
                    authority: authority.as_bytes().to_vec(),
                    der: list.der,
                })
                .collect(),
        })
    }
}

/// Revocation lists as they were signed last.
#[derive(Debug)]
pub(crate) struct ListsForAll {
    /// Where the registry was when revocations, and when authorities, had changed last.
    of: (Position, Position),
    signed: UnixTime,
    lists: GetCrlResponse,
}

/// A row as operators see it.
pub(crate) fn entry(revocation: &Revocation) -> RevocationEntry {
    RevocationEntry {
        revocation: Some(wire::revocation(revocation)),
        by: revocation.asker.clone(),
        cause: revocation.cause.clone().unwrap_or_default(),
    }
}

/// Until when the validity begins of what is issued until now. No key is needed for that: who can issue nothing can revoke.
fn cut(authorities: &Current, now: UnixTime) -> UnixTime {
    let signs =
        |one: &&StoredAuthority| one.life.kind == AuthorityKind::X509 && one.life.state == State::Active;
    let active = authorities.all.iter().find(signs);
    let chain = active.and_then(|one| one.chain().ok());
    // Otherwise rather too far than not far enough.
    chain
        .and_then(|chain| signet_authority::begins(&chain, now))
        .unwrap_or(now)
}

/// What an operator is told who means something that is not there.
fn unknown(target: &Target) -> String {
    let what = match target {
        Target::Serial(serial) => {
            format!(
                "this CA has issued no certificate with the serial number {serial} that could still be valid"
            )
        }
        Target::Id(id) => format!("{id} was never registered at this CA, and nothing was issued to it"),
        Target::Node(name) => format!("the node {name} is not known"),
        Target::Authority(key) => format!("this CA knows no authority with the key {key}"),
    };
    format!("{what}: nothing was revoked. If it is meant all the same, force it (`--force`)")
}

/// No certificate lives longer than the longest SVID; an authority's as long as any root.
fn end_of(target: &Target, now: UnixTime) -> UnixTime {
    let life = match target {
        // A serial number may be a node's.
        Target::Serial(_) | Target::Id(_) | Target::Node(_) => MAX_SVID_TTL.max(MAX_NODE_SVID_TTL),
        Target::Authority(_) => ROOT_LIFE,
    };
    UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().saturating_add(life.as_secs())))
}

pub(crate) fn reason(text: &str) -> Result<String, Status> {
    let text = text.trim();
    if text.is_empty() {
        return Err(invalid("say why: the reason is what others will see"));
    }
    if text.chars().count() > MAX_REASON || text.chars().any(char::is_control) {
        return Err(invalid(format!(
            "a reason is one line of at most {MAX_REASON} characters"
        )));
    }
    Ok(text.to_owned())
}

fn refuse(error: &RevokeError) -> Status {
    match error {
        RevokeError::UnknownNode(_) => Status::not_found(error.to_string()),
        RevokeError::NotClosed(_) | RevokeError::Step(_) => Status::failed_precondition(error.to_string()),
        RevokeError::TooMany => Status::resource_exhausted(error.to_string()),
        RevokeError::Storage(error) => refusal::storage("revoke", error),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use signet_registry::Encryption;

    use super::*;
    use crate::testing;

    #[test]
    fn a_revocation_outlives_every_certificate_that_it_may_be_of() {
        let now = UnixTime::since_unix_epoch(Duration::from_hours(500_000));
        let week = Duration::from_hours(7 * 24);
        for target in [
            Target::Serial(SerialNumber::new(&[7; 16]).unwrap()),
            Target::Node(NodeName::parse("n1").unwrap()),
        ] {
            let left = end_of(&target, now).as_secs() - now.as_secs();
            assert!(left >= week.as_secs(), "{target}: {left}");
        }
    }

    #[tokio::test]
    async fn lists_are_signed_anew_for_a_revocation_and_for_no_other_change() {
        let ca = testing::ca().await;
        let first = ca.crl_for_nodes().await.unwrap();
        for mode in [Encryption::WireGuard, Encryption::Off] {
            let revision = ca.registry.set_encryption(mode).await.unwrap();
            let next = ca.crl_for_nodes().await.unwrap();
            assert_eq!(next.der, first.der, "signed anew");
            // A node that has heard of that change is not told that the lists are older.
            assert!(next.number >= revision.0);
            assert_eq!(ca.crl_for_all().await.unwrap().number, first.number);
        }
        let now = ca.clock.now();
        let new = NewRevocation {
            target: Target::Serial(SerialNumber::new(&[7]).unwrap()),
            cut: now,
            until: UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs() + 3600)),
            reason: "stolen".to_owned(),
            asker: "uid:0".to_owned(),
            closed: false,
        };
        ca.registry
            .revoke(&new, NodeFate::Stays, now, false)
            .await
            .unwrap();
        let after = ca.crl_for_nodes().await.unwrap();
        assert!(after.der != first.der && after.certificates == 1);
        assert!(ca.crl_for_all().await.unwrap().number > first.number);
    }
}
