//! The first authorities: those that an earlier version kept in files, or new ones.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use signet_authority::{DataDirectory, EarlierAuthority, JwtSigningKey};
use signet_keys::{KeyManager as _, MemoryKeys};
use signet_registry::{Adopted, NewAuthority, Position, Registry};
use signet_rotation::AuthorityKind;
use signet_spiffe::UnixTime;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::current::Current;
use super::make::Maker;
use super::opened::Opened;
use super::rotation::Rotation;
use super::signing::Signing;
use crate::hex;

/// What an earlier version had in its data directory.
struct Earlier {
    x509: Option<EarlierAuthority>,
    jwt: Option<Zeroizing<Vec<u8>>>,
}

/// Opens the authorities of a registry; makes the first ones, or takes over those of an earlier version, where it has none.
pub(crate) async fn begin(
    registry: &Registry,
    maker: Maker,
    directory: Option<&DataDirectory>,
    issuer: Option<String>,
    now: UnixTime,
) -> anyhow::Result<Signing> {
    let rotation: Rotation = maker.rotation;
    let found = registry.authorities().await?;
    let earlier = match directory {
        Some(directory) => Earlier {
            x509: directory.earlier_authority()?,
            jwt: directory.earlier_jwt_key()?,
        },
        None => Earlier {
            x509: None,
            jwt: None,
        },
    };
    if found.all.is_empty() {
        check_binding(registry, &earlier).await?;
        let first = first(&maker, &earlier, now).await?;
        match registry.adopt_authorities(first, now).await? {
            Adopted::Yes => info!("the registry has its first authorities"),
            // Another CA on the same database was quicker, and its keys are those that count.
            Adopted::No => {}
        }
    }
    let found = registry.authorities().await?;
    let keys = Arc::new(Opened::new(maker.manager));
    let domain = maker.trust_domain;
    let opening = {
        let (keys, issuer) = (Arc::clone(&keys), issuer.clone());
        // Nobody has looked where the registry is: the first look opens nothing anew but takes its place.
        tokio::task::spawn_blocking(move || {
            Current::open(found, Position::default(), &domain, issuer.as_deref(), &*keys)
        })
    };
    let current = opening.await??.context("the registry has no authorities")?;
    // What waiting does not mend.
    if let Some(why) = &current.not_set_up {
        anyhow::bail!("a key that signs cannot be used here: {why}");
    }
    // One whose keys are out of reach goes on without: what it publishes and what operators do needs none, and keys come back.
    if let Some(directory) = directory {
        tell_of_files(directory, &earlier, &current);
    }
    Ok(Signing::new(current, keys, issuer, rotation))
}

/// CAs of an earlier version that share this database said which keys they have. The first of the new version has to have them, or they
/// would be lost.
async fn check_binding(registry: &Registry, earlier: &Earlier) -> anyhow::Result<()> {
    let Some(bound) = registry.bound_keys().await? else {
        return Ok(());
    };
    let mut ours = String::new();
    if let (Some(x509), Some(jwt)) = (&earlier.x509, &earlier.jwt) {
        let (_, signer) = MemoryKeys::default().import(jwt)?;
        let root = digest(&SHA256, &x509.root);
        ours = format!(
            "{} {}",
            hex::encode(root.as_ref()),
            JwtSigningKey::new(signer)?.public().id()
        );
    }
    ensure!(
        bound == ours,
        "the database is of CAs that have their keys ({bound}) in files, and this data directory does not have them: start the first \
         CA of this version where authority.pem and jwt-key.pem are; it takes them over into the database, and the others need no \
         copies"
    );
    Ok(())
}

async fn first(maker: &Maker, earlier: &Earlier, now: UnixTime) -> anyhow::Result<Vec<NewAuthority>> {
    let x509 = match &earlier.x509 {
        Some(kept) => {
            let (pkcs8, root) = (kept.pkcs8.clone(), kept.root.clone());
            maker.import(AuthorityKind::X509, pkcs8, Some(root), now).await?
        }
        None => maker.begin(now).await?,
    };
    let jwt = match &earlier.jwt {
        Some(pkcs8) => maker.import(AuthorityKind::Jwt, pkcs8.clone(), None, now).await?,
        None => maker.make(AuthorityKind::Jwt, now).await?,
    };
    let mut first = vec![x509, jwt];
    if maker.rotation.has(AuthorityKind::Wit) {
        first.push(maker.make(AuthorityKind::Wit, now).await?);
    }
    Ok(first)
}

/// Files that have done their part are the operator's to delete: until there is a backup of the registry with what its keys are sealed
/// under, they may be the only copy.
fn tell_of_files(directory: &DataDirectory, earlier: &Earlier, current: &Current) {
    if earlier.x509.is_none() && earlier.jwt.is_none() {
        return;
    }
    let ours = |root: &[u8]| {
        let chains = current.all.iter().filter_map(|one| match one.life.kind {
            AuthorityKind::X509 => one.chain().ok(),
            AuthorityKind::Jwt | AuthorityKind::Wit => None,
        });
        chains.flatten().any(|certificate| *certificate == *root)
    };
    if earlier.x509.as_ref().is_some_and(|kept| !ours(&kept.root)) {
        warn!(
            directory = %directory.path().display(),
            "authority.pem is of no authority that the registry knows: it is not used"
        );
        return;
    }
    info!(
        directory = %directory.path().display(),
        "the keys are in the registry, sealed: authority.pem and jwt-key.pem are not needed any more; delete them once the registry is \
         backed up together with what its keys are sealed under"
    );
}
