//! What authorization asks, answered from memory: which nodes there are, and which registration is whose.
//!
//! A copy of a part of the registry that follows its revisions. Whoever asks is answered as of the latest committed change:
//! what was deregistered before a call came in gives that call nothing.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use signet_registry::{
    Changes, Node, NodeNumber, Position, Registration, RegistrationId, Registry, Revocation, Role,
    StorageError, Target, Withheld, weigh,
};
use signet_spiffe::{DnsName, KeyType, NodeName, SpiffeId, UnixTime};
use tokio::sync::Mutex;

/// The copy.
#[derive(Debug, Default)]
pub(crate) struct Known {
    state: RwLock<State>,
    /// Held by the one who brings the copy up to date.
    updating: Mutex<()>,
    /// Where it was when the revocations were read that this CA verifies against.
    honoured: RwLock<Position>,
}

#[derive(Debug, Default)]
struct State {
    position: Position,
    /// Where the registry was when the authorities last changed.
    authorities: Position,
    /// Where it was when a revocation came, changed or ended.
    revocations: Position,
    nodes: HashMap<NodeName, Arc<Node>>,
    grants: HashMap<RegistrationId, Grant>,
    /// How many registrations with a role a SPIFFE ID has, if any.
    with_role: HashMap<SpiffeId, usize>,
    /// Those of SPIFFE IDs.
    revoked_ids: HashMap<SpiffeId, Revocation>,
    /// Those of nodes.
    revoked_nodes: HashMap<NodeName, Revocation>,
}

/// What a registration gives to whom: all of it that issuing needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) spiffe_id: SpiffeId,
    pub(crate) node: NodeName,
    /// Seconds; 0: the CA's default.
    pub(crate) ttl: u32,
    pub(crate) key_type: KeyType,
    /// Of X.509-SVIDs.
    pub(crate) dns_names: Vec<DnsName>,
    /// Seconds; 0: the CA's default.
    pub(crate) jwt_ttl: u32,
    pub(crate) role: Option<Role>,
    /// Whether it may run a CA below this one.
    pub(crate) downstream: bool,
}

impl Known {
    /// A node that has attested. What is here of its SVID may be out of date.
    pub(crate) async fn node(
        &self,
        registry: &Registry,
        name: &NodeName,
    ) -> Result<Option<Arc<Node>>, StorageError> {
        Ok(self.up_to_date(registry).await?.nodes.get(name).cloned())
    }

    /// A registration, as of the last look at anything: for a call that has looked since it came in.
    pub(crate) fn grant_seen(&self, id: RegistrationId) -> Option<Grant> {
        self.state().grants.get(&id).cloned()
    }

    /// A registration.
    #[cfg(test)]
    pub(crate) async fn grant(
        &self,
        registry: &Registry,
        id: RegistrationId,
    ) -> Result<Option<Grant>, StorageError> {
        Ok(self.up_to_date(registry).await?.grants.get(&id).cloned())
    }

    /// Where the registry was when the authorities last changed.
    pub(crate) async fn authorities(&self, registry: &Registry) -> Result<Position, StorageError> {
        Ok(self.up_to_date(registry).await?.authorities)
    }

    /// Where the registry was when a revocation last came, changed or ended.
    pub(crate) async fn revocations(&self, registry: &Registry) -> Result<Position, StorageError> {
        Ok(self.up_to_date(registry).await?.revocations)
    }

    /// Up to where revocations are honoured.
    pub(crate) fn honoured(&self) -> Position {
        *self.honoured.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// They are honoured up to there.
    pub(crate) fn has_honoured(&self, up_to: Position) {
        *self.honoured.write().unwrap_or_else(PoisonError::into_inner) = up_to;
    }

    /// Where the registry was when the authorities last changed, as of the last look at anything.
    pub(crate) fn authorities_seen(&self) -> Position {
        self.state().authorities
    }

    /// What a SPIFFE ID may do as an operator: what *all* its registrations say. Who registers it once more without a role,
    /// on another node perhaps, makes nobody an operator there.
    pub(crate) async fn role(
        &self,
        registry: &Registry,
        id: &SpiffeId,
    ) -> Result<Option<Role>, StorageError> {
        let state = self.up_to_date(registry).await?;
        // Most have none, and are not worth a walk through all registrations.
        if !state.with_role.contains_key(id) {
            return Ok(None);
        }
        let of_id = state.grants.values().filter(|grant| grant.spiffe_id == *id);
        Ok(of_id.map(|grant| grant.role).min().flatten())
    }

    /// Whether a SPIFFE ID may run a CA below this one: all its registrations say so, as for [`Known::role`].
    pub(crate) async fn downstream(&self, registry: &Registry, id: &SpiffeId) -> Result<bool, StorageError> {
        let state = self.up_to_date(registry).await?;
        let mut of_id = state
            .grants
            .values()
            .filter(|grant| grant.spiffe_id == *id)
            .peekable();
        Ok(of_id.peek().is_some() && of_id.all(|grant| grant.downstream))
    }

    /// A node that has attested, by its number.
    pub(crate) async fn node_by_number(
        &self,
        registry: &Registry,
        number: NodeNumber,
    ) -> Result<Option<Arc<Node>>, StorageError> {
        let state = self.up_to_date(registry).await?;
        Ok(state.nodes.values().find(|node| node.number == number).cloned())
    }

    /// As [`Registry::may_issue`]. The log has the last word: it looks again in the transaction that takes the certificate.
    pub(crate) async fn may_issue(
        &self,
        registry: &Registry,
        id: &SpiffeId,
        node: &NodeName,
    ) -> Result<Result<Option<UnixTime>, Withheld>, StorageError> {
        let state = self.up_to_date(registry).await?;
        let rules = [state.revoked_ids.get(id), state.revoked_nodes.get(node)];
        Ok(weigh(rules, id, node))
    }

    /// When something of `id` or of `node` was revoked last: tokens that were issued then or before do not count.
    pub(crate) async fn revoked_at(
        &self,
        registry: &Registry,
        id: &SpiffeId,
        node: &NodeName,
    ) -> Result<Option<UnixTime>, StorageError> {
        let state = self.up_to_date(registry).await?;
        let rules = [state.revoked_ids.get(id), state.revoked_nodes.get(node)];
        Ok(rules.into_iter().flatten().map(|rule| rule.at).max())
    }

    async fn up_to_date(&self, registry: &Registry) -> Result<RwLockReadGuard<'_, State>, StorageError> {
        let wanted = registry.latest().await?;
        if self.state().position.revision != wanted {
            let _updating = self.updating.lock().await;
            let since = self.state().position;
            if since.revision != wanted
                && let Some(changes) = registry.all_changes_since(since).await?
            {
                // A change is applied in memory alone, so poison leaves at worst one half done, and only after a panic.
                self.state
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .apply(changes);
            }
        }
        Ok(self.state())
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_role(&mut self, grant: Option<Grant>) {
        let Some(grant) = grant.filter(|grant| grant.role.is_some()) else {
            return;
        };
        if let Some(count) = self.with_role.get_mut(&grant.spiffe_id) {
            *count -= 1;
            if *count == 0 {
                self.with_role.remove(&grant.spiffe_id);
            }
        }
    }

    fn apply(&mut self, changes: Changes) {
        if changes.snapshot {
            *self = Self::default();
        }
        for name in &changes.removed_nodes {
            self.nodes.remove(name);
        }
        for id in &changes.removed_registrations {
            let before = self.grants.remove(id);
            self.forget_role(before);
        }
        for node in changes.nodes {
            self.nodes.insert(node.name.clone(), Arc::new(node));
        }
        for registration in changes.registrations {
            let Registration {
                id,
                spiffe_id,
                node,
                ttl,
                terms,
                role,
                ..
            } = registration;
            let grant = Grant {
                spiffe_id,
                node,
                ttl,
                key_type: terms.key_type,
                dns_names: terms.dns_names,
                jwt_ttl: terms.jwt_ttl,
                role,
                downstream: terms.downstream,
            };
            if grant.role.is_some() {
                *self.with_role.entry(grant.spiffe_id.clone()).or_default() += 1;
            }
            let before = self.grants.insert(id, grant);
            self.forget_role(before);
        }
        let revokes = changes.snapshot || !changes.revocations.is_empty();
        for revocation in changes.revocations {
            match revocation.target.clone() {
                Target::Id(id) => drop(self.revoked_ids.insert(id, revocation)),
                Target::Node(name) => drop(self.revoked_nodes.insert(name, revocation)),
                // Of what is there already.
                Target::Serial(_) | Target::Authority(_) => {}
            }
        }
        self.position = Position {
            revision: changes.revision,
            mark: changes.mark,
        };
        if changes.bundle {
            self.authorities = self.position;
        }
        if revokes {
            self.revocations = self.position;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use signet_registry::{NewRegistration, NewToken, PresentedToken, SvidTerms, TokenId};
    use signet_spiffe::UnixTime;

    use super::*;

    fn now() -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_hours(500_000))
    }

    #[tokio::test]
    async fn the_copy_never_lags_behind_a_change_that_was_committed() {
        let registry = Registry::in_memory().await.unwrap();
        let known = Known::default();
        let node = NodeName::parse("n1").unwrap();
        assert!(known.node(&registry, &node).await.unwrap().is_none());
        let token = NewToken {
            id: TokenId([1; 8]),
            secret_sha256: [1; 32],
            node: node.clone(),
            pod_cidrs: Vec::new(),
            addresses: Vec::new(),
            expires: UnixTime::since_unix_epoch(Duration::from_hours(500_001)),
        };
        registry.create_token(&token, now()).await.unwrap();
        let shown = PresentedToken {
            id: token.id,
            secret_sha256: token.secret_sha256,
        };
        registry.consume_token(&shown, now()).await.unwrap();
        assert!(known.node(&registry, &node).await.unwrap().is_some());
        let new = NewRegistration {
            id: RegistrationId::from_random([1; 16]),
            spiffe_id: SpiffeId::parse("spiffe://td/a").unwrap(),
            node,
            selectors: vec!["unix:uid:1".parse().unwrap()],
            ttl: 60,
            federates_with: Vec::new(),
            terms: SvidTerms::default(),
            role: None,
        };
        for _ in 0..3 {
            let made = registry.register(&new, now()).await.unwrap();
            let grant = known.grant(&registry, made.id).await.unwrap().unwrap();
            assert_eq!((grant.spiffe_id, grant.ttl), (made.spiffe_id, 60));
            registry.deregister(made.id, now()).await.unwrap();
            assert_eq!(known.grant(&registry, made.id).await.unwrap(), None);
        }
    }
}
