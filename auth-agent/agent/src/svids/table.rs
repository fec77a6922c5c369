//! Which registrations need an SVID, and when. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::issue::WorkloadSvid;
use super::set::{Entry, SvidSet};
use crate::clock::backoff;
use crate::custody::RestoredSvid;
use crate::mesh::Endpoints;
use crate::renewal::Due;
use crate::view::{Registration, RevocationTable, Tainted};

const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Slot {
    entry: Entry,
    due: Instant,
    /// Of the SVID that it has; none while an attempt has failed since.
    plan: Option<Due>,
    failures: u32,
    in_flight: bool,
    /// The CA issues nothing for it.
    closed: bool,
}

impl Slot {
    /// Whether an SVID may be asked for.
    fn may_ask(&self) -> bool {
        !self.in_flight && !self.closed && !self.entry.away
    }
}

/// The registrations of this node with the state of their SVIDs.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: BTreeMap<String, Slot>,
    /// How long SVIDs should outlast the CA.
    target: Duration,
}

impl Table {
    /// Takes over the registrations of a view. What has gone is dropped, and its key wiped with it; a registration that
    /// now means another identity starts anew. Says whether anything changed.
    pub(super) fn set(&mut self, registrations: &[Arc<Registration>], now: Instant) -> bool {
        let ids: BTreeSet<&str> = registrations
            .iter()
            .map(|registration| registration.id.as_str())
            .collect();
        let before = self.slots.len();
        self.slots.retain(|id, _| ids.contains(id.as_str()));
        let mut changed = self.slots.len() != before;
        for registration in registrations {
            match self.slots.get_mut(&registration.id) {
                Some(slot) if slot.entry.registration == *registration => {}
                Some(slot) if slot.entry.registration.spiffe_id == registration.spiffe_id => {
                    // Until there is one on the new terms, the old one is better than none.
                    if slot.entry.registration.certificates != registration.certificates {
                        slot.due = now;
                        slot.plan = None;
                        slot.failures = 0;
                    }
                    slot.entry.registration = registration.clone();
                    changed = true;
                }
                Some(_) | None => {
                    let entry = Entry {
                        registration: registration.clone(),
                        svid: None,
                        last_error: None,
                        revoked: None,
                        outdated: false,
                        away: false,
                    };
                    self.slots.insert(
                        registration.id.clone(),
                        Slot {
                            entry,
                            due: now,
                            plan: None,
                            failures: 0,
                            in_flight: false,
                            closed: false,
                        },
                    );
                    changed = true;
                }
            }
        }
        changed
    }

    /// Takes over an SVID of the agent's life before for a registration that has none yet.
    pub(super) fn adopt(&mut self, restored: RestoredSvid, now: Instant, unix: i64, random: u64) {
        let RestoredSvid {
            registration,
            svid,
            outdated,
        } = restored;
        let Some(slot) = self.slots.get_mut(&registration) else {
            return;
        };
        let fits = slot.entry.registration.spiffe_id == *svid.verified.id();
        if slot.entry.svid.is_some() || slot.in_flight || !fits {
            return;
        }
        let plan = Due::resumed(svid.not_after, unix, now, random);
        slot.plan = (!outdated).then_some(plan);
        slot.due = slot.plan.map_or(now, |plan| plan.at(self.target));
        slot.entry.svid = Some(Arc::new(svid));
    }

    /// Takes over which endpoints this node has. A registration for one that it does not have has no key, and loses the one that it
    /// had. Before anybody has said which there are, it keeps what it has from the life before. Says whether anything changed.
    pub(super) fn house(&mut self, endpoints: Option<&Endpoints>, now: Instant) -> bool {
        let mut changed = false;
        for slot in self.slots.values_mut() {
            let mut wanted = slot.entry.registration.selectors.endpoints();
            let away = match endpoints {
                Some(endpoints) => !wanted.all(|name| endpoints.has_named(name)),
                None => wanted.next().is_some() && slot.entry.svid.is_none(),
            };
            drop(wanted);
            if away == slot.entry.away {
                continue;
            }
            changed = true;
            slot.entry.away = away;
            slot.plan = None;
            slot.failures = 0;
            slot.due = now;
            if away {
                slot.entry.svid = None;
                slot.entry.last_error = None;
            }
        }
        changed
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

    /// Takes up to `room` registrations that need an SVID now.
    pub(super) fn take_due(&mut self, room: usize, now: Instant) -> Vec<Arc<Registration>> {
        let due = self
            .slots
            .values_mut()
            .filter(|slot| slot.may_ask() && slot.due <= now)
            .take(room);
        due.map(|slot| {
            slot.in_flight = true;
            slot.entry.registration.clone()
        })
        .collect()
    }

    /// When something is due next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.slots
            .values()
            .filter(|slot| slot.may_ask())
            .map(|slot| slot.due)
            .min()
    }

    /// Notes the outcome for a registration that may have gone or changed meanwhile: then it is dropped.
    pub(super) fn finished(
        &mut self,
        registration: &Arc<Registration>,
        result: Result<WorkloadSvid, String>,
        revocations: &RevocationTable,
        now: Instant,
        unix: i64,
        random: u64,
    ) {
        let Some(slot) = self.slots.get_mut(&registration.id) else {
            return;
        };
        if slot.entry.registration.spiffe_id != registration.spiffe_id {
            return;
        }
        slot.in_flight = false;
        // Its endpoint has gone meanwhile.
        if slot.entry.away {
            return;
        }
        // Revoked while it was on its way.
        let result = result.and_then(|svid| match revocations.set().check(&svid.verified) {
            Ok(()) if slot.closed => Err("revoked, and nothing new is issued".to_owned()),
            Ok(()) => Ok(svid),
            Err(revoked) => Err(revoked.to_string()),
        });
        match result {
            Ok(svid) => {
                let on_old_terms = slot.entry.registration.certificates != registration.certificates;
                let plan = Due::issued(svid.not_after, unix, now, random);
                slot.plan = (!on_old_terms).then_some(plan);
                slot.due = slot.plan.map_or(now, |plan| plan.at(self.target));
                slot.failures = 0;
                slot.entry.svid = Some(Arc::new(svid));
                slot.entry.last_error = None;
                slot.entry.revoked = None;
            }
            Err(error) => {
                let on_old_terms = slot.entry.registration.certificates != registration.certificates;
                slot.plan = None;
                slot.due = if on_old_terms {
                    now
                } else {
                    now + backoff(FIRST_RETRY, LAST_RETRY, slot.failures, random)
                };
                slot.failures = slot.failures.saturating_add(1);
                slot.entry.last_error = Some(error);
            }
        }
    }

    /// Drops what is revoked, and its key with it. What may have a new SVID needs one now. Says whether anything changed.
    pub(super) fn revoke(&mut self, revocations: &RevocationTable, now: Instant) -> bool {
        let mut changed = false;
        for slot in self.slots.values_mut() {
            let closed = revocations.closed(&slot.entry.registration.spiffe_id);
            let was_closed = std::mem::replace(&mut slot.closed, closed.is_some());
            let svid = slot.entry.svid.as_ref();
            let revoked = svid.and_then(|svid| revocations.set().check(&svid.verified).err());
            let reason = match (closed, &revoked) {
                (Some(reason), _) => Some(format!("revoked, and nothing new is issued: {reason}")),
                (None, Some(revoked)) => Some(revoked.to_string()),
                (None, None) => None,
            };
            if let Some(reason) = reason {
                let reason: Arc<str> = reason.into();
                changed |= slot.entry.svid.take().is_some() || slot.entry.revoked.as_ref() != Some(&reason);
                slot.entry.revoked = Some(reason);
            }
            if revoked.is_some() || (was_closed && !slot.closed) {
                slot.due = now;
                slot.plan = None;
                slot.failures = 0;
            }
        }
        changed
    }

    /// What these authorities signed is due now. It is in use until there is a new one.
    pub(super) fn taint(&mut self, tainted: &Tainted, now: Instant) {
        for slot in self.slots.values_mut().filter(|slot| !slot.in_flight) {
            let svid = slot.entry.svid.as_ref();
            if svid.is_some_and(|svid| tainted.signed(&svid.verified)) {
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
            if slot
                .entry
                .svid
                .as_ref()
                .is_some_and(|svid| svid.not_after <= unix)
            {
                slot.entry.svid = None;
                slot.plan = None;
                slot.due = slot.due.min(now);
                changed = true;
            }
        }
        changed
    }

    /// When the first SVID expires, Unix seconds.
    pub(super) fn next_expiry(&self) -> Option<i64> {
        self.slots
            .values()
            .filter_map(|slot| slot.entry.svid.as_ref())
            .map(|svid| svid.not_after)
            .min()
    }

    /// The state as others see it.
    pub(super) fn to_set(&self) -> SvidSet {
        let entry = |slot: &Slot| Entry {
            outdated: slot.entry.svid.is_some() && slot.plan.is_none(),
            ..slot.entry.clone()
        };
        let mut entries: Vec<_> = self.slots.values().map(entry).collect();
        entries.sort_by_key(|entry| entry.registration.ordinal);
        SvidSet::new(entries)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
    use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use signet_abi::SecurityIdentity;
    use signet_attest::{EndpointName, RequiredSelectors};
    use signet_proto::view::v1::Revocation;
    use signet_proto::view::v1::revocation::Subject;
    use signet_spiffe::{BundleSet, KeyType, SpiffeId, TrustDomain, X509Bundle};
    use signet_tls::SvidKeyPair;

    use super::*;
    use crate::view::CertificateTerms;

    fn none() -> RevocationTable {
        RevocationTable::default()
    }

    fn closed(spiffe_id: &str, closed: bool, version: u64) -> RevocationTable {
        let row = Revocation {
            id: format!("spiffe-id:{spiffe_id}"),
            subject: Some(Subject::SpiffeId(spiffe_id.to_owned())),
            reason: "leaked".to_owned(),
            until: i64::MAX,
            closed,
            version,
            ..Revocation::default()
        };
        RevocationTable::new(&TrustDomain::parse("t.example").expect("valid"), vec![row])
    }

    #[test]
    fn a_closed_identity_is_withdrawn_and_not_asked_for_until_it_is_reopened() {
        let (now, mut table) = (Instant::now(), Table::default());
        let one = registration("1", "spiffe://t.example/a");
        let other = registration("2", "spiffe://t.example/b");
        table.set(&[one.clone(), other.clone()], now);
        assert!(table.revoke(&closed("spiffe://t.example/a", true, 1), now));
        assert!(
            !table.revoke(&closed("spiffe://t.example/a", true, 1), now),
            "once"
        );
        let set = table.to_set();
        let reason = set.entries()[0].revoked.clone().expect("withdrawn");
        assert!(reason.contains("leaked") && set.entries()[1].revoked.is_none());
        assert_eq!(table.take_due(8, now), vec![other]);
        assert_eq!(table.next_due(), None);
        table.revoke(&closed("spiffe://t.example/a", false, 2), now);
        assert_eq!(table.take_due(8, now), vec![one]);
        assert!(
            table.to_set().entries()[0].revoked.is_some(),
            "absent until the new one is there"
        );
    }

    fn registration(id: &str, spiffe_id: &str) -> Arc<Registration> {
        Arc::new(Registration {
            id: id.to_owned(),
            spiffe_id: SpiffeId::parse(spiffe_id).expect("valid"),
            identity: SecurityIdentity(256),
            selectors: RequiredSelectors::parse(&["unix:uid:1"]).expect("valid"),
            federates_with: BTreeSet::new(),
            hint: None,
            certificates: CertificateTerms::default(),
            jwt_ttl: 0,
            ordinal: 0,
        })
    }

    /// An SVID of an hour.
    fn svid(id: &SpiffeId) -> WorkloadSvid {
        let uri = |text: &str| SanType::URI(text.try_into().expect("IA5"));
        let domain = id.trust_domain();
        let key = KeyPair::generate().expect("a key");
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        root.subject_alt_names = vec![uri(&format!("spiffe://{}", domain.as_str()))];
        let certificate = root.self_signed(&key).expect("a root").der().clone();
        let issuer = Issuer::new(root, key);
        let key = KeyPair::generate().expect("a key");
        let mut leaf = CertificateParams::default();
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.subject_alt_names = vec![uri(id.as_str())];
        let now = SystemTime::now();
        leaf.not_before = (now - Duration::from_mins(1)).into();
        leaf.not_after = (now + Duration::from_hours(1)).into();
        let pair = SvidKeyPair {
            chain: vec![leaf.signed_by(&key, &issuer).expect("a leaf").der().clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        };
        let bundle = X509Bundle::new(domain.clone(), vec![certificate]).expect("a bundle");
        WorkloadSvid::new(pair, id, &BundleSet::single(bundle)).expect("verifies")
    }

    #[test]
    fn what_a_machine_slept_through_is_over_for_its_svids_and_what_ended_then_is_asked_for_at_once() {
        let (now, mut table) = (Instant::now(), Table::default());
        let one = registration("1", "spiffe://t.example/a");
        table.set(std::slice::from_ref(&one), now);
        assert_eq!(table.take_due(8, now).len(), 1);
        let unix = crate::clock::unix_now();
        table.finished(&one, Ok(svid(&one.spiffe_id)), &none(), now, unix, 0);
        assert!(table.take_due(8, now).is_empty());
        let woken = now + Duration::from_mins(1);
        table.overtake(unix + 60, woken);
        assert!(table.take_due(8, woken).is_empty(), "nobody has slept");
        table.overtake(unix + 3_000, woken);
        assert_eq!(
            table.take_due(8, woken),
            vec![one.clone()],
            "ten minutes are left"
        );
        table.finished(&one, Ok(svid(&one.spiffe_id)), &none(), now, unix, 0);
        assert!(table.expire(unix + 7_200, woken) && table.next_expiry().is_none());
        assert_eq!(table.take_due(8, woken), vec![one]);
    }

    #[test]
    fn other_terms_ask_for_a_new_certificate_at_once_and_other_words_do_not() {
        let (now, mut table) = (Instant::now(), Table::default());
        let one = registration("1", "spiffe://t.example/a");
        table.set(std::slice::from_ref(&one), now);
        assert_eq!(table.take_due(8, now).len(), 1);
        table.finished(&one, Err("no".to_owned()), &none(), now, 0, 0);
        let words = Arc::new(Registration {
            hint: Some("outside".parse().expect("a hint")),
            ..Registration::clone(&one)
        });
        assert!(table.set(std::slice::from_ref(&words), now));
        assert!(
            table.take_due(8, now).is_empty(),
            "a hint stands in no certificate"
        );
        let terms = Arc::new(Registration {
            certificates: CertificateTerms {
                key_type: KeyType::P384,
                ..CertificateTerms::default()
            },
            ..Registration::clone(&words)
        });
        assert!(table.set(std::slice::from_ref(&terms), now));
        assert_eq!(table.take_due(8, now), vec![terms.clone()]);
        // Changed once more while that one is on its way: what comes back is on old terms.
        let again = Arc::new(Registration {
            certificates: CertificateTerms::default(),
            ..Registration::clone(&terms)
        });
        table.set(std::slice::from_ref(&again), now);
        table.finished(&terms, Err("other key".to_owned()), &none(), now, 0, 0);
        assert_eq!(
            table.take_due(8, now),
            vec![again],
            "without waiting for the retry"
        );
    }

    #[test]
    fn identities_are_in_the_order_in_which_they_were_registered_whatever_their_ids() {
        let (now, mut table) = (Instant::now(), Table::default());
        let ordered = |id: &str, ordinal| {
            Arc::new(Registration {
                ordinal,
                ..Registration::clone(&registration(id, &format!("spiffe://t.example/{id}")))
            })
        };
        table.set(&[ordered("a", 3), ordered("b", 1), ordered("c", 2)], now);
        let set = table.to_set();
        let order: Vec<_> = set
            .entries()
            .iter()
            .map(|entry| entry.registration.id.as_str())
            .collect();
        assert_eq!(order, ["b", "c", "a"]);
    }

    #[test]
    fn a_registration_is_due_at_once_then_not_while_in_flight_and_backs_off_after_a_failure() {
        let (now, mut table) = (Instant::now(), Table::default());
        let one = registration("1", "spiffe://t.example/a");
        assert!(table.set(std::slice::from_ref(&one), now));
        assert!(!table.set(std::slice::from_ref(&one), now), "nothing new");
        assert_eq!(table.take_due(8, now), vec![one.clone()]);
        assert!(table.take_due(8, now).is_empty());
        table.finished(&one, Err("no".to_owned()), &none(), now, 0, 0);
        assert!(table.take_due(8, now).is_empty());
        let due = table.next_due().expect("is due later");
        assert!(due > now && due <= now + FIRST_RETRY);
        assert_eq!(table.take_due(8, due), vec![one]);
        assert_eq!(table.to_set().entries()[0].last_error.as_deref(), Some("no"));
    }

    #[test]
    fn a_registration_that_changes_its_identity_meanwhile_does_not_get_the_old_ones_outcome() {
        let (now, mut table) = (Instant::now(), Table::default());
        let before = registration("1", "spiffe://t.example/a");
        table.set(std::slice::from_ref(&before), now);
        assert_eq!(table.take_due(8, now).len(), 1);
        let after = registration("1", "spiffe://t.example/b");
        assert!(table.set(std::slice::from_ref(&after), now));
        table.finished(&before, Err("late".to_owned()), &none(), now, 0, 0);
        assert_eq!(table.to_set().entries()[0].last_error, None);
        assert_eq!(table.take_due(8, now), vec![after]);
    }

    #[test]
    fn nothing_is_asked_for_an_endpoint_that_is_not_here() {
        let (now, mut table) = (Instant::now(), Table::default());
        let name = |text: &str| EndpointName::new("shop", text).expect("valid");
        let here = |names: &[&str]| Endpoints::with_names(names.iter().map(|text| name(text)));
        let lives = |id: &str, selectors: &[&str]| {
            Arc::new(Registration {
                selectors: RequiredSelectors::parse(selectors).expect("valid"),
                ..Registration::clone(&registration(id, "spiffe://t.example/a"))
            })
        };
        let web = lives("1", &["endpoint:shop/web"]);
        let both = lives("2", &["endpoint:shop/web", "endpoint:shop/cache"]);
        let host = lives("3", &["unix:uid:1"]);
        table.set(&[web.clone(), both.clone(), host.clone()], now);
        assert!(table.house(None, now));
        assert_eq!(table.take_due(8, now), vec![host], "nobody has said who is here");
        assert!(table.house(Some(&here(&["web"])), now) && !table.house(Some(&here(&["web"])), now));
        assert_eq!(table.take_due(8, now), vec![web.clone()]);
        table.house(Some(&here(&["web", "cache"])), now);
        assert_eq!(table.take_due(8, now), vec![both]);
        // It goes while its certificate is on its way, and comes back.
        table.house(Some(&here(&[])), now);
        table.finished(&web, Err("late".to_owned()), &none(), now, 0, 0);
        assert_eq!(
            (table.next_due(), &table.to_set().entries()[0].last_error),
            (None, &None)
        );
        table.house(Some(&here(&["web"])), now);
        assert_eq!(table.take_due(8, now), vec![web]);
    }

    #[test]
    fn what_is_not_registered_any_more_is_dropped() {
        let (now, mut table) = (Instant::now(), Table::default());
        table.set(&[registration("1", "spiffe://t.example/a")], now);
        assert!(table.set(&[], now));
        assert!(table.to_set().entries().is_empty());
        assert_eq!(table.next_due(), None);
    }

    #[test]
    fn no_more_than_there_is_room_for_are_taken() {
        let (now, mut table) = (Instant::now(), Table::default());
        table.set(
            &[
                registration("1", "spiffe://t.example/a"),
                registration("2", "spiffe://t.example/b"),
            ],
            now,
        );
        assert_eq!(table.take_due(1, now).len(), 1);
        assert_eq!(table.take_due(1, now).len(), 1);
    }
}
