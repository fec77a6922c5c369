//! An agent: the pure cores, and what holds them together in place of the daemon's tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use signet_abi::{AuthKey, NodeId};
use signet_handshake::Credentials;
use signet_lease::{Book, Effects, Table as Claims};
use signet_pairs::{Answers, Bounds, Judge, ProveError, Table, Waiting};
use signet_parking::Lot;
use signet_refusal::{Budget, Limits};
use signet_session::{Boot, Instance, NodeNumber};
use signet_spiffe::{SpiffeId, UnixTime, VerifiedSvid};
use signet_tls::SharedBundles;

use crate::ahead::Ahead;
use crate::context::{Context, SECOND};
use crate::names::workload;
use crate::network::{ConnectionId, NodeSvid};
use crate::pairs::Attempt;
use crate::sessions::{Coming, Peer};
use crate::view::View;

/// Time and maps are looked at this often.
const TICK: u64 = SECOND;
/// The kernel's maps are compared with what should be in them this often.
const RECONCILE: u64 = 30 * SECOND;

/// How an agent is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tuning {
    /// How much waits.
    pub parking: signet_parking::Bounds,
    /// How much is proven ahead; nothing: none is.
    pub ahead: Option<signet_preauth::Bounds>,
}

/// What one life of an agent leaves to the next: the view, the SVIDs, up to where revocations were done with, and
/// which pairs were used.
#[derive(Clone, Debug)]
pub struct Estate {
    /// The view.
    pub view: Arc<View>,
    /// The node's own SVID.
    pub svid: NodeSvid,
    /// The workloads'.
    pub svids: BTreeMap<SpiffeId, Arc<Credentials>>,
    /// The version of the view up to which proofs were taken back.
    pub settled: u64,
    /// The pair that was used last first.
    pub used: Vec<AuthKey>,
}

/// An agent.
#[derive(Debug)]
pub struct Agent {
    pub(crate) own: NodeNumber,
    pub(crate) instance: Instance,
    /// In which life of its kernel each node was met last.
    pub(crate) met: BTreeMap<NodeNumber, Boot>,
    pub(crate) estate: Estate,
    pub(crate) bundles: Arc<SharedBundles>,
    /// What signet-meshd has said; nothing before it has.
    pub(crate) endpoints: Option<BTreeMap<IpAddr, SpiffeId>>,
    /// When signet-meshd said something last, boot clock.
    pub(crate) heard: Option<u64>,
    /// What this node says of its own addresses.
    pub(crate) claims: Option<Arc<Claims>>,
    pub(crate) generation: u64,
    pub(crate) peers: BTreeMap<NodeNumber, Peer>,
    pub(crate) coming: BTreeMap<ConnectionId, Coming>,
    pub(crate) kept: BTreeSet<NodeNumber>,
    pub(crate) book: Book,
    pub(crate) table: Table,
    pub(crate) waiting: Waiting,
    pub(crate) tuning: Tuning,
    pub(crate) lot: Lot,
    pub(crate) budget: Budget,
    pub(crate) ahead: Option<Ahead>,
    pub(crate) attempts: BTreeMap<AuthKey, Attempt>,
    /// When it was started, simulated ns.
    pub(crate) since: u64,
    pub(crate) tick_at: u64,
    pub(crate) reconcile_at: u64,
}

impl Agent {
    /// A new life. It takes over what the last one has left, in its estate and in the kernel.
    pub fn start(own: NodeNumber, estate: Estate, tuning: Tuning, context: &mut Context<'_>) -> Self {
        let ahead = tuning
            .ahead
            .map(|bounds| Ahead::new(bounds, estate.used.clone(), context));
        let mut agent = Self {
            own,
            instance: Instance::new(boot_of(own, context.clocks.booted), context.dice.bytes()),
            met: BTreeMap::new(),
            bundles: Arc::new(SharedBundles::new((*estate.view.bundles).clone())),
            estate,
            endpoints: None,
            heard: None,
            claims: None,
            generation: 0,
            peers: BTreeMap::new(),
            coming: BTreeMap::new(),
            kept: BTreeSet::new(),
            book: Book::default(),
            table: Table::new(Bounds::default()),
            waiting: Waiting::default(),
            lot: Lot::new(tuning.parking),
            budget: Budget::new(Limits::default()),
            ahead,
            tuning,
            attempts: BTreeMap::new(),
            since: context.at(),
            tick_at: context.at(),
            reconcile_at: context.at() + RECONCILE,
        };
        agent.adopt(context);
        agent
    }

    fn adopt(&mut self, context: &mut Context<'_>) {
        let now = context.boot();
        let leases: Vec<_> = context
            .kernel
            .leases
            .iter()
            .map(|(key, lease)| (*key, *lease))
            .collect();
        let ends: Vec<_> = context
            .kernel
            .ends
            .iter()
            .map(|(key, end)| (*key, *end))
            .collect();
        let effects = self.book.adopt(&leases, &ends, &*self.estate.view, now);
        apply(&effects, context);
        let found: Vec<_> = context
            .kernel
            .auth
            .iter()
            .map(|(key, value)| (*key, *value))
            .collect();
        for (key, value) in found {
            let random = context.dice.roll();
            let judge = self.local();
            if value.is_live(now) && judge.is_possible(&key) && judge.revoked(&key, None).is_none() {
                self.table.adopt(key, value, now, random);
            } else {
                context.kernel.auth.remove(&key);
            }
        }
        self.estate.settled = self.estate.view.version;
    }

    /// What proofs are judged by.
    pub(crate) fn local(&self) -> Local<'_> {
        Local {
            own: self.own,
            estate: &self.estate,
            endpoints: self.endpoints.as_ref(),
        }
    }

    /// For how long others may believe what this node knows of its own addresses.
    pub(crate) fn lasting(&self, boot: u64) -> Duration {
        self.heard
            .map_or(Duration::ZERO, |heard| signet_lease::lasting(heard, boot))
    }

    /// The CA's view is another one.
    pub fn on_view(&mut self, view: &Arc<View>, context: &mut Context<'_>) {
        if view.version <= self.estate.view.version {
            return;
        }
        self.bundles.replace((*view.bundles).clone());
        self.estate.view = Arc::clone(view);
        let revocations = view.bundles.revocations();
        self.estate
            .svids
            .retain(|id, svid| view.is_on(self.own, id) && revocations.check(svid.svid()).is_ok());
        let strangers: Vec<NodeNumber> = self
            .peers
            .keys()
            .copied()
            .filter(|peer| !view.nodes.contains(peer))
            .collect();
        for peer in strangers {
            self.forget(peer, context);
        }
        self.take_back(context);
        self.sweep(true, context);
        let effects = self.book.review(&**view, context.boot());
        apply(&effects, context);
        self.table.forgive();
        self.relent_ahead(context);
        self.wake_ahead(context);
        self.claim(context);
    }

    /// The CA has given this node SVIDs. What has ended by its own clock it does not take.
    pub fn on_svids(&mut self, svids: Vec<Arc<Credentials>>, context: &mut Context<'_>) {
        let mut mended = false;
        let now = context.now().unix;
        for svid in svids.into_iter().filter(|svid| svid.not_after() > now) {
            mended |= self.estate.svids.insert(svid.id().clone(), svid).is_none();
        }
        if mended {
            self.table.forgive();
            self.relent_ahead(context);
            self.wake_ahead(context);
        }
    }

    /// Which SVIDs this node lacks, or that end within `early`.
    pub fn wanted(&self, now: UnixTime, early: Duration) -> Vec<SpiffeId> {
        let view = &self.estate.view;
        let here = view.registered.range((self.own, workload(0))..);
        here.take_while(|(node, _)| *node == self.own)
            .map(|(_, id)| id)
            .filter(|id| {
                let ends = self.estate.svids.get(*id).map(|svid| svid.not_after().as_secs());
                ends.is_none_or(|end| end < now.as_secs() + early.as_secs())
            })
            .cloned()
            .collect()
    }

    /// Whether the authority that signed it is one that this node has heard of.
    pub fn knows(&self, svid: &Credentials) -> bool {
        let bundle = self.estate.view.bundles.get(svid.id().trust_domain());
        bundle.is_some_and(|bundle| bundle.key_ids().any(|key| Some(key) == svid.svid().signer()))
    }

    /// signet-meshd says what lives here.
    pub fn on_endpoints(&mut self, endpoints: BTreeMap<IpAddr, SpiffeId>, context: &mut Context<'_>) {
        self.endpoints = Some(endpoints);
        self.heard = Some(context.boot());
        self.sweep(true, context);
        self.wake_ahead(context);
        self.claim(context);
    }

    /// signet-meshd says that nothing has changed.
    pub fn on_beat(&mut self, context: &mut Context<'_>) {
        if self.heard.is_some() {
            self.heard = Some(context.boot());
        }
    }

    /// This node's word: the addresses of its endpoints whose identity is registered here.
    fn claim(&mut self, context: &mut Context<'_>) {
        let Some(endpoints) = &self.endpoints else {
            return;
        };
        let view = &self.estate.view;
        let own = endpoints
            .iter()
            .filter(|(_, id)| view.is_on(self.own, id))
            .map(|(address, id)| (*address, id.clone()))
            .collect();
        let claims = Arc::new(Claims::of(own));
        let addresses = claims.iter().map(|(address, _)| *address).collect();
        let effects = self.book.own(addresses, &*self.estate.view, context.boot());
        apply(&effects, context);
        if self.claims.as_ref() == Some(&claims) {
            return;
        }
        self.claims = Some(claims);
        for peer in self.peers.values_mut() {
            if let Some(live) = &mut peer.up {
                live.talk.changed();
            }
        }
    }

    /// Time has passed.
    pub fn on_wake(&mut self, context: &mut Context<'_>) {
        if self.tick_at <= context.at() {
            self.tick_at = context.at() + TICK;
            self.on_tick(context);
        }
        self.tick_sessions(context);
        self.tick_pairs(context);
        if self
            .ahead
            .as_ref()
            .and_then(|ahead| ahead.due)
            .is_some_and(|due| due <= context.at())
        {
            self.go_ahead(context);
        }
    }

    fn on_tick(&mut self, context: &mut Context<'_>) {
        let now = context.boot();
        let effects = self.book.tick(&*self.estate.view, now);
        apply(&effects, context);
        self.sweep(false, context);
        if self.reconcile_at <= context.at() {
            self.reconcile_at = context.at() + RECONCILE;
            self.reconcile(context);
        }
        for key in self.table.renewals(now) {
            self.launch(key, context);
        }
        self.tick_parking(context);
        self.keep_sessions(context);
        self.tick_ahead(context);
    }

    /// When [`Agent::on_wake`] has something to do next, simulated ns.
    pub fn deadline(&self, context: &Context<'_>) -> u64 {
        let mut due = self.tick_at;
        if let Some(deadline) = self.waiting.deadline() {
            due = due.min(context.clocks.at(deadline));
        }
        due = self
            .attempts
            .values()
            .map(|attempt| attempt.deadline)
            .fold(due, u64::min);
        let ahead = self.ahead.as_ref().and_then(|ahead| ahead.due);
        self.sessions_due(context).min(due).min(ahead.unwrap_or(u64::MAX))
    }

    /// This node as a number in maps.
    pub(crate) fn own_id(&self) -> NodeId {
        NodeId(self.own.get())
    }
}

/// The life that a node's kernel has been in since then.
pub(crate) fn boot_of(node: NodeNumber, booted: u64) -> Boot {
    let mixed = booted.wrapping_mul(0x1_0000_0001) ^ u64::from(node.get()) << 48;
    Boot(mixed.to_be_bytes())
}

/// Does what the book of leases says.
pub(crate) fn apply(effects: &Effects, context: &mut Context<'_>) {
    for write in &effects.writes {
        context.kernel.write(write);
    }
}

/// What an agent knows, as what proofs are judged by.
#[derive(Debug)]
pub(crate) struct Local<'a> {
    pub(crate) own: NodeNumber,
    pub(crate) estate: &'a Estate,
    pub(crate) endpoints: Option<&'a BTreeMap<IpAddr, SpiffeId>>,
}

impl Local<'_> {
    fn may_live(&self, id: &SpiffeId) -> bool {
        let lives = self
            .endpoints
            .is_none_or(|endpoints| endpoints.values().any(|its| its == id));
        lives && self.estate.view.is_on(self.own, id)
    }
}

impl Judge for Local<'_> {
    fn is_possible(&self, key: &AuthKey) -> bool {
        let view = &self.estate.view;
        let (Some(local), Some(remote)) = (view.ids.get(&key.local), view.ids.get(&key.remote)) else {
            return false;
        };
        let Some(node) = NodeNumber::new(key.node.0).filter(|node| view.nodes.contains(node)) else {
            return false;
        };
        let remote_may_be = if node == self.own {
            self.may_live(remote)
        } else {
            view.is_on(node, remote)
        };
        self.may_live(local) && remote_may_be
    }

    fn revoked(&self, key: &AuthKey, made_of: Option<[&VerifiedSvid; 2]>) -> Option<String> {
        let view = &self.estate.view;
        let revocations = view.bundles.revocations();
        match made_of {
            Some(svids) => svids
                .into_iter()
                .find_map(|svid| revocations.check(svid).err())
                .map(|revoked| revoked.to_string()),
            None => view.suspects(key, self.estate.settled),
        }
    }
}

impl Answers for Local<'_> {
    fn answer(
        &self,
        peer: NodeNumber,
        initiator: &SpiffeId,
        responder: &SpiffeId,
    ) -> Result<Arc<Credentials>, ProveError> {
        let view = &self.estate.view;
        if !view.identities.contains_key(initiator) || !view.identities.contains_key(responder) {
            return Err(ProveError::UnknownIdentity(0));
        }
        if !view.nodes.contains(&peer) || !view.is_on(peer, initiator) {
            return Err(ProveError::UnknownNode(peer.get()));
        }
        let lives = self
            .endpoints
            .is_some_and(|endpoints| endpoints.values().any(|id| id == responder));
        if !lives || !view.is_on(self.own, responder) {
            return Err(ProveError::NoEndpoint);
        }
        self.estate
            .svids
            .get(responder)
            .cloned()
            .ok_or(ProveError::NoSvid)
    }
}
