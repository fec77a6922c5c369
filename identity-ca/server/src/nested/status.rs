//! How it stands with those above and below, for operators.

use signet_proto::ca::v1::{Below, UpstreamStatus};
use signet_registry::StorageError;
use signet_spiffe::UnixTime;
use signet_tls::BundleSource as _;

use crate::authorities::{Current, Upstream};
use crate::ca::Ca;
use crate::clock::unix_seconds;

impl Ca {
    /// Who is above this CA, and how that stands.
    pub(crate) async fn upstream_status(
        &self,
        current: &Current,
    ) -> Result<Option<UpstreamStatus>, StorageError> {
        let kind = match &self.upstream {
            Upstream::None => return Ok(None),
            Upstream::Disk(_) => "disk",
            Upstream::Signet(_) => "signet",
            Upstream::Files => "files",
        };
        let until = current.signing().map(|active| active.authority.not_after());
        let mut status = UpstreamStatus {
            kind: kind.to_owned(),
            until: until.map_or(0, unix_seconds),
            ..UpstreamStatus::default()
        };
        if let Some(link) = &self.link {
            let at = |at: Option<UnixTime>| at.map_or(0, unix_seconds);
            let state = link.state();
            let above = self.registry.above().await?;
            // After a restart, and at a replica that does not reach it: what the registry has.
            let kept = above.as_ref().map(|above| above.heard);
            status.addresses = link.addresses().iter().map(ToString::to_string).collect();
            status.connected = state.connected;
            status.since = unix_seconds(state.since);
            status.failure = state.failure;
            status.heard = at(state.heard.max(kept));
            status.sequence = above.map_or(0, |above| above.sequence);
        }
        Ok(Some(status))
    }

    /// The signing certificates that CAs below this one have.
    pub(crate) async fn below(&self, now: UnixTime) -> Result<Vec<Below>, StorageError> {
        let bundles = self.bundles.bundles();
        let shown = |one: signet_registry::Intermediate| Below {
            spiffe_id: one.spiffe_id.to_string(),
            revoked: bundles.revocations().has_authority(&one.authority),
            authority: one.authority.to_string(),
            serial: one.serial.to_string(),
            signer: one.signer.to_string(),
            not_after: unix_seconds(one.not_after),
        };
        let all = self.registry.intermediates(now).await?;
        Ok(all.into_iter().map(shown).collect())
    }
}
