//! Making an authority.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use signet_authority::{Authority, JwtSigningKey, Serial, SigningKey};
use signet_keys::{KeyKind, KeyManager, KeyRecord, Signer};
use signet_registry::{NewAuthority, StoredAuthority};
use signet_rotation::AuthorityKind;
use signet_spiffe::{JwtBundle, TrustDomain, UnixTime};
use tokio::task::spawn_blocking;

use super::rotation::Rotation;
use crate::config::ROOT_LIFE;
use crate::random;

/// What an authority is made of.
#[derive(Debug, Clone)]
pub(crate) struct Maker {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) manager: Arc<dyn KeyManager>,
    pub(crate) rotation: Rotation,
}

impl Maker {
    /// A new key, and what makes an authority of it.
    pub(crate) async fn make(&self, kind: AuthorityKind, now: UnixTime) -> anyhow::Result<NewAuthority> {
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

    /// An authority of a key that an earlier version kept, with its root certificate.
    pub(crate) async fn import(
        &self,
        kind: AuthorityKind,
        pkcs8: zeroize::Zeroizing<Vec<u8>>,
        root: Option<rustls::pki_types::CertificateDer<'static>>,
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
        root: Option<rustls::pki_types::CertificateDer<'static>>,
        now: UnixTime,
    ) -> anyhow::Result<NewAuthority> {
        let key = record.encode();
        match kind {
            AuthorityKind::X509 => {
                let signing = SigningKey::new(signer)?;
                let is_new = root.is_none();
                let authority = match root {
                    Some(root) => Authority::restore(self.trust_domain.clone(), vec![root], signing)?,
                    None => Authority::create(
                        self.trust_domain.clone(),
                        signing,
                        Serial::from_random(random::bytes()?),
                        now,
                        self.rotation.authority_life,
                    )?,
                };
                Ok(NewAuthority {
                    kind,
                    id: authority.key_id().to_string().parse()?,
                    public: StoredAuthority::chain_to_bytes(authority.chain()),
                    key,
                    // Backdated for clocks that are behind, it signs from now on all the same.
                    not_before: if is_new { now } else { authority.not_before() },
                    not_after: authority.not_after(),
                })
            }
            AuthorityKind::Jwt => {
                let public = JwtSigningKey::new(signer)?.public().clone();
                let end = now.as_secs().saturating_add(ROOT_LIFE.as_secs());
                Ok(NewAuthority {
                    kind,
                    id: public.id().parse()?,
                    public: JwtBundle::new(self.trust_domain.clone(), vec![public])?
                        .to_jwks()
                        .into_bytes(),
                    key,
                    not_before: now,
                    not_after: UnixTime::since_unix_epoch(Duration::from_secs(end)),
                })
            }
        }
    }
}
