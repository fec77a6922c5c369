//! The kept state through several lives of an agent: what is there again, what is not, and what nobody gets back. A CA of its own, no
//! kernel's keyring.

#![expect(clippy::expect_used, reason = "helpers of tests: what fails here is the test")]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use signet_agent::ca::{NodeAccess, StateFile};
use signet_agent::custody::{Custody, Keep, Keys, KeysError, Restored, RestoredSvid, SealingKey, Writer};
use signet_agent::jwt::JwtSvids;
use signet_agent::mesh::Endpoints;
use signet_agent::status::Status;
use signet_agent::svids::{Entry, Manager, SvidSet, WorkloadSource, WorkloadSvid};
use signet_agent::view::{KeptFile, ViewStore};
use signet_attest::EndpointName;
use signet_proto::agent::v1::custody::State;
use signet_proto::view::v1 as wire;
use signet_spiffe::SpiffeId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use support::{Authority, Cluster, eventually, node_name, workload};

const BUNDLE: &str = "the bundle that the agent is started with";

/// A keyring that can be looked into, rebooted and broken.
#[derive(Clone, Debug, Default)]
struct Keyring {
    keys: Arc<Mutex<BTreeMap<String, [u8; 32]>>>,
    puts: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
}

impl Keyring {
    fn names(&self) -> Vec<String> {
        self.keys.lock().expect("not poisoned").keys().cloned().collect()
    }

    fn reboot(&self) {
        self.keys.lock().expect("not poisoned").clear();
    }
}

impl Keys for Keyring {
    fn put(&self, name: &str, key: &SealingKey, life: Duration) -> Result<(), KeysError> {
        assert!(life <= Duration::from_hours(1), "longer than all in it");
        if self.broken.load(SeqCst) {
            return Err(KeysError::Foreign);
        }
        self.puts.fetch_add(1, SeqCst);
        self.keys
            .lock()
            .expect("not poisoned")
            .insert(name.to_owned(), **key);
        Ok(())
    }

    fn get(&self, name: &str) -> Result<Option<SealingKey>, KeysError> {
        let keys = self.keys.lock().expect("not poisoned");
        Ok(keys.get(name).map(|key| SealingKey::new(*key)))
    }

    fn remove(&self, name: &str) -> Result<(), KeysError> {
        self.keys.lock().expect("not poisoned").remove(name);
        Ok(())
    }
}

/// A node, through its lives.
struct Site {
    directory: tempfile::TempDir,
    keyring: Keyring,
    ca: Authority,
    cluster: Cluster,
}

/// One life: what the rest of the agent says comes from the test.
struct Life {
    store: Arc<ViewStore>,
    svids: watch::Sender<Arc<SvidSet>>,
    cleared: watch::Sender<u64>,
    access: watch::Sender<Option<Arc<NodeAccess>>>,
    status: Arc<Status>,
    restored: Option<Restored>,
    stop: CancellationToken,
    writing: tokio::task::JoinHandle<()>,
}

impl Site {
    fn new() -> Self {
        let ca = Authority::new("t.example");
        let directory = tempfile::tempdir().expect("a directory");
        let own = ca.issue(&SpiffeId::node(&ca.domain, &node_name(1)));
        StateFile::new(directory.path())
            .expect("made")
            .save(&own)
            .expect("saved");
        Self {
            directory,
            keyring: Keyring::default(),
            ca,
            cluster: Cluster {
                nodes: vec![([192, 0, 2, 1], 4250).into()],
                workloads: vec![(1, 301), (1, 302)],
                encryption: wire::EncryptionMode::Off,
                revision: 5,
            },
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("kept-state")
    }

    fn begin(&self) -> Life {
        self.begin_with(BUNDLE, Keep::Under(Box::new(self.keyring.clone())))
    }

    fn begin_with(&self, bundle: &str, keep: Keep) -> Life {
        let (status, name, domain) = (Arc::new(Status::default()), node_name(1), &self.ca.domain);
        let place: &Path = self.directory.path();
        let custody = Custody::new(place, &name, domain, bundle, keep, &status);
        let store = ViewStore::new(name, domain.clone(), self.ca.bundles()).keeping(KeptFile::new(place));
        let store = Arc::new(store.forgetting(custody.clone()));
        let restored = custody.restore(&store, &StateFile::new(place).expect("is there"));
        let (svids, cleared) = (watch::Sender::default(), watch::Sender::new(0));
        let access = watch::Sender::new(Some(self.ca.access(&node_name(1))));
        let stop = CancellationToken::new();
        let writer = Writer {
            custody,
            view: store.subscribe(),
            svids: svids.subscribe(),
            cleared: cleared.subscribe(),
            access: access.subscribe(),
        };
        Life {
            writing: tokio::spawn(writer.run(stop.clone())),
            store,
            svids,
            cleared,
            access,
            status,
            restored,
            stop,
        }
    }

    /// Pushes the cluster as it is to a life, which has an SVID of each of its workloads then.
    fn push(&mut self, life: &Life) {
        self.cluster.revision += 1;
        life.store
            .apply(self.cluster.snapshot(&self.ca, 1))
            .expect("applies");
        let now = SystemTime::now();
        self.issue(life, now + Duration::from_mins(50));
    }

    fn issue(&self, life: &Life, until: SystemTime) {
        let view = life.store.current().expect("a view");
        let entries =
            view.registrations().map(|registration| {
                let id = &registration.spiffe_id;
                let known =
                    life.svids.borrow().entries().iter().find_map(|entry| {
                        (entry.registration.spiffe_id == *id).then(|| entry.svid.clone())?
                    });
                let issue = || {
                    let pair = self
                        .ca
                        .issue_for(id, SystemTime::now() - Duration::from_mins(1), until);
                    Arc::new(WorkloadSvid::new(pair, id, view.bundles()).expect("an SVID"))
                };
                Entry {
                    registration: registration.clone(),
                    svid: Some(known.unwrap_or_else(issue)),
                    last_error: None,
                    revoked: None,
                    outdated: false,
                    away: false,
                }
            });
        life.svids.send_replace(Arc::new(SvidSet::new(entries.collect())));
    }

    /// A life that ends without a word after this was written.
    async fn leave(&mut self) -> BTreeMap<String, Vec<u8>> {
        let life = self.begin();
        self.push(&life);
        life.has(2).await;
        life.keys()
    }
}

impl Life {
    fn state(&self) -> State {
        self.status.custody.to_wire().state()
    }

    /// So many SVIDs are in the file.
    async fn has(&self, svids: u32) {
        eventually("it is written", || {
            let report = self.status.custody.to_wire();
            report.state() == State::Kept && report.svids == svids
        })
        .await;
    }

    async fn is_empty(&self, site: &Site) {
        eventually("it is destroyed", || {
            self.state() == State::Empty && site.keyring.names().is_empty() && !site.path().exists()
        })
        .await;
    }

    fn keys(&self) -> BTreeMap<String, Vec<u8>> {
        let set = self.svids.borrow().clone();
        let svids = set.entries().iter().filter_map(|entry| entry.svid.clone());
        svids
            .map(|svid| (svid.serial.clone(), svid.offer.secret_key().to_vec()))
            .collect()
    }

    fn restored(&self) -> BTreeMap<String, Vec<u8>> {
        let svids = self.restored.iter().flat_map(|restored| &restored.svids);
        svids
            .map(|kept| (kept.svid.serial.clone(), kept.svid.offer.secret_key().to_vec()))
            .collect()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // As SIGKILL would.
        self.writing.abort();
    }
}

#[tokio::test]
async fn the_next_life_has_the_same_view_and_the_same_keys() {
    let mut site = Site::new();
    let kept = site.leave().await;
    let bytes = fs::read(site.path()).expect("is there");
    for key in kept.values() {
        // The private number, from whereever it begins.
        assert!(
            !bytes
                .windows(16)
                .any(|window| key.windows(16).any(|part| part == window))
        );
    }
    let life = site.begin();
    assert_eq!(life.restored(), kept);
    let restored = life.restored.as_ref().expect("restored");
    assert_eq!(restored.view.revision(), site.cluster.revision);
    assert_eq!(restored.view.numbering(), 0);
    assert!(restored.view.registrations().count() == 2 && restored.svids.iter().all(|svid| !svid.outdated));
    assert_eq!(site.keyring.names().len(), 1);
}

#[tokio::test]
async fn what_goes_is_gone_from_every_copy() {
    let mut site = Site::new();
    let life = site.begin();
    site.push(&life);
    life.has(2).await;
    let before = fs::read(site.path()).expect("is there");
    site.cluster.workloads.pop();
    site.push(&life);
    life.has(1).await;
    let after = life.keys();
    drop(life);
    // Whoever has a copy of the file of before has nothing.
    let now = fs::read(site.path()).expect("is there");
    fs::write(site.path(), before).expect("writes");
    assert!(site.begin().restored.is_none());
    assert!(!site.path().exists() && site.keyring.names().is_empty());
    fs::write(site.path(), now).expect("writes");
    assert!(site.begin().restored.is_none(), "it was destroyed with the key");
    assert_eq!(after.len(), 1);
}

#[tokio::test]
async fn what_is_revoked_or_expired_is_not_taken_over_and_leaves_the_file() {
    let mut site = Site::new();
    let life = site.begin();
    site.cluster.workloads = vec![(1, 301)];
    site.push(&life);
    site.cluster.workloads = vec![(1, 301), (1, 302), (1, 303)];
    site.cluster.revision += 1;
    life.store
        .apply(site.cluster.snapshot(&site.ca, 1))
        .expect("applies");
    site.issue(&life, SystemTime::now() + Duration::from_secs(3));
    life.has(3).await;
    let all = life.keys();
    drop(life);
    // Written down the moment before the end, as the agent does it before anything else.
    let serial = {
        let life = site.begin();
        let restored = life.restored.as_ref().expect("restored");
        let of = |number| {
            restored
                .svids
                .iter()
                .find(|kept| *kept.svid.verified.id() == workload(number))
                .expect("there")
        };
        of(301).svid.serial.clone()
    };
    let revocation = wire::Revocation {
        id: format!("serial:{serial}"),
        subject: Some(wire::revocation::Subject::Serial(
            data_encoding::HEXLOWER
                .decode(serial.as_bytes())
                .expect("hexadecimal"),
        )),
        until: i64::MAX,
        version: 1,
        ..wire::Revocation::default()
    };
    let update = wire::Update {
        revocations: vec![revocation],
        ..wire::Update::default()
    };
    let other = ViewStore::new(node_name(1), site.ca.domain.clone(), site.ca.bundles());
    other
        .keeping(KeptFile::new(site.directory.path()))
        .apply(update)
        .expect_err("there is no view; what it revokes is written down");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let life = site.begin();
    assert_eq!(all.len(), 3);
    assert!(life.restored().is_empty(), "one is revoked, two have ended");
    life.store
        .begin_with(life.restored.as_ref().map(|restored| restored.view.clone()));
    life.has(0).await;
}

#[tokio::test]
async fn a_life_that_may_not_have_it_destroys_it() {
    let mut site = Site::new();
    let gone = |site: &Site, life: &Life| {
        assert!(life.restored.is_none() && !site.path().exists() && site.keyring.names().is_empty());
    };
    // The operator has brought another bundle.
    site.leave().await;
    let life = site.begin_with("another bundle", Keep::Under(Box::new(site.keyring.clone())));
    gone(&site, &life);
    drop(life);
    // Nothing is to be kept any more.
    site.leave().await;
    let life = site.begin_with(BUNDLE, Keep::Nothing(Box::new(site.keyring.clone())));
    gone(&site, &life);
    assert_eq!(life.state(), State::Off);
    drop(life);
    // The machine was restarted.
    site.leave().await;
    site.keyring.reboot();
    gone(&site, &site.begin());
    // The node is nobody any more.
    site.leave().await;
    fs::remove_file(site.directory.path().join("node-svid.pem")).expect("removed");
    gone(&site, &site.begin());
    // The node has become another one.
    let other = site.ca.issue(&SpiffeId::node(&site.ca.domain, &node_name(2)));
    site.leave().await;
    StateFile::new(site.directory.path())
        .expect("there")
        .save(&other)
        .expect("saved");
    gone(&site, &site.begin());
}

fn ban() -> wire::Revocation {
    wire::Revocation {
        id: "node:n1".to_owned(),
        subject: Some(wire::revocation::Subject::Node("n1".to_owned())),
        not_before: i64::MAX,
        until: i64::MAX,
        closed: true,
        banned: true,
        version: 1,
        node_id: 1,
        ..wire::Revocation::default()
    }
}

#[tokio::test]
async fn a_node_that_is_banned_or_has_lost_its_svid_keeps_nothing() {
    let mut site = Site::new();
    let life = site.begin();
    site.push(&life);
    life.has(2).await;
    let update = wire::Update {
        revision: site.cluster.revision + 1,
        revocations: vec![ban()],
        ..wire::Update::default()
    };
    life.store.apply(update).expect("applies");
    life.is_empty(&site).await;
    drop(life);
    fs::remove_file(site.directory.path().join("revocations")).expect("removed");

    let life = site.begin();
    site.push(&life);
    life.has(2).await;
    let access = life.access.send_replace(None);
    life.is_empty(&site).await;
    life.access.send_replace(access);
    life.has(2).await;
}

#[tokio::test]
async fn numbers_that_mean_others_leave_nothing_of_before_and_nothing_is_written_until_the_proofs_are_gone() {
    let mut site = Site::new();
    let life = site.begin();
    site.push(&life);
    life.has(2).await;
    site.cluster.revision += 1;
    let update = wire::Update {
        reset: true,
        ..site.cluster.snapshot(&site.ca, 1)
    };
    life.store.apply(update).expect("applies");
    // In the same instant, before anybody heard of the new numbers.
    assert!(site.keyring.names().is_empty() && !site.path().exists());
    site.issue(&life, SystemTime::now() + Duration::from_mins(10));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!site.path().exists(), "proofs of the old numbers are left");
    life.cleared.send_replace(1);
    life.has(2).await;
}

#[tokio::test]
async fn where_nothing_can_be_written_what_was_dropped_is_destroyed_and_the_rest_stays() {
    let mut site = Site::new();
    let life = site.begin();
    site.push(&life);
    life.has(2).await;
    site.keyring.broken.store(true, SeqCst);
    // Only more than before: what is there is still right.
    site.cluster.workloads.push((1, 303));
    site.push(&life);
    eventually("it was tried", || life.status.last_error().contains("keyring")).await;
    assert!(site.path().exists() && site.keyring.names().len() == 1);
    // Less than before.
    site.cluster.workloads.remove(0);
    site.push(&life);
    life.is_empty(&site).await;
}

#[tokio::test]
async fn a_crowd_of_changes_is_a_few_writes_and_the_last_one_is_written_at_the_end() {
    let mut site = Site::new();
    let life = site.begin();
    let before = site.keyring.puts.load(SeqCst);
    for number in 400..500 {
        site.cluster.workloads.push((1, number));
        site.push(&life);
    }
    life.has(102).await;
    let writes = site.keyring.puts.load(SeqCst) - before;
    assert!(writes < 30, "{writes} writes of 100 changes");
    // No pause is waited for.
    site.cluster.workloads.truncate(1);
    site.push(&life);
    life.stop.cancel();
    life.has(1).await;
}

/// The number's workload is the endpoint of that name.
fn endpoint(number: u32) -> EndpointName {
    EndpointName::new("shop", &format!("w{number}")).expect("valid")
}

#[tokio::test]
async fn an_identity_whose_endpoint_goes_loses_its_key_here_and_in_the_file() {
    let mut site = Site::new();
    let life = site.begin();
    let restored = [301, 302].map(|number| {
        let id = workload(number);
        let svid = WorkloadSvid::new(site.ca.issue(&id), &id, &site.ca.bundles()).expect("an SVID");
        RestoredSvid {
            registration: format!("registration-{number}"),
            svid,
            outdated: false,
        }
    });
    let (endpoints, lists) = (watch::Sender::new(None), watch::Sender::new(None));
    let nobody = watch::Sender::new(None);
    let tokens = JwtSvids::new(life.store.subscribe(), nobody.subscribe(), life.status.clone());
    let manager = Manager {
        view: life.store.subscribe(),
        access: nobody.subscribe(),
        endpoints: endpoints.subscribe(),
        revocation_list: lists.subscribe(),
        publish: life.svids.clone(),
        workloads: Arc::new(WorkloadSource::new(tokens)),
        restored: restored.into(),
        status: life.status.clone(),
    };
    tokio::spawn(manager.run());
    site.cluster.workloads.push((1, 303));
    let mut update = site.cluster.snapshot(&site.ca, 1);
    for registration in &mut update.registrations {
        registration.selectors = vec![format!("endpoint:{}", endpoint(registration.identity))];
    }
    life.store.apply(update).expect("applies");
    // Nobody has said yet who lives here: what there is stays, and nothing is asked for.
    life.has(2).await;
    let entry = |number| {
        let set = life.svids.borrow().clone();
        let of = |entry: &&Entry| entry.registration.identity.0 == number;
        set.entries().iter().find(of).cloned().expect("registered")
    };
    assert!(!entry(301).away && entry(303).away);
    endpoints.send_replace(Some(Arc::new(Endpoints::with_names([301, 302].map(endpoint)))));
    let held = Arc::downgrade(&entry(302).svid.expect("has one"));
    endpoints.send_replace(Some(Arc::new(Endpoints::with_names([301, 303].map(endpoint)))));
    eventually("the key is wiped", || held.upgrade().is_none()).await;
    eventually("it is away", || entry(302).away && !entry(303).away).await;
    assert!(entry(301).svid.is_some());
    life.has(1).await;
    // Its endpoint is back, its key is not.
    endpoints.send_replace(Some(Arc::new(Endpoints::with_names([301, 302].map(endpoint)))));
    eventually("it is here", || !entry(302).away).await;
    assert!(entry(302).svid.is_none());
}
