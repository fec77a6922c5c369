use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use signet_spiffe::{SpiffeId, WitBundleSet};
use zeroize::Zeroizing;

/// A WIT-SVID with its private key, as workloads get it. Both are wiped when the last holder drops them.
///
/// Copies of the key that are on their way to a workload live in gRPC message buffers, which nobody wipes.
#[derive(PartialEq, Eq)]
pub struct WitSvid {
    id: SpiffeId,
    token: Zeroizing<String>,
    key: Zeroizing<String>,
}

/// An ID that only Signet's own parts may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} belongs to a part of Signet and is never given to a workload")]
pub struct WitSvidError(pub SpiffeId);

impl WitSvid {
    /// A token that its maker has verified to be a WIT-SVID of `id`, and its private key as a JWK (RFC 7517).
    ///
    /// # Errors
    /// See [`WitSvidError`].
    pub fn new(id: SpiffeId, token: Zeroizing<String>, key: Zeroizing<String>) -> Result<Self, WitSvidError> {
        if id.is_infrastructure() {
            return Err(WitSvidError(id));
        }
        Ok(Self { id, token, key })
    }

    /// Whose it is.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The compact JWS. Alone it is worth nothing; still, nobody else has to have it.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A JWK. A secret.
    pub fn secret_key(&self) -> &str {
        &self.key
    }
}

impl fmt::Debug for WitSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WitSvid")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What there is of WIT-SVIDs. Who gets which says the rest of the [`Offers`](crate::Offers).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WitOffers {
    /// One for each identity that has one yet.
    pub svids: BTreeMap<SpiffeId, Arc<WitSvid>>,
    /// Identities that have lost theirs to a revocation, and have no new one yet: their workloads hear of it.
    pub taken_back: Arc<BTreeSet<SpiffeId>>,
    /// What WIT-SVIDs are checked with, for every workload: at least the own trust domain's, which may be empty. What is revoked
    /// is told to nobody.
    pub bundles: Arc<WitBundleSet>,
    /// The same of other trust domains, for those workloads whose registration names them.
    pub federated: Arc<WitBundleSet>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svid(id: &str) -> Result<WitSvid, WitSvidError> {
        let text = |text: &str| Zeroizing::new(text.to_owned());
        WitSvid::new(SpiffeId::parse(id).unwrap(), text("token"), text("secret"))
    }

    #[test]
    fn no_workload_gets_an_infrastructure_id() {
        assert!(svid("spiffe://td/signet/node/n1").is_err());
    }

    #[test]
    fn the_key_is_not_shown() {
        let shown = format!("{:?}", svid("spiffe://td/ns/shop/sa/web").unwrap());
        assert!(shown.contains("/ns/shop/sa/web"), "{shown}");
        assert!(!shown.contains("secret") && !shown.contains("token"), "{shown}");
    }
}
