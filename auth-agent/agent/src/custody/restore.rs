//! What of a state still counts.

use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use signet_proto::agent::v1::KeptSvid;
use signet_spiffe::UnixTime;
use signet_tls::SvidKeyPair;

use super::content::{Serials, Unreadable, decode};
use super::file::Unsealable;
use super::keep::Custody;
use crate::ca::{IdentityError, NodeIdentity, StateError, StateFile};
use crate::svids::{IssueError, WorkloadSvid};
use crate::view::{View, ViewError, ViewStore};

/// What the life before has left.
#[derive(Debug)]
pub struct Restored {
    /// Its view, with what is revoked since.
    pub view: View,
    /// Its SVIDs, as far as they verify now.
    pub svids: Vec<RestoredSvid>,
    /// Of all that are in the file.
    pub(super) serials: Serials,
}

/// An SVID of the life before.
#[derive(Debug)]
pub struct RestoredSvid {
    /// For this registration.
    pub registration: String,
    /// Verified again.
    pub svid: WorkloadSvid,
    /// Whether it is to be replaced as soon as that can be.
    pub outdated: bool,
}

/// Why nothing of a state counts.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It cannot be opened.
    #[error(transparent)]
    File(#[from] Unsealable),
    /// It is not built as it should be.
    #[error(transparent)]
    Content(#[from] Unreadable),
    /// The operator has put another bundle in place.
    #[error("it is of a life with another trust bundle")]
    OtherBundle,
    /// The view in it.
    #[error("its view is of no use")]
    View(#[from] ViewError),
    /// Nobody is believed but the CA.
    #[error("everything counts as revoked: {0}")]
    Unreadable(String),
    /// This node is out.
    #[error("{0}")]
    Banned(String),
    /// The node has no SVID.
    #[error("this node has no SVID of its own")]
    Nobody,
    /// The node's SVID cannot be read.
    #[error("this node's own SVID cannot be read")]
    State(#[from] StateError),
    /// The node's SVID counts no more.
    #[error("this node's own SVID is of no use any more")]
    Identity(#[from] IdentityError),
}

pub(super) fn restore(
    bytes: &[u8],
    custody: &Custody,
    store: &ViewStore,
    own: &StateFile,
) -> Result<Restored, Refused> {
    let (state, keys) = decode(bytes)?;
    if state.started_with != custody.started_with {
        return Err(Refused::OtherBundle);
    }
    let view = store.earlier(&state.view.unwrap_or_default())?;
    let revocations = view.revocations();
    if let Some(reason) = revocations.set().unreadable() {
        return Err(Refused::Unreadable(reason.to_string()));
    }
    if let Some(reason) = revocations.banned_node(&custody.node) {
        return Err(Refused::Banned(reason.to_string()));
    }
    // Who is nobody himself has nothing to give.
    let pair = own.load()?.ok_or(Refused::Nobody)?;
    NodeIdentity::new(
        pair,
        &custody.trust_domain,
        &custody.node,
        view.bundles(),
        UnixTime::now(),
    )?;
    let mut serials = Serials::new();
    let mut svids = Vec::new();
    for (number, (svid, key)) in state.svids.into_iter().zip(keys).enumerate() {
        let registration = svid.registration.clone();
        match verify(&view, svid, key) {
            Ok(svid) => {
                serials.insert(svid.svid.serial.clone());
                svids.push(svid);
            }
            Err(error) => {
                // A name that no serial number has: it is in the file, and must not stay.
                serials.insert(format!("dropped {number}"));
                tracing::debug!(
                    registration,
                    error = format!("{error:#}"),
                    "an SVID of the life before counts no more"
                );
            }
        }
    }
    Ok(Restored { view, svids, serials })
}

fn verify(view: &View, kept: KeptSvid, key: &[u8]) -> anyhow::Result<RestoredSvid> {
    use anyhow::Context as _;
    let registration = view
        .registration(&kept.registration)
        .context("its registration is not in the view")?;
    let pair = SvidKeyPair {
        chain: kept.chain.into_iter().map(CertificateDer::from).collect(),
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec())),
    };
    let svid: Result<_, IssueError> = WorkloadSvid::new(pair, &registration.spiffe_id, view.bundles());
    Ok(RestoredSvid {
        registration: kept.registration,
        svid: svid?,
        outdated: kept.outdated,
    })
}
