//! What is revoked, as this node knows it. Pure.
//!
//! What was learned once is kept until its end, also where a later snapshot lacks it: an old view, replayed or restored
//! from a backup, brings nothing back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use signet_proto::view::v1::Revocation;
use signet_proto::view::v1::revocation::Subject as WireSubject;
use signet_session::NodeNumber;
use signet_spiffe::{KeyId, NodeName, Revocations, SerialNumber, SpiffeId, Subject, TrustDomain, UnixTime};

/// Most revocations that are taken; the CA keeps half as many. Beyond it everything counts as revoked.
const MOST: usize = 200_000;

/// What is revoked, as this node knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RevocationTable {
    rows: BTreeMap<String, Revocation>,
    set: Arc<Revocations>,
    /// The same without those that cannot be read.
    readable: Arc<Revocations>,
    /// IDs that get nothing new, and why.
    closed: BTreeMap<SpiffeId, Arc<str>>,
    /// Nodes that are kept out, and why.
    banned: BTreeMap<NodeName, Arc<str>>,
    numbers: BTreeMap<NodeNumber, NodeName>,
    /// There was more, and nobody knows what: until the CA tells everything anew, everything is revoked.
    lost: Option<Arc<str>>,
}

impl RevocationTable {
    /// A table of these, as an earlier run has kept them.
    pub fn new(trust_domain: &TrustDomain, rows: Vec<Revocation>) -> Self {
        let rows = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        Self::build(trust_domain, rows, None)
    }

    /// A table that cannot be read means everything.
    pub fn unreadable(reason: &str) -> Self {
        let mut set = Revocations::default();
        set.revoke_everything(reason.into());
        Self {
            set: Arc::new(set),
            lost: Some(reason.into()),
            ..Self::default()
        }
    }

    /// The table after news. `whole`: these are all that the CA has, so what stands open without an end and is not among
    /// them has been lifted; what has its end still ahead stays.
    #[must_use]
    pub fn merged(&self, trust_domain: &TrustDomain, news: &[Revocation], whole: bool, now: i64) -> Self {
        let mut rows = self.rows.clone();
        rows.retain(|_, row| row.until >= now || (!whole && (row.closed || row.banned)));
        for new in news {
            match rows.get_mut(&new.id) {
                Some(known) if known.version > new.version => {
                    // Older than what we have: it can only add.
                    known.not_before = known.not_before.max(new.not_before);
                    known.until = known.until.max(new.until);
                    known.at = known.at.max(new.at);
                }
                Some(known) => {
                    let (not_before, until, at) = (known.not_before, known.until, known.at);
                    known.clone_from(new);
                    known.not_before = known.not_before.max(not_before);
                    known.until = known.until.max(until);
                    known.at = known.at.max(at);
                }
                None => {
                    rows.insert(new.id.clone(), new.clone());
                }
            }
        }
        if rows == self.rows && self.set.unreadable().is_none() {
            return self.clone();
        }
        let lost = self.lost.clone().filter(|_| !whole);
        Self::build(trust_domain, rows, lost)
    }

    fn build(trust_domain: &TrustDomain, rows: BTreeMap<String, Revocation>, lost: Option<Arc<str>>) -> Self {
        let mut table = Self::default();
        let mut set = Revocations::of(trust_domain.clone());
        if rows.len() > MOST {
            set.revoke_everything(format!("there are more than {MOST} revocations").into());
        }
        for row in rows.values() {
            if !table.enter(trust_domain, row, &mut set) {
                set.revoke_everything(
                    format!(
                        "this agent cannot read the revocation `{}`: {}",
                        row.id, row.reason
                    )
                    .into(),
                );
            }
        }
        if let Some(reason) = &lost {
            set.revoke_everything(reason.clone());
        }
        table.rows = rows;
        table.lost = lost;
        table.set = Arc::new(set);
        table.readable = match table.set.unreadable() {
            None => Arc::clone(&table.set),
            Some(_) => Arc::new(table.set.readable()),
        };
        table
    }

    /// False: it cannot be read.
    fn enter(&mut self, trust_domain: &TrustDomain, row: &Revocation, set: &mut Revocations) -> bool {
        let reason: Arc<str> = row.reason.as_str().into();
        let (until, at) = (moment(row.not_before), moment(row.at));
        let (subject, reason) = match &row.subject {
            Some(WireSubject::Serial(bytes)) => {
                let Ok(serial) = SerialNumber::new(bytes) else {
                    return false;
                };
                (Subject::Serial(serial), reason)
            }
            Some(WireSubject::Authority(bytes)) => {
                let Ok(key) = KeyId::new(bytes) else { return false };
                (Subject::Authority(key), reason)
            }
            Some(WireSubject::SpiffeId(text)) => {
                let Ok(id) = SpiffeId::parse(text) else {
                    return false;
                };
                if row.closed {
                    self.closed.insert(id.clone(), reason.clone());
                }
                (Subject::Id { id, until, at }, reason)
            }
            Some(WireSubject::Node(text)) => {
                let Ok(name) = NodeName::parse(text) else {
                    return false;
                };
                let id = SpiffeId::node(trust_domain, &name);
                let reason = if row.banned {
                    let reason: Arc<str> = format!("the node is banned: {reason}").into();
                    self.banned.insert(name.clone(), reason.clone());
                    if let Some(number) = NodeNumber::new(row.node_id) {
                        self.numbers.insert(number, name);
                    }
                    reason
                } else {
                    reason
                };
                // 0: it has none, and so has asked for nothing.
                let Ok(number) = u16::try_from(row.node_id) else {
                    return false;
                };
                set.insert(Subject::Node { number, until, at }, reason.clone());
                (Subject::Id { id, until, at }, reason)
            }
            None => return false,
        };
        set.insert(subject, reason);
        true
    }

    /// What verification honours.
    pub fn set(&self) -> &Arc<Revocations> {
        &self.set
    }

    /// What verification honours between this node and the CA. Where a revocation cannot be read, nobody is believed but the
    /// CA: it alone can say more.
    pub fn readable(&self) -> &Arc<Revocations> {
        &self.readable
    }

    /// Up to which beginning of validity, and up to which moment of issuance of its tokens, a SPIFFE ID is revoked, where it is.
    pub fn up_to(&self, id: &SpiffeId) -> Option<(UnixTime, UnixTime)> {
        self.set.of_id(id).map(|(until, at, _)| (until, at))
    }

    /// All of them.
    pub fn rows(&self) -> impl Iterator<Item = &Revocation> {
        self.rows.values()
    }

    /// Why a SPIFFE ID gets no certificates, where it does not.
    pub fn closed(&self, id: &SpiffeId) -> Option<&Arc<str>> {
        self.closed.get(id)
    }

    /// A banned node by its number, which the view does not have any more, and why.
    pub fn banned(&self, number: NodeNumber) -> Option<(&NodeName, &str)> {
        let name = self.numbers.get(&number)?;
        Some((name, self.banned.get(name)?))
    }

    /// Why a node is kept out, where it is.
    pub fn banned_node(&self, name: &NodeName) -> Option<&Arc<str>> {
        self.banned.get(name)
    }

    /// Who gets no certificates and who is kept out, for the node's other daemons, which explain what follows from it.
    pub fn standing(&self) -> Vec<Revocation> {
        let rows = self.rows.values();
        rows.filter(|row| row.closed || row.banned).cloned().collect()
    }

    /// Of what has just been learned, what may have changed who that is: as this table has it now.
    pub fn standing_after(&self, news: &[Revocation]) -> Vec<Revocation> {
        let rows = news.iter().filter_map(|new| self.rows.get(&new.id));
        rows.filter(|row| matches!(row.subject, Some(WireSubject::SpiffeId(_) | WireSubject::Node(_))))
            .cloned()
            .collect()
    }

    /// Which versions there are.
    pub fn versions(&self) -> BTreeMap<String, u64> {
        let rows = self.rows.iter();
        rows.map(|(id, row)| (id.clone(), row.version)).collect()
    }

    /// The reason why what these identities have proven may rest on something revoked, going by what is newer than
    /// `settled`. For proofs of which nobody remembers how they were made; in doubt they are worth nothing.
    pub fn suspects(&self, settled: &BTreeMap<String, u64>, ids: [&SpiffeId; 2]) -> Option<String> {
        if let Some(reason) = self.set.unreadable() {
            return Some(reason.to_owned());
        }
        let concerns = |row: &&Revocation| match &row.subject {
            Some(WireSubject::SpiffeId(id)) => ids.iter().any(|other| other.as_str() == id),
            Some(WireSubject::Serial(_)) => {
                row.owner.is_empty() || ids.iter().any(|other| other.as_str() == row.owner)
            }
            // What was asked for on a node is looked at by itself.
            Some(WireSubject::Node(_)) => false,
            Some(WireSubject::Authority(_)) | None => true,
        };
        let found = self.newer(settled).find(concerns);
        found.map(|row| format!("it may rest on what is revoked ({}): {}", row.id, row.reason))
    }

    /// Why the SVIDs of a node were revoked, if that is newer than `settled`: what was proven over its sessions goes with it.
    pub fn node_revoked_after(&self, settled: &BTreeMap<String, u64>, node: &NodeName) -> Option<String> {
        let row = self.rows.get(&format!("node:{node}"))?;
        let is_new = settled.get(&row.id).is_none_or(|version| *version < row.version);
        is_new.then(|| format!("node {node} is revoked: {}", row.reason))
    }

    /// Which nodes were revoked, and why, of what is newer than `settled`.
    pub fn nodes_revoked_after<'a>(
        &'a self,
        settled: &'a BTreeMap<String, u64>,
    ) -> impl Iterator<Item = (NodeName, &'a str)> {
        self.newer(settled).filter_map(|row| match &row.subject {
            Some(WireSubject::Node(name)) => Some((NodeName::parse(name).ok()?, row.reason.as_str())),
            Some(WireSubject::Serial(_) | WireSubject::SpiffeId(_) | WireSubject::Authority(_)) | None => {
                None
            }
        })
    }

    fn newer(&self, settled: &BTreeMap<String, u64>) -> impl Iterator<Item = &Revocation> {
        let is_new = |row: &&Revocation| settled.get(&row.id).is_none_or(|version| *version < row.version);
        self.rows.values().filter(is_new)
    }
}

fn moment(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn domain() -> TrustDomain {
        TrustDomain::parse("t.example").expect("valid")
    }

    fn web() -> SpiffeId {
        SpiffeId::parse("spiffe://t.example/web").expect("valid")
    }

    fn of_web(version: u64) -> Revocation {
        Revocation {
            id: "spiffe-id:spiffe://t.example/web".to_owned(),
            subject: Some(WireSubject::SpiffeId(web().to_string())),
            not_before: NOW,
            until: NOW + 100,
            closed: true,
            version,
            reason: "leaked".to_owned(),
            ..Revocation::default()
        }
    }

    fn merged(table: &RevocationTable, news: &[Revocation], whole: bool, now: i64) -> RevocationTable {
        table.merged(&domain(), news, whole, now)
    }

    #[test]
    fn an_old_snapshot_brings_nothing_back_before_its_time() {
        let table = merged(&RevocationTable::default(), &[of_web(2)], true, NOW);
        assert!(table.set().of_id(&web()).is_some() && table.closed(&web()).is_some());
        let replayed = merged(&table, &[], true, NOW + 100);
        assert_eq!(replayed, table);
        let older = Revocation {
            not_before: NOW - 50,
            closed: false,
            ..of_web(1)
        };
        let replayed = merged(&table, &[older], true, NOW);
        assert!(replayed.closed(&web()).is_some());
        assert_eq!(replayed.set().of_id(&web()), table.set().of_id(&web()));
        let over = merged(&table, &[], true, NOW + 101);
        assert_eq!(
            over,
            RevocationTable::new(&domain(), vec![]),
            "no certificate of it is left"
        );
    }

    #[test]
    fn what_is_reopened_is_open_and_stays_revoked() {
        let table = merged(&RevocationTable::default(), &[of_web(1)], false, NOW);
        let reopened = Revocation {
            closed: false,
            ..of_web(2)
        };
        let table = merged(&table, &[reopened], false, NOW);
        assert!(table.closed(&web()).is_none() && table.set().of_id(&web()).is_some());
    }

    #[test]
    fn other_daemons_are_told_who_is_kept_out_and_when_no_more_and_nothing_of_single_certificates() {
        let serial = Revocation {
            id: "serial:ab".to_owned(),
            subject: Some(WireSubject::Serial(vec![0xab])),
            until: NOW + 100,
            ..Revocation::default()
        };
        let news = [of_web(2), serial];
        let table = merged(&RevocationTable::default(), &news, true, NOW);
        assert_eq!(table.standing(), [of_web(2)]);
        assert_eq!(table.standing_after(&news), [of_web(2)]);
        let older = Revocation {
            closed: false,
            ..of_web(1)
        };
        let table = merged(&table, std::slice::from_ref(&older), false, NOW);
        assert!(table.standing_after(&[older])[0].closed, "as the table has it");
        let reopened = Revocation {
            closed: false,
            ..of_web(3)
        };
        let table = merged(&table, std::slice::from_ref(&reopened), false, NOW);
        assert_eq!(
            table.standing_after(std::slice::from_ref(&reopened)),
            std::slice::from_ref(&reopened)
        );
        assert!(table.standing().is_empty());
    }

    #[test]
    fn a_ban_stands_until_the_ca_says_otherwise_and_names_the_node_by_its_number() {
        let ban = Revocation {
            id: "node:n2".to_owned(),
            subject: Some(WireSubject::Node("n2".to_owned())),
            until: NOW,
            banned: true,
            node_id: 2,
            version: 1,
            reason: "stolen".to_owned(),
            ..Revocation::default()
        };
        let number = NodeNumber::new(2).expect("not zero");
        let mut set = Revocations::of(domain());
        let (until, at) = (moment(0), moment(0));
        let reason: Arc<str> = "the node is banned: stolen".into();
        set.insert(Subject::Node { number: 2, until, at }, reason.clone());
        let own = SpiffeId::parse("spiffe://t.example/signet/node/n2").expect("valid");
        set.insert(Subject::Id { id: own, until, at }, reason);
        let table = merged(&RevocationTable::default(), std::slice::from_ref(&ban), true, NOW);
        assert_eq!(**table.set(), set, "with all that it asked for");
        let later = merged(&table, &[], false, NOW + 1000);
        let (name, reason) = later.banned(number).expect("banned");
        assert!(name.as_str() == "n2" && reason.contains("stolen"));
        assert!(merged(&later, &[], true, NOW + 1000).banned(number).is_none());
        let evicted = Revocation {
            banned: false,
            version: 2,
            ..ban
        };
        assert!(
            merged(&later, &[evicted], false, NOW + 1000)
                .banned(number)
                .is_none()
        );
    }

    #[test]
    fn one_that_cannot_be_read_means_everything_until_it_is_gone() {
        for subject in [
            None,
            Some(WireSubject::Serial(Vec::new())),
            Some(WireSubject::SpiffeId("http://x".to_owned())),
            Some(WireSubject::Node("?".to_owned())),
            Some(WireSubject::Authority(Vec::new())),
        ] {
            let row = Revocation {
                id: "x".to_owned(),
                subject,
                until: NOW,
                ..Revocation::default()
            };
            let table = merged(&RevocationTable::default(), &[row], false, NOW);
            assert!(table.set().unreadable().is_some());
            assert!(table.suspects(&BTreeMap::new(), [&web(), &web()]).is_some());
            assert!(merged(&table, &[], true, NOW + 1).set().unreadable().is_none());
        }
        let lost = RevocationTable::unreadable("damaged");
        assert!(lost.set().unreadable().is_some());
        assert!(
            merged(&lost, &[of_web(1)], false, NOW)
                .set()
                .unreadable()
                .is_some()
        );
        assert!(
            merged(&lost, &[], true, NOW).set().unreadable().is_none(),
            "the CA tells all"
        );
    }

    #[test]
    fn a_proof_without_a_past_is_suspected_by_what_is_new_and_concerns_it() {
        let table = RevocationTable::new(&domain(), vec![of_web(3)]);
        let other = SpiffeId::parse("spiffe://t.example/other").expect("valid");
        let nothing = BTreeMap::new();
        assert!(table.suspects(&nothing, [&web(), &other]).is_some());
        assert!(table.suspects(&nothing, [&other, &web()]).is_some());
        assert!(table.suspects(&nothing, [&other, &other]).is_none());
        let settled = table.versions();
        assert!(table.suspects(&settled, [&web(), &other]).is_none());
        let again = merged(&table, &[of_web(4)], false, NOW);
        assert!(again.suspects(&settled, [&web(), &other]).is_some());
    }
}
