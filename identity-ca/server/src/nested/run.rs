//! Follows the CA above: what it publishes and revokes is passed on as it comes, and our JWT keys go up.

use std::sync::Arc;
use std::time::Duration;

use signet_proto::ca::v1::FollowBundleRequest;
use signet_rotation::AuthorityKind;
use signet_spiffe::{JwtBundle, WitBundle};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::link::{Client, Link};
use super::state::OwnKeys;
use crate::ca::Ca;

/// Pauses after failures: the first, and the longest.
const RETRY: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(15);

/// A stream that lived so long was no failure: its SVID has ended, say.
const LIVED: Duration = Duration::from_secs(5);

/// Follows for ever.
pub(crate) async fn run(ca: Arc<Ca>, link: Arc<Link>) {
    let mut pause = RETRY;
    loop {
        let begun = Instant::now();
        let Err(error) = follow(&ca, &link).await;
        if begun.elapsed() >= LIVED {
            pause = RETRY;
            if follow_again(&ca, &link).await {
                continue;
            }
        }
        let (now, why) = (ca.clock.now(), format!("{error:#}"));
        let mut news = false;
        link.state
            .send_modify(|state| news = state.lost(why.clone(), now));
        if news {
            warn!(
                error = why,
                "the CA above is not followed: this one goes on with what it has"
            );
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// Whether the CA above can be reached at once after a stream of some length has ended: nobody has to hear of that.
async fn follow_again(ca: &Ca, link: &Link) -> bool {
    !ca.shutdown.is_cancelled() && link.connect().await.is_ok()
}

async fn follow(ca: &Arc<Ca>, link: &Link) -> anyhow::Result<std::convert::Infallible> {
    let mut client = link.connect().await?;
    let refused = |status: tonic::Status| anyhow::anyhow!("the CA above refused: {}", status.message());
    let mut stream = client
        .follow_bundle(FollowBundleRequest {
            instance: link.instance.clone(),
        })
        .await
        .map_err(refused)?
        .into_inner();
    let mut authorities = ca.signing.watch();
    let mut first = true;
    let mut published = OwnKeys::default();
    loop {
        tokio::select! {
            told = stream.message() => {
                let told = told.map_err(refused)?;
                let told = told.ok_or_else(|| anyhow::anyhow!("the CA above ended the stream"))?;
                let sequence = told.bundle.as_ref().map_or(0, |bundle| bundle.sequence);
                published = OwnKeys {
                    ids: [&told.own_jwt_keys[..], &told.own_wit_keys].concat(),
                    takes_wit: told.takes_wit_keys,
                };
                let changed = link.take(told, first, ca.clock.now()).await?;
                first = false;
                let (now, own) = (ca.clock.now(), published.clone());
                let mut news = false;
                link.state.send_modify(|state| news = state.heard(sequence, own, now));
                if news {
                    info!(bundle.sequence = sequence, "the CA above is followed");
                }
                if changed {
                    ca.honour().await?;
                    ca.authorities().await?;
                }
                ca.signing.due.notify_one();
            }
            changed = authorities.changed() => changed?,
        }
        publish(ca, link, &mut client, &published).await?;
    }
}

/// Sends our keys for tokens up where others are there than we have.
async fn publish(ca: &Ca, link: &Link, client: &mut Client, published: &OwnKeys) -> anyhow::Result<()> {
    let current = ca.authorities().await?;
    let domain = ca.trust_domain();
    let (mut jwt, mut wit) = (Vec::new(), Vec::new());
    for one in current.all.iter().filter(|one| one.life.state.is_published()) {
        match one.life.kind {
            AuthorityKind::Jwt => {
                let set = JwtBundle::from_jwks(domain.clone(), one.jwks()?)?;
                jwt.extend(set.keys().iter().cloned());
            }
            AuthorityKind::Wit if published.takes_wit => {
                let set = WitBundle::from_jwks(domain.clone(), one.jwks()?)?;
                wit.extend(set.keys().iter().cloned());
            }
            AuthorityKind::X509 | AuthorityKind::Wit => {}
        }
    }
    let mut all = jwt.iter().chain(&wit);
    let are_there = all.all(|key| published.ids.iter().any(|id| id == key.id()));
    if are_there && published.ids.len() == jwt.len() + wit.len() {
        return Ok(());
    }
    let wit_keys = if wit.is_empty() {
        String::new()
    } else {
        WitBundle::new(domain.clone(), wit)?.to_jwks()
    };
    let jwks = JwtBundle::new(domain.clone(), jwt)?.to_jwks();
    link.publish(client, jwks, wit_keys).await
}
