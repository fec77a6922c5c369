//! A registry, and short ways to fill it.

use std::time::Duration;

use signet_registry::{
    CreateTokenError, NewRegistration, NewToken, Node, PodCidr, Position, PresentedToken, RegisterError,
    Registration, RegistrationId, Registry, Revision, SvidTerms, TokenId,
};
use signet_spiffe::{NodeName, SpiffeId, UnixTime};

/// The moment of all tests, Unix seconds.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

pub(crate) fn now() -> UnixTime {
    at(NOW)
}

pub(crate) fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

pub(crate) fn id(service_account: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://td/ns/shop/sa/{service_account}")).unwrap()
}

pub(crate) fn cidrs(list: &[&str]) -> Vec<PodCidr> {
    list.iter().map(|cidr| cidr.parse().unwrap()).collect()
}

pub(crate) fn token(number: u8, name: &str, pod_cidrs: &[&str]) -> NewToken {
    NewToken {
        id: TokenId([number; 8]),
        secret_sha256: [number; 32],
        node: node(name),
        pod_cidrs: cidrs(pod_cidrs),
        addresses: vec![],
        expires: at(NOW + 600),
    }
}

pub(crate) fn shown(number: u8) -> PresentedToken {
    PresentedToken {
        id: TokenId([number; 8]),
        secret_sha256: [number; 32],
    }
}

pub(crate) struct Desk {
    pub(crate) registry: Registry,
}

impl Desk {
    pub(crate) async fn new() -> Self {
        Self {
            registry: crate::backend::registry().await,
        }
    }

    /// Where a reader is that has seen everything up to a revision.
    pub(crate) async fn position(&self, revision: Revision) -> Position {
        Position {
            revision,
            mark: self.registry.mark(revision).await.unwrap().unwrap_or_default(),
        }
    }

    /// With attested nodes n1 and n2, whose tokens were 1 and 2.
    pub(crate) async fn with_two_nodes() -> Self {
        let desk = Self::new().await;
        desk.attest(1, "n1", &["10.244.1.0/24"]).await.unwrap();
        desk.attest(2, "n2", &["10.244.2.0/24"]).await.unwrap();
        desk
    }

    pub(crate) async fn attest(
        &self,
        number: u8,
        name: &str,
        cidrs: &[&str],
    ) -> Result<Node, CreateTokenError> {
        self.registry
            .create_token(&token(number, name, cidrs), now())
            .await?;
        Ok(self.registry.consume_token(&shown(number), now()).await.unwrap())
    }

    pub(crate) async fn register(
        &self,
        number: u8,
        service_account: &str,
        on: &str,
    ) -> Result<Registration, RegisterError> {
        self.register_at(number, service_account, on, now()).await
    }

    pub(crate) async fn register_at(
        &self,
        number: u8,
        service_account: &str,
        on: &str,
        at: UnixTime,
    ) -> Result<Registration, RegisterError> {
        let new = NewRegistration {
            id: RegistrationId::from_random([number; 16]),
            spiffe_id: id(service_account),
            node: node(on),
            selectors: vec!["unix:uid:1000".parse().unwrap()],
            ttl: 0,
            federates_with: Vec::new(),
            terms: SvidTerms::default(),
            role: None,
        };
        self.registry.register(&new, at).await
    }
}
