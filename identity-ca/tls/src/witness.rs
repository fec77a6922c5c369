//! What the verifier of a connection has seen, for those who ask once the handshake is over.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use signet_spiffe::{BundleSet, CertificateDer, UnixTime, VerifiedSvid};

use crate::expect::PeerError;
use crate::verifier::peer_svid;

/// Remembers what one handshake's verifier made of the peer's chain, so that it need not be verified twice in a row.
///
/// What it remembers counts for exactly that chain, under exactly the bundles and revocations that it was verified with
/// (the same object, not an equal one), and for no instant before it or beyond its end. In every other case the chain is verified anew.
#[derive(Clone, Default)]
pub struct Witness(Arc<Mutex<Option<Seen>>>);

struct Seen {
    chain: Vec<CertificateDer<'static>>,
    /// Kept, so that no other set can come to lie where it lies.
    bundles: Arc<BundleSet>,
    at: UnixTime,
    svid: VerifiedSvid,
}

impl Witness {
    pub(crate) fn saw(
        &self,
        chain: &[CertificateDer<'_>],
        bundles: Arc<BundleSet>,
        at: UnixTime,
        svid: VerifiedSvid,
    ) {
        let chain = chain.iter().map(|one| one.clone().into_owned()).collect();
        let seen = Seen {
            chain,
            bundles,
            at,
            svid,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    /// The peer's SVID, as [`peer_svid`] would say at `now` under `bundles`.
    pub fn svid(
        &self,
        certs: Option<&[CertificateDer<'_>]>,
        bundles: &Arc<BundleSet>,
        now: UnixTime,
    ) -> Result<VerifiedSvid, PeerError> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match seen.filter(|seen| seen.holds(certs.unwrap_or_default(), bundles, now)) {
            Some(seen) => Ok(seen.svid),
            None => peer_svid(certs, bundles, now),
        }
    }
}

impl Seen {
    fn holds(&self, chain: &[CertificateDer<'_>], bundles: &Arc<BundleSet>, now: UnixTime) -> bool {
        Arc::ptr_eq(&self.bundles, bundles)
            && self.chain == chain
            && self.at <= now
            && now <= self.svid.not_after()
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").finish_non_exhaustive()
    }
}
