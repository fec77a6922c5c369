//! From a [`Grant`] to the wire. What a profile sends is decided here, and what of it must have changed to be sent again.

use std::collections::BTreeSet;
use std::sync::Arc;

use signet_proto::workload;
use signet_spiffe::{
    BundleSet, CertificateDer, JwtBundle, JwtBundleSet, SpiffeId, TrustDomain, WitBundleSet, X509Bundle,
};

use crate::entitlement::{Grant, Hints};
use crate::{Holdings, WitSvid, X509Svid};

/// Why there is nothing to send to who has an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// It has not been issued yet.
    NotYet,
    /// All that there was has been revoked: who has it shall let go of it.
    TakenBack,
}

/// A streaming call of the Workload API.
pub(crate) trait Profile: Send + 'static {
    /// What one message says.
    type Content: PartialEq + Send + Sync;
    /// The message.
    type Message: Send;

    /// What there is of it now.
    fn content(grant: Grant) -> Result<Self::Content, Absent>;
    /// The full state, as every message must be (Workload API §4.3).
    fn message(content: &Self::Content) -> Self::Message;
}

/// `FetchX509SVID`.
pub(crate) struct X509Svids;

impl Profile for X509Svids {
    type Content = (Vec<Arc<X509Svid>>, Arc<BundleSet>, Hints);
    type Message = workload::X509svidResponse;

    fn content(grant: Grant) -> Result<Self::Content, Absent> {
        if grant.svids.is_empty() {
            return Err(Absent::NotYet);
        }
        Ok((grant.svids, grant.bundles, grant.hints))
    }

    fn message((svids, bundles, hints): &Self::Content) -> Self::Message {
        let own: BTreeSet<&TrustDomain> = svids.iter().map(|svid| svid.id().trust_domain()).collect();
        let federated = bundles
            .iter()
            .filter(|bundle| !own.contains(bundle.trust_domain()));
        workload::X509svidResponse {
            svids: svids
                .iter()
                .map(|svid| svid_message(svid, bundles, hints))
                .collect(),
            crl: Vec::new(),
            federated_bundles: federated.map(bundle_entry).collect(),
        }
    }
}

/// `FetchX509Bundles`.
pub(crate) struct X509Bundles;

impl Profile for X509Bundles {
    type Content = Arc<BundleSet>;
    type Message = workload::X509BundlesResponse;

    fn content(grant: Grant) -> Result<Self::Content, Absent> {
        Ok(grant.bundles)
    }

    fn message(bundles: &Self::Content) -> Self::Message {
        workload::X509BundlesResponse {
            crl: Vec::new(),
            bundles: bundles.iter().map(bundle_entry).collect(),
        }
    }
}

/// `FetchJWTBundles`.
pub(crate) struct JwtBundles;

impl Profile for JwtBundles {
    type Content = JwtBundleSet;
    type Message = workload::JwtBundlesResponse;

    fn content(grant: Grant) -> Result<Self::Content, Absent> {
        // What is revoked is our own knowledge: its news are none for those who follow the keys.
        Ok(JwtBundleSet::clone(&grant.jwt_bundles).with_revocations(Arc::default()))
    }

    fn message(bundles: &Self::Content) -> Self::Message {
        workload::JwtBundlesResponse {
            bundles: bundles.iter().map(jwt_bundle_entry).collect(),
        }
    }
}

/// `FetchWITSVID`.
pub(crate) struct WitSvids;

impl Profile for WitSvids {
    type Content = (Vec<Arc<WitSvid>>, Hints);
    type Message = workload::WitsvidResponse;

    fn content(grant: Grant) -> Result<Self::Content, Absent> {
        if !grant.wits.is_empty() {
            return Ok((grant.wits, grant.hints));
        }
        let gone = grant.ids.iter().all(|id| grant.wits_taken_back.contains(id));
        Err(if gone { Absent::TakenBack } else { Absent::NotYet })
    }

    fn message((svids, hints): &Self::Content) -> Self::Message {
        let message = |svid: &Arc<WitSvid>| workload::Witsvid {
            spiffe_id: svid.id().to_string(),
            wit_svid: svid.token().to_owned(),
            wit_svid_key: svid.secret_key().to_owned(),
            hint: hints.get(svid.id()).map(ToString::to_string).unwrap_or_default(),
        };
        workload::WitsvidResponse {
            svids: svids.iter().map(message).collect(),
        }
    }
}

/// `FetchWITBundles`.
pub(crate) struct WitBundles;

impl Profile for WitBundles {
    type Content = WitBundleSet;
    type Message = workload::WitBundlesResponse;

    fn content(grant: Grant) -> Result<Self::Content, Absent> {
        let bundles = WitBundleSet::clone(&grant.wit_bundles).with_revocations(Arc::default());
        // The own trust domain's is there, or nobody has told yet.
        let told = bundles.iter().next().is_some();
        told.then_some(bundles).ok_or(Absent::NotYet)
    }

    fn message(bundles: &Self::Content) -> Self::Message {
        let entry = |bundle: &signet_spiffe::WitBundle| {
            let id = SpiffeId::authority(bundle.trust_domain());
            (id.to_string(), bundle.to_jwks())
        };
        workload::WitBundlesResponse {
            bundles: bundles.iter().map(entry).collect(),
        }
    }
}

/// What a protocol of its own makes its messages from.
pub(crate) struct Everything;

impl Profile for Everything {
    type Content = Holdings;
    type Message = Holdings;

    fn content(grant: Grant) -> Result<Self::Content, Absent> {
        Ok(grant.into())
    }

    fn message(holdings: &Self::Content) -> Self::Message {
        holdings.clone()
    }
}

fn jwt_bundle_entry(bundle: &JwtBundle) -> (String, Vec<u8>) {
    let id = SpiffeId::authority(bundle.trust_domain());
    (id.to_string(), bundle.to_jwks().into_bytes())
}

fn svid_message(svid: &X509Svid, bundles: &BundleSet, hints: &Hints) -> workload::X509svid {
    let bundle = bundles.get(svid.id().trust_domain()).map(X509Bundle::authorities);
    workload::X509svid {
        spiffe_id: svid.id().to_string(),
        x509_svid: concatenated(svid.chain()),
        x509_svid_key: svid.secret_key().to_vec(),
        bundle: concatenated(bundle.unwrap_or_default()),
        hint: hints.get(svid.id()).map(ToString::to_string).unwrap_or_default(),
    }
}

/// Keyed by the trust domain's SPIFFE ID, `spiffe://<trust domain>`.
fn bundle_entry(bundle: &X509Bundle) -> (String, Vec<u8>) {
    let id = SpiffeId::authority(bundle.trust_domain());
    (id.to_string(), concatenated(bundle.authorities()))
}

fn concatenated(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    certificates
        .iter()
        .map(AsRef::<[u8]>::as_ref)
        .collect::<Vec<_>>()
        .concat()
}
