//! Authorities as operators see them.

use signet_keys::KeyRecord;
use signet_proto::ca::v1 as wire;
use signet_registry::{StorageError, StoredAuthority};
use signet_rotation::{AuthorityKind, Missing, Publication, State, successor_at};
use signet_spiffe::{NodeName, UnixTime, certificates_to_pem};

use crate::ca::Ca;
use crate::clock::unix_seconds;

pub(super) fn names(nodes: &[NodeName]) -> Vec<String> {
    nodes.iter().map(ToString::to_string).collect()
}

pub(super) fn missing(missing: &[Missing]) -> Vec<String> {
    missing.iter().map(|missing| missing.node.to_string()).collect()
}

impl Ca {
    /// Nodes whose SVID of the moment an authority signed.
    pub(super) async fn signed_by(
        &self,
        one: &StoredAuthority,
        now: UnixTime,
    ) -> Result<Vec<NodeName>, StorageError> {
        match (one.life.kind, one.life.state) {
            (AuthorityKind::X509, State::Old | State::Tainted) => {
                self.registry.nodes_signed_by(&one.life, now).await
            }
            (AuthorityKind::X509, State::Prepared | State::Active | State::Retired | State::Revoked)
            | (AuthorityKind::Jwt | AuthorityKind::Wit, _) => Ok(Vec::new()),
        }
    }

    pub(super) async fn shown(
        &self,
        one: &StoredAuthority,
        now: UnixTime,
    ) -> Result<wire::Authority, StorageError> {
        let life = &one.life;
        let policy = self.signing.rotation.policy(life.kind);
        let at = |at: Option<UnixTime>| at.map_or(0, unix_seconds);
        let record = one.key.as_deref().and_then(|key| KeyRecord::decode(key).ok());
        let lacking = match life.state {
            State::Prepared => self.registry.unacknowledged(life.sequence, now).await?,
            State::Active | State::Old | State::Tainted | State::Retired | State::Revoked => Vec::new(),
        };
        let publication = Publication {
            interval: policy.publish_interval,
            missing: &lacking,
        };
        let is_over = matches!(life.state, State::Old | State::Tainted);
        let is_automatic = self.signing.rotation.automatic;
        Ok(wire::Authority {
            kind: life.kind.to_string(),
            id: life.id.to_string(),
            state: life.state.to_string(),
            published: unix_seconds(life.published),
            sequence: life.sequence,
            activated: at(life.activated),
            ceased: at(life.ceased),
            not_after: unix_seconds(life.not_after),
            ripe: at((life.state == State::Prepared).then(|| publication.ripe_at(life))),
            missing: missing(&lacking),
            outlived: at(is_over.then(|| life.outlived_at(policy.longest))),
            nodes: names(&self.signed_by(one, now).await?),
            key_manager: record
                .as_ref()
                .map_or_else(String::new, |record| record.manager().to_owned()),
            key_kind: record
                .as_ref()
                .map_or_else(String::new, |record| record.kind().to_string()),
            successor: at((life.state == State::Active && is_automatic).then(|| successor_at(life, &policy))),
            certificates: match life.kind {
                AuthorityKind::X509 => pem(one)?,
                AuthorityKind::Jwt | AuthorityKind::Wit => String::new(),
            },
        })
    }
}

fn pem(one: &StoredAuthority) -> Result<String, StorageError> {
    Ok(certificates_to_pem(&one.chain()?))
}
