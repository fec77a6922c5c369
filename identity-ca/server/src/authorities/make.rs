//! Making an authority.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustls::pki_types::CertificateDer;
use signet_authority::{Authority, AuthorityRequest, JwtSigningKey, Serial, SigningKey, request_authority};
use signet_keys::{KeyKind, KeyManager, KeyRecord, Signer};
use signet_registry::{NewAuthority, StoredAuthority};
use signet_rotation::AuthorityKind;
use signet_spiffe::{JwtBundle, TrustDomain, UnixTime, WitBundle};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::rotation::Rotation;
use super::upstream::Upstream;
use crate::config::ROOT_LIFE;
use crate::nested::{Link, Refused};
use crate::random;

/// What came from above has to be good for so many times the publication, at least, and never for less than this.
const SHARE: u32 = 8;
const SHORTEST: Duration = Duration::from_mins(1);

/// How long the first authority is asked for where another Signet CA is above, and the pause between two tries.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);

/// What an authority is made of.
#[derive(Debug, Clone)]
pub(crate) struct Maker {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) manager: Arc<dyn KeyManager>,
    pub(crate) rotation: Rotation,
    pub(crate) upstream: Upstream,
    /// The way to another Signet CA, where that is above.
    pub(crate) link: Option<Arc<Link>>,
}

impl Maker {
    /// The first X.509 authority. One whose certificates come as files begins with a root of its own: nobody can ask a CA that
    /// does not run.
    pub(crate) async fn begin(&self, now: UnixTime) -> anyhow::Result<NewAuthority> {
        let own = match self.upstream {
            Upstream::Files => Self {
                upstream: Upstream::None,
                ..self.clone()
            },
            Upstream::None | Upstream::Disk(_) | Upstream::Signet(_) => self.clone(),
        };
        let until = Instant::now() + PATIENCE;
        loop {
            match own.make(AuthorityKind::X509, now).await {
                // Both may have been started at once, with the agent between them.
                Err(error) if self.link.is_some() && Instant::now() < until => {
                    warn!(
                        error = format!("{error:#}"),
                        "the CA above has not signed the first authority yet: it is asked again"
                    );
                    sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }

    /// A new key, and what makes an authority of it.
    pub(crate) async fn make(&self, kind: AuthorityKind, now: UnixTime) -> anyhow::Result<NewAuthority> {
        if let (AuthorityKind::X509, Some(link)) = (kind, &self.link) {
            let made = self.ask(link, now).await;
            return made.with_context(|| format!("no {kind} authority could be made"));
        }
        let maker = self.clone();
        let made = spawn_blocking(move || {
            let (record, signer) = maker.manager.generate(KeyKind::default())?;
            let done = maker.of(kind, &record, signer, None, now);
            if done.is_err() {
                // Of no use to anybody.
                maker.manager.forget(&record)?;
            }
            done
        });
        made.await?
            .with_context(|| format!("no {kind} authority could be made"))
    }

    /// A new key, and what another Signet CA makes an authority of it with.
    async fn ask(&self, link: &Link, now: UnixTime) -> anyhow::Result<NewAuthority> {
        let (record, request) = self.request_with(link.waiting()).await?;
        let life = self.rotation.authority_life;
        let made = match link.certify(request.der, life, now).await {
            Ok(chain) => self.certified(record.clone(), chain, now).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &made {
            // The next try is with the same one: who fails again and again shall not have as many certificates that nobody knows of.
            let another = error
                .downcast_ref::<Refused>()
                .is_some_and(Refused::may_mean_the_key);
            let of_no_use = if another {
                Some(record)
            } else {
                link.wait_with(record)
            };
            if let Some(record) = of_no_use {
                let manager = Arc::clone(&self.manager);
                spawn_blocking(move || manager.forget(&record)).await??;
            }
        }
        made
    }

    /// An authority of a key that an earlier version kept, with its root certificate.
    pub(crate) async fn import(
        &self,
        kind: AuthorityKind,
        pkcs8: zeroize::Zeroizing<Vec<u8>>,
        root: Option<CertificateDer<'static>>,
        now: UnixTime,
    ) -> anyhow::Result<NewAuthority> {
        let maker = self.clone();
        let made = spawn_blocking(move || {
            let (record, signer) = maker.manager.import(&pkcs8)?;
            maker.of(kind, &record, signer, root, now)
        });
        made.await?
            .with_context(|| format!("the {kind} authority in the data directory cannot be taken over"))
    }

    fn of(
        &self,
        kind: AuthorityKind,
        record: &KeyRecord,
        signer: Arc<dyn Signer>,
        root: Option<CertificateDer<'static>>,
        now: UnixTime,
    ) -> anyhow::Result<NewAuthority> {
        let key = record.encode();
        match kind {
            AuthorityKind::X509 => {
                let signing = SigningKey::new(signer)?;
                let is_new = root.is_none();
                let authority = match root {
                    Some(root) => Authority::restore(self.trust_domain.clone(), vec![root], signing)?,
                    None => self.new_authority(signing, now)?,
                };
                // Backdated for clocks that are behind, a new one signs from now on all the same.
                let from = if is_new { now } else { authority.not_before() };
                new_x509(&authority, key, from)
            }
            AuthorityKind::Jwt | AuthorityKind::Wit => {
                let public = JwtSigningKey::new(signer)?.public().clone();
                let id = public.id().parse()?;
                let (domain, keys) = (self.trust_domain.clone(), vec![public]);
                let set = match kind {
                    AuthorityKind::Wit => WitBundle::new(domain, keys)?.to_jwks(),
                    AuthorityKind::X509 | AuthorityKind::Jwt => JwtBundle::new(domain, keys)?.to_jwks(),
                };
                let end = now.as_secs().saturating_add(ROOT_LIFE.as_secs());
                Ok(NewAuthority {
                    kind,
                    id,
                    public: set.into_bytes(),
                    key,
                    not_before: now,
                    not_after: UnixTime::since_unix_epoch(Duration::from_secs(end)),
                })
            }
        }
    }

    fn new_authority(&self, key: SigningKey, now: UnixTime) -> anyhow::Result<Authority> {
        let (domain, life) = (self.trust_domain.clone(), self.rotation.authority_life);
        match &self.upstream {
            Upstream::None => {
                let serial = Serial::from_random(random::bytes()?);
                Ok(Authority::create(domain, key, serial, now, life)?)
            }
            Upstream::Disk(disk) => {
                let chain = disk.certify(&domain, &key, life, now)?;
                self.check(chain, key, now)
            }
            Upstream::Signet(_) => bail!("another Signet CA is asked over the network"),
            Upstream::Files => bail!(
                "another CA signs this one's authorities: have it sign what `signet ca authority csr` writes, then \
                 `signet ca authority import` the chain"
            ),
        }
    }

    /// What came from above, if it will do.
    fn check(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: SigningKey,
        now: UnixTime,
    ) -> anyhow::Result<Authority> {
        let least = (self.rotation.publish_interval * SHARE).max(SHORTEST);
        let serial = Serial::from_random(random::bytes()?);
        Ok(Authority::certified(
            self.trust_domain.clone(),
            chain,
            key,
            serial,
            now,
            least,
        )?)
    }

    /// A key for an authority, and the request for its certificate.
    pub(super) async fn request(&self) -> anyhow::Result<(KeyRecord, AuthorityRequest)> {
        self.request_with(None).await
    }

    /// The same with a key that is there, if it is.
    async fn request_with(&self, kept: Option<KeyRecord>) -> anyhow::Result<(KeyRecord, AuthorityRequest)> {
        let maker = self.clone();
        let made = spawn_blocking(move || {
            let (record, signer) = match kept {
                Some(record) => {
                    let signer = maker.manager.open(&record)?;
                    (record, signer)
                }
                None => maker.manager.generate(KeyKind::default())?,
            };
            let request = request_authority(&SigningKey::new(signer)?, &maker.trust_domain)?;
            Ok((record, request))
        });
        made.await?
    }

    /// An authority of a key that waited for its certificate.
    pub(super) async fn certified(
        &self,
        record: KeyRecord,
        chain: Vec<CertificateDer<'static>>,
        now: UnixTime,
    ) -> anyhow::Result<NewAuthority> {
        let maker = self.clone();
        let made = spawn_blocking(move || {
            let key = SigningKey::new(maker.manager.open(&record)?)?;
            new_x509(&maker.check(chain, key, now)?, record.encode(), now)
        });
        made.await?
    }
}

fn new_x509(authority: &Authority, key: Vec<u8>, from: UnixTime) -> anyhow::Result<NewAuthority> {
    Ok(NewAuthority {
        kind: AuthorityKind::X509,
        id: authority.key_id().to_string().parse()?,
        public: StoredAuthority::chain_to_bytes(authority.chain()),
        key,
        not_before: from,
        not_after: authority.not_after(),
    })
}
