//! What the CA above taints or revokes is replaced here at once: an authority of ours that rests on it signs no longer than it must.

use std::collections::BTreeSet;
use std::time::Duration;

use signet_log::Caller;
use signet_registry::{AuthorityError, StoredAuthority};
use signet_rotation::{AuthorityKind, Enough, State, StepError};
use signet_spiffe::{KeyId, X509Bundle};
use signet_tls::BundleSource as _;
use tracing::warn;

use crate::audit::AUDIT;
use crate::authorities::{Current, StepFailure};
use crate::ca::Ca;

/// What is to be thought of an authority of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stain {
    None,
    /// One above it is tainted: what this one signed is to be replaced.
    Tainted,
    /// It, or one above it, is revoked: nothing that it signs counts.
    Revoked,
}

/// Takes the steps that follow from what the CA above said. The steps of an operator's own hand are not asked for: this is why they
/// said it.
pub(crate) async fn heed(ca: &Ca, current: &Current) -> Result<(), StepFailure> {
    if ca.link.is_none() {
        return Ok(());
    }
    let above = ca.registry.above().await?;
    let tainted: BTreeSet<String> = above.into_iter().flat_map(|above| above.tainted).collect();
    let stain = |one: &StoredAuthority| stain(ca, one, &tainted);
    let of_kind = |state| {
        let all = current.all.iter();
        all.filter(move |one| one.life.kind == AuthorityKind::X509 && one.life.state == state)
    };
    let Some(active) = of_kind(State::Active).next() else {
        return Ok(());
    };
    let registry = ca.registry.acting(Caller::Ca, ca.clock.now());
    let why = stain(active);
    if why > Stain::None {
        let id = active.life.id.clone();
        let (kind, longest) = (AuthorityKind::X509, Duration::ZERO);
        for one in of_kind(State::Prepared).filter(|one| stain(one) > Stain::None) {
            registry
                .retire_authority(kind, &one.life.id, longest, ca.clock.now(), false)
                .await?;
        }
        let good = of_kind(State::Prepared).any(|one| stain(one) == Stain::None);
        if !good {
            warn!(target: AUDIT, { authority.id = %id, reason = ?why }, "an authority rests on one that the CA above gave up: another one is asked for");
            ca.prepare(&registry, kind).await?;
        }
        if activate(ca, &registry, why).await? {
            warn!(target: AUDIT, { authority.id = %id }, "another authority signs in the place of one that the CA above gave up");
        }
        // The rest when that is seen.
        return Ok(());
    }
    for one in of_kind(State::Old).filter(|one| stain(one) > Stain::None) {
        registry
            .taint_authority(AuthorityKind::X509, &one.life.id, ca.clock.now(), false)
            .await?;
        warn!(target: AUDIT, { authority.id = %one.life.id }, "tainted an authority with the one above it");
    }
    Ok(())
}

/// Lets the prepared one sign, as soon as that ends nobody. Says whether it does.
async fn activate(ca: &Ca, registry: &signet_registry::Registry, why: Stain) -> Result<bool, StepFailure> {
    let interval = ca.signing.rotation.publish_interval;
    // Where nothing that is signed counts, there is nobody to lose. Else every node has to have the root, or the time to have passed.
    let ways: &[Enough] = match why {
        Stain::Revoked => &[Enough::Nothing],
        Stain::Tainted | Stain::None => &[Enough::Acknowledged, Enough::Time],
    };
    for enough in ways {
        let done = registry
            .activate_authority(
                AuthorityKind::X509,
                None,
                interval,
                *enough,
                ca.clock.now(),
                false,
            )
            .await;
        match done {
            Ok(_) => return Ok(true),
            Err(AuthorityError::Step(StepError::Unpublished { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn stain(ca: &Ca, one: &StoredAuthority, tainted: &BTreeSet<String>) -> Stain {
    let keys = keys_of(ca, one);
    let bundles = ca.bundles.bundles();
    if keys.iter().any(|key| bundles.revocations().has_authority(key)) {
        return Stain::Revoked;
    }
    if keys.iter().any(|key| tainted.contains(&key.to_string())) {
        return Stain::Tainted;
    }
    Stain::None
}

/// Of an authority and those above it.
fn keys_of(ca: &Ca, one: &StoredAuthority) -> Vec<KeyId> {
    let chain = one.chain().unwrap_or_default();
    let keys = chain.into_iter().filter_map(|certificate| {
        let alone = X509Bundle::new(ca.trust_domain().clone(), vec![certificate]).ok()?;
        alone.key_ids().next().cloned()
    });
    keys.collect()
}
