//! Which identities need a WIT-SVID, and when. Pure.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use signet_spiffe::{SpiffeId, WitBundleSet};
use signet_workload_api::WitSvid;

use super::issue::{Held, IssueError};
use crate::clock::backoff;
use crate::renewal::Due;
use crate::view::{Registration, RevocationTable, Tainted};

const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Pause after the CA has said that it has none for anybody.
const OFF: Duration = Duration::from_mins(1);

#[derive(Debug)]
struct Slot {
    registration: Arc<Registration>,
    held: Option<Held>,
    due: Instant,
    /// Of what it has; none while an attempt has failed since.
    plan: Option<Due>,
    failures: u32,
    in_flight: bool,
    /// The CA issues nothing for it.
    closed: bool,
    /// What it had was revoked, and there is no new one yet.
    taken_back: bool,
}

/// The identities of this node with the state of their WIT-SVIDs.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: BTreeMap<SpiffeId, Slot>,
    /// How long SVIDs should outlast the CA.
    target: Duration,
}

/// The moment, by both clocks, and some dice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) clock: Instant,
    pub(super) unix: i64,
    pub(super) random: u64,
}

impl Table {
    /// Takes over the registrations of a view: of several for one identity the first that was made. What has gone is dropped, and
    /// its key wiped with it.
    pub(super) fn set(&mut self, registrations: &[Arc<Registration>], now: Instant) {
        let mut wanted: BTreeMap<&SpiffeId, &Arc<Registration>> = BTreeMap::new();
        for registration in registrations {
            match wanted.entry(&registration.spiffe_id) {
                Entry::Vacant(place) => drop(place.insert(registration)),
                Entry::Occupied(mut place) if registration.ordinal < place.get().ordinal => {
                    place.insert(registration);
                }
                Entry::Occupied(_) => {}
            }
        }
        self.slots.retain(|id, _| wanted.contains_key(id));
        for (id, registration) in wanted {
            match self.slots.entry(id.clone()) {
                Entry::Occupied(mut slot) => {
                    let slot = slot.get_mut();
                    // Until there is one on the new terms, the old one is better than none.
                    if slot.registration.certificates.ttl != registration.certificates.ttl {
                        (slot.due, slot.plan, slot.failures) = (now, None, 0);
                    }
                    slot.registration = registration.clone();
                }
                Entry::Vacant(place) => {
                    place.insert(Slot {
                        registration: registration.clone(),
                        held: None,
                        due: now,
                        plan: None,
                        failures: 0,
                        in_flight: false,
                        closed: false,
                        taken_back: false,
                    });
                }
            }
        }
    }

    /// Moves renewals to where another target wants them.
    pub(super) fn aim_for(&mut self, target: Duration) {
        if target == self.target {
            return;
        }
        self.target = target;
        for slot in self.slots.values_mut() {
            if let Some(plan) = slot.plan {
                slot.due = plan.at(target);
            }
        }
    }

    /// Takes up to `room` registrations that need one now.
    pub(super) fn take_due(&mut self, room: usize, now: Instant) -> Vec<Arc<Registration>> {
        let due = self
            .slots
            .values_mut()
            .filter(|slot| !slot.in_flight && !slot.closed && slot.due <= now)
            .take(room);
        due.map(|slot| {
            slot.in_flight = true;
            slot.registration.clone()
        })
        .collect()
    }

    /// When something is due next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let waiting = self.slots.values().filter(|slot| !slot.in_flight && !slot.closed);
        waiting.map(|slot| slot.due).min()
    }

    /// Notes the outcome for a registration that may have gone or changed meanwhile. `bundles` are those of now: it may have been
    /// revoked on its way.
    pub(super) fn finished(
        &mut self,
        registration: &Registration,
        result: Result<Held, &IssueError>,
        bundles: &WitBundleSet,
        now: Now,
    ) {
        let Some(slot) = self.slots.get_mut(&registration.spiffe_id) else {
            return;
        };
        slot.in_flight = false;
        if let Ok(held) = &result
            && (slot.closed || !counts(held, bundles))
        {
            slot.due = now.clock + backoff(FIRST_RETRY, LAST_RETRY, slot.failures, now.random);
            slot.failures = slot.failures.saturating_add(1);
            return;
        }
        let on_old_terms = slot.registration.certificates.ttl != registration.certificates.ttl;
        match result {
            Ok(held) => {
                let plan = Due::issued(held.ends(), now.unix, now.clock, now.random);
                slot.plan = (!on_old_terms).then_some(plan);
                slot.due = slot.plan.map_or(now.clock, |plan| plan.at(self.target));
                slot.failures = 0;
                slot.held = Some(held);
                slot.taken_back = false;
            }
            Err(error) => {
                slot.plan = None;
                let pause = match error {
                    IssueError::Off(_) => OFF,
                    IssueError::Key(_)
                    | IssueError::KeyFormat(_)
                    | IssueError::Deadline
                    | IssueError::Refused(_)
                    | IssueError::Svid(_)
                    | IssueError::Other(_)
                    | IssueError::OtherKey
                    | IssueError::Offer(_)
                    | IssueError::Fault(_) => backoff(FIRST_RETRY, LAST_RETRY, slot.failures, now.random),
                };
                slot.due = now.clock + pause;
                slot.failures = slot.failures.saturating_add(1);
            }
        }
    }

    /// Drops what does not count any more, by what is revoked and by which keys are published, and its key with it. What may have
    /// a new one needs it now.
    pub(super) fn review(&mut self, revocations: &RevocationTable, bundles: &WitBundleSet, now: Instant) {
        for (id, slot) in &mut self.slots {
            let closed = revocations.closed(id).is_some();
            let reopened = std::mem::replace(&mut slot.closed, closed) && !closed;
            let gone = slot
                .held
                .take_if(|held| closed || !counts(held, bundles))
                .is_some();
            slot.taken_back |= gone || closed;
            if gone || reopened {
                (slot.due, slot.plan, slot.failures) = (now, None, 0);
            }
        }
    }

    /// What these authorities signed is due now. It is in use until there is a new one.
    pub(super) fn taint(&mut self, tainted: &Tainted, now: Instant) {
        for slot in self.slots.values_mut().filter(|slot| !slot.in_flight) {
            let held = slot.held.as_ref();
            if held.is_some_and(|held| tainted.has_wit_key(held.read.key_id())) {
                slot.due = slot.due.min(now);
            }
        }
    }

    /// Where the wall clock has gone on further than `now`, renewals come sooner.
    pub(super) fn overtake(&mut self, unix: i64, now: Instant) {
        for slot in self.slots.values_mut() {
            if let Some(plan) = slot.plan.and_then(|plan| plan.overtaken(unix, now)) {
                slot.plan = Some(plan);
                slot.due = slot.due.min(plan.at(self.target));
            }
        }
    }

    /// Drops what has expired, and asks for another one at once. Says whether anything did.
    pub(super) fn expire(&mut self, unix: i64, now: Instant) -> bool {
        let mut changed = false;
        for slot in self.slots.values_mut() {
            if slot.held.take_if(|held| held.ends() <= unix).is_some() {
                (slot.plan, slot.due) = (None, slot.due.min(now));
                changed = true;
            }
        }
        changed
    }

    /// When the first one expires, Unix seconds.
    pub(super) fn next_expiry(&self) -> Option<i64> {
        self.slots
            .values()
            .filter_map(|slot| slot.held.as_ref())
            .map(Held::ends)
            .min()
    }

    /// Identities whose tokens were revoked.
    pub(super) fn taken_back(&self) -> BTreeSet<SpiffeId> {
        let gone = self.slots.iter().filter(|(_, slot)| slot.taken_back);
        gone.map(|(id, _)| id.clone()).collect()
    }

    /// What there is.
    pub(super) fn svids(&self) -> BTreeMap<SpiffeId, Arc<WitSvid>> {
        let held = |(id, slot): (&SpiffeId, &Slot)| Some((id.clone(), slot.held.as_ref()?.svid.clone()));
        self.slots.iter().filter_map(held).collect()
    }
}

/// Whether others would believe it: its key is published, and nothing revokes it.
fn counts(held: &Held, bundles: &WitBundleSet) -> bool {
    let keys = bundles.get(held.read.issued_to().trust_domain());
    keys.is_some_and(|keys| keys.key(held.read.key_id()).is_some())
        && held.read.check_revocations(bundles).is_ok()
}

#[cfg(test)]
mod tests {
    use signet_abi::SecurityIdentity;
    use signet_attest::RequiredSelectors;
    use signet_proto::view::v1::revocation::Subject;
    use signet_proto::view::v1::{Revocation, TrustBundle};
    use signet_spiffe::{TrustDomain, WitBundle};

    use super::*;
    use crate::ca::new_request;
    use crate::view::CertificateTerms;
    use crate::wit::issue::check;
    use crate::wit::key::WorkloadKey;
    use crate::wit::testing::{Signer, token};

    const WEB: &str = "spiffe://t.example/web";

    fn domain() -> TrustDomain {
        TrustDomain::parse("t.example").expect("valid")
    }

    fn registration(id: &str, spiffe_id: &str, ordinal: u64) -> Arc<Registration> {
        Arc::new(Registration {
            id: id.to_owned(),
            spiffe_id: SpiffeId::parse(spiffe_id).expect("valid"),
            identity: SecurityIdentity(256),
            selectors: RequiredSelectors::parse(&["unix:uid:1"]).expect("valid"),
            federates_with: BTreeSet::new(),
            hint: None,
            certificates: CertificateTerms::default(),
            jwt_ttl: 0,
            ordinal,
        })
    }

    fn bundles(ca: &Signer) -> WitBundleSet {
        WitBundleSet::single(WitBundle::new(domain(), vec![ca.public.clone()]).expect("a bundle"))
    }

    fn held(ca: &Signer) -> Held {
        let key = WorkloadKey::read(&new_request().expect("a key").into_key()).expect("P-256");
        let web = SpiffeId::parse(WEB).expect("valid");
        check(token(ca, &web, &key), key, &bundles(ca), &web).expect("good")
    }

    fn at(clock: Instant) -> Now {
        Now {
            clock,
            unix: crate::clock::unix_now(),
            random: 0,
        }
    }

    /// With one identity that has a token.
    fn ready(ca: &Signer, now: Instant) -> Table {
        let mut table = Table::default();
        let web = registration("1", WEB, 1);
        table.set(std::slice::from_ref(&web), now);
        assert_eq!(table.take_due(8, now), vec![web.clone()]);
        table.finished(&web, Ok(held(ca)), &bundles(ca), at(now));
        assert_eq!(table.svids().len(), 1);
        assert!(table.take_due(8, now).is_empty() && table.taken_back().is_empty());
        table
    }

    fn revoked(closed: bool, version: u64) -> RevocationTable {
        let row = Revocation {
            id: format!("spiffe-id:{WEB}"),
            subject: Some(Subject::SpiffeId(WEB.to_owned())),
            reason: "leaked".to_owned(),
            until: i64::MAX,
            at: crate::clock::unix_now(),
            closed,
            version,
            ..Revocation::default()
        };
        RevocationTable::new(&domain(), vec![row])
    }

    #[test]
    fn of_several_registrations_of_an_identity_the_first_counts_and_what_has_gone_is_dropped() {
        let (now, mut table) = (Instant::now(), Table::default());
        let (late, early) = (registration("1", WEB, 7), registration("2", WEB, 3));
        table.set(&[late.clone(), early.clone()], now);
        assert_eq!(table.take_due(8, now), vec![early.clone()]);
        let ca = Signer::generate();
        table.set(&[late], now);
        table.finished(&early, Ok(held(&ca)), &bundles(&ca), at(now));
        assert_eq!(table.svids().len(), 1, "it is of the same identity");
        table.set(&[], now);
        assert!(table.svids().is_empty() && table.next_due().is_none());
        table.finished(&early, Ok(held(&ca)), &bundles(&ca), at(now));
        assert!(table.svids().is_empty());
    }

    #[test]
    fn what_is_revoked_is_gone_and_told_until_there_is_a_new_one() {
        let (ca, now) = (Signer::generate(), Instant::now());
        let mut table = ready(&ca, now);
        let closed = revoked(true, 1);
        let keys = bundles(&ca).with_revocations(closed.set().clone());
        table.review(&closed, &keys, now);
        assert!(table.svids().is_empty() && table.taken_back().len() == 1);
        assert!(table.take_due(8, now).is_empty(), "the CA issues nothing");
        let open = revoked(false, 2);
        table.review(&open, &keys, now);
        let due = table.take_due(8, now);
        assert!(due.len() == 1 && table.taken_back().len() == 1);
        // One that was on its way when it was revoked is worth nothing.
        table.finished(&due[0], Ok(held(&ca)), &keys, at(now));
        assert!(table.svids().is_empty() && table.taken_back().len() == 1);
        let later = now + LAST_RETRY;
        assert_eq!(table.take_due(8, later).len(), 1);
        table.finished(&due[0], Ok(held(&ca)), &bundles(&ca), at(later));
        assert!(table.svids().len() == 1 && table.taken_back().is_empty());
    }

    #[test]
    fn what_a_key_signed_that_is_not_published_any_more_goes_and_what_a_tainted_one_signed_is_replaced() {
        let (ca, now) = (Signer::generate(), Instant::now());
        let mut table = ready(&ca, now);
        let tainted = TrustBundle {
            tainted_wit: vec![ca.public.id().to_owned()],
            ..TrustBundle::default()
        };
        table.taint(&Tainted::of(&tainted), now);
        assert_eq!(table.svids().len(), 1, "it still counts");
        assert_eq!(table.take_due(8, now).len(), 1);
        let mut table = ready(&ca, now);
        table.review(&RevocationTable::default(), &bundles(&Signer::generate()), now);
        assert!(table.svids().is_empty() && table.take_due(8, now).len() == 1);
    }

    #[test]
    fn a_ca_without_them_is_not_asked_again_and_again() {
        let (now, mut table) = (Instant::now(), Table::default());
        let web = registration("1", WEB, 1);
        table.set(std::slice::from_ref(&web), now);
        table.take_due(8, now);
        let keys = bundles(&Signer::generate());
        table.finished(&web, Err(&IssueError::Off("off".to_owned())), &keys, at(now));
        assert_eq!(table.next_due(), Some(now + OFF));
        table.take_due(8, now + OFF);
        table.finished(&web, Err(&IssueError::Deadline), &keys, at(now));
        assert!(table.next_due() < Some(now + OFF));
    }

    #[test]
    fn what_has_expired_is_gone_and_asked_for_at_once_however_the_clock_came_to_its_end() {
        let (ca, now) = (Signer::generate(), Instant::now());
        let mut table = ready(&ca, now);
        let end = table.next_expiry().expect("one");
        assert!(!table.expire(end - 1, now));
        assert_eq!(table.svids().len(), 1);
        assert!(table.expire(end, now));
        assert!(table.svids().is_empty() && table.next_expiry().is_none());
        assert_eq!(table.take_due(8, now).len(), 1);
    }

    #[test]
    fn what_a_machine_slept_through_is_over_for_its_renewals() {
        let (ca, now) = (Signer::generate(), Instant::now());
        let mut table = ready(&ca, now);
        let end = table.next_expiry().expect("one");
        table.overtake(end - 1, now);
        assert_eq!(table.take_due(8, now).len(), 1);
        assert_eq!(table.svids().len(), 1, "it is good until its end");
    }
}
