//! What a revocation does to proofs, handshakes and sessions of agents over loopback.

#![expect(clippy::expect_used, reason = "helpers of tests fail the test")]

mod support;

use signet_abi::AuthValue;
use signet_agent::auth::{AuthStore as _, MemoryAuth};
use signet_agent::clock::unix_now;
use signet_agent::view::KeptFile;
use signet_maps::boottime_now;
use signet_proto::view::v1::Revocation;
use signet_proto::view::v1::Update;
use signet_proto::view::v1::revocation::Subject;
use support::{Setup, World, connect, eventually, key, node_name, workload};

fn revocation(subject: Subject) -> Revocation {
    let id = match &subject {
        Subject::Serial(serial) => format!("serial:{serial:02x?}"),
        Subject::SpiffeId(id) => format!("spiffe-id:{id}"),
        Subject::Node(name) => format!("node:{name}"),
        Subject::Authority(key) => format!("authority:{key:02x?}"),
    };
    Revocation {
        id,
        subject: Some(subject),
        not_before: unix_now(),
        at: unix_now(),
        until: unix_now() + 3600,
        reason: "the key leaked".to_owned(),
        version: 1,
        ..Revocation::default()
    }
}

impl World {
    /// Tells every node but those in `not`, as the CA would.
    fn tell(&mut self, revocation: &Revocation, not: &[u32]) {
        self.cluster.revision += 1;
        for node in self.nodes.iter().filter(|node| !not.contains(&node.number)) {
            let update = Update {
                revision: self.cluster.revision,
                revocations: vec![revocation.clone()],
                ..Update::default()
            };
            node.view.apply(update).expect("applies");
        }
    }

    async fn proven(&self, local: u32, remote: u32) {
        let report = self.node(1).prove(local, remote, 2).await;
        assert_eq!(report.pair.failure, None);
        eventually("proven at the other", || {
            self.node(2).auth.get(&key(remote, local, 1)).is_some()
        })
        .await;
    }

    /// Whether the kernels have the proof of a pair between nodes 1 and 2.
    fn kernels_have(&self, local: u32, remote: u32) -> [bool; 2] {
        [
            self.node(1).auth.get(&key(local, remote, 2)).is_some(),
            self.node(2).auth.get(&key(remote, local, 1)).is_some(),
        ]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_serial_takes_its_proofs_on_both_nodes_and_no_others() {
    let mut world = World::two(&[(1, 300), (1, 301), (2, 400)]).await;
    world.proven(300, 400).await;
    world.proven(301, 400).await;
    let serial = world.node(1).svid(300).verified.serial().to_vec();
    world.tell(&revocation(Subject::Serial(serial)), &[]);
    eventually("deleted", || world.kernels_have(300, 400) == [false, false]).await;
    assert_eq!(world.kernels_have(301, 400), [true, true]);
    assert_eq!(world.node(1).sessions.count(), 1, "the nodes' own SVIDs are good");
    let report = world.node(2).pairs.report().await;
    let report = report.iter().find(|report| report.key == key(400, 300, 1));
    let reason = report
        .and_then(|report| report.pair.failure.clone())
        .expect("has a reason");
    assert!(
        reason.contains("by its serial number") && reason.contains("the key leaked"),
        "{reason}"
    );
    // With the same SVID there is no new proof, whoever asks.
    let report = world.node(1).prove(300, 400, 2).await;
    assert!(report.pair.proof.is_none(), "{report:?}");
    let report = world.node(2).prove(400, 300, 1).await;
    assert!(report.pair.proof.is_none(), "{report:?}");
    // With a new one there is.
    world.push();
    // Not at once: the last attempts have failed.
    while world.node(1).prove(300, 400, 2).await.pair.proof.is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    eventually("proven on both", || world.kernels_have(300, 400) == [true, true]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_that_was_told_refuses_a_revoked_svid_of_one_that_was_not() {
    let mut world = World::two(&[(1, 300), (2, 400)]).await;
    let serial = world.node(1).svid(300).verified.serial().to_vec();
    world.tell(&revocation(Subject::Serial(serial)), &[1]);
    let report = world.node(1).prove(300, 400, 2).await;
    assert!(report.pair.proof.is_none());
    let reason = report.pair.failure.expect("refused");
    assert!(reason.contains("the other node refused"), "{reason}");
    assert_eq!(world.kernels_have(300, 400), [false, false]);
    let report = world.node(2).prove(400, 300, 1).await;
    let reason = report.pair.failure.expect("refused");
    assert!(reason.contains("is revoked by its serial number"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_id_is_not_even_tried_and_an_old_view_does_not_bring_it_back() {
    let mut world = World::two(&[(1, 300), (2, 400)]).await;
    world.proven(300, 400).await;
    let old = world.cluster.clone();
    let closed = Revocation {
        closed: true,
        ..revocation(Subject::SpiffeId(workload(300).to_string()))
    };
    world.tell(&closed, &[]);
    eventually("deleted", || world.kernels_have(300, 400) == [false, false]).await;
    for node in &world.nodes {
        node.view
            .apply(old.snapshot(&world.ca, node.number))
            .expect("applies");
    }
    for (node, local, remote, on) in [(1, 300, 400, 2), (2, 400, 300, 1)] {
        let report = world.node(node).prove(local, remote, on).await;
        assert!(report.pair.proof.is_none());
        let reason = report.pair.failure.expect("refused");
        assert!(
            reason.contains("gets no certificates") && reason.contains("the key leaked"),
            "{reason}"
        );
    }
    assert_eq!(world.kernels_have(300, 400), [false, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_node_loses_its_sessions_and_proofs_and_gets_no_new_session() {
    let mut world = World::new(
        vec![Setup::default(), Setup::default(), Setup::default()],
        &[(1, 300), (2, 400), (3, 500)],
    )
    .await;
    world.proven(300, 400).await;
    assert_eq!(world.node(2).prove(400, 500, 3).await.pair.failure, None);
    let banned = Revocation {
        banned: true,
        node_id: 1,
        ..revocation(Subject::Node(node_name(1).to_string()))
    };
    // The node itself is not told, and would not listen.
    world.tell(&banned, &[1]);
    eventually("deleted", || world.node(2).auth.get(&key(400, 300, 1)).is_none()).await;
    eventually("ended", || world.node(2).sessions.count() == 1).await;
    let sessions = world.node(2).sessions.report();
    let session = sessions
        .iter()
        .find(|session| session.node_id == 1)
        .expect("is known");
    assert!(session.last_error.contains("banned"), "{session:?}");
    assert!(
        world.node(2).auth.get(&key(400, 500, 3)).is_some(),
        "others go on"
    );
    let report = world.node(1).prove(300, 500, 3).await;
    assert!(report.pair.proof.is_none());
    let own = world
        .ca
        .issue(&signet_spiffe::SpiffeId::node(&world.ca.domain, &node_name(1)));
    if let Ok(mut stream) = connect(&world.ca, world.node(2).address, &own).await {
        // The client's side of TLS 1.3 may be done before the server has refused.
        let mut byte = [0; 1];
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut byte).await;
        assert!(
            matches!(read, Ok(0) | Err(_)),
            "node 2 says hello to a banned node"
        );
    }
    assert_eq!(world.node(2).sessions.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_authority_takes_everything_below_it() {
    let mut world = World::two(&[(1, 300), (2, 400)]).await;
    world.proven(300, 400).await;
    let bundles = world.ca.bundles();
    let bundle = bundles.get(&world.ca.domain).expect("its own");
    let root = bundle.key_ids().next().expect("has an identifier").clone();
    world.tell(&revocation(Subject::Authority(vec![7; 20])), &[]);
    world.proven(300, 400).await;
    assert_eq!(world.node(1).sessions.count(), 1, "another's key");
    world.tell(&revocation(Subject::Authority(root.as_bytes().to_vec())), &[]);
    eventually("deleted", || world.kernels_have(300, 400) == [false, false]).await;
    eventually("ended", || {
        world.nodes.iter().all(|node| node.sessions.count() == 0)
    })
    .await;
    let report = world.node(1).prove(300, 400, 2).await;
    assert!(report.pair.proof.is_none(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_stops_everything() {
    let mut world = World::two(&[(1, 300), (2, 400)]).await;
    world.proven(300, 400).await;
    let newer = Revocation {
        subject: None,
        ..revocation(Subject::Node("x".to_owned()))
    };
    world.tell(&newer, &[2]);
    eventually("deleted", || !world.kernels_have(300, 400)[0]).await;
    eventually("ended", || world.node(1).sessions.count() == 0).await;
    let report = world.node(1).prove(300, 400, 2).await;
    assert!(report.pair.proof.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_counts_although_the_rest_of_its_update_is_refused() {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    world.proven(300, 400).await;
    let serial = world.node(1).svid(300).verified.serial().to_vec();
    let update = Update {
        revision: world.cluster.revision + 1,
        removed_identities: vec!["no SPIFFE ID".to_owned()],
        revocations: vec![revocation(Subject::Serial(serial))],
        ..Update::default()
    };
    world.node(2).view.apply(update).expect_err("refused");
    eventually("deleted", || !world.kernels_have(300, 400)[1]).await;
}

/// A proof that an earlier run has left in the kernel.
fn left_behind(auth: &MemoryAuth, local: u32, remote: u32, node: u32) {
    let value = AuthValue {
        not_after: boottime_now() + 3_600_000_000_000,
        epoch: 7,
        made: 0,
        used: 0,
    };
    auth.clone()
        .insert(&key(local, remote, node), &value)
        .expect("room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_killed_in_the_middle_of_a_revocation_leaves_no_proof_to_the_next_even_without_a_ca() {
    let directory = tempfile::tempdir().expect("a directory");
    let setup = || Setup {
        kept: Some(directory.path().to_owned()),
        ..Setup::default()
    };
    let closed = revocation(Subject::SpiffeId(workload(300).to_string()));
    {
        let mut world = World::new(vec![setup()], &[(1, 300)]).await;
        world.tell(&closed, &[]);
        let file = KeptFile::new(directory.path());
        eventually("settled", || !file.load(&world.ca.domain).unfinished).await;
        // As if the process had ended before it came to that.
        let table = world.node(1).view.revocations();
        file.save(&table, false).expect("saves");
    }
    let next = setup();
    left_behind(&next.auth, 300, 400, 2);
    let auth = next.auth.clone();
    let world = World::deaf(vec![next]).await;
    eventually("flushed", || auth.get(&key(300, 400, 2)).is_none()).await;
    assert!(world.node(1).view.current().is_none(), "the CA has said nothing");
    let table = world.node(1).view.revocations();
    assert!(table.set().of_id(&workload(300)).is_some(), "it is still known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_had_done_its_work_leaves_its_proofs_to_the_next_but_for_what_was_revoked_meanwhile() {
    let directory = tempfile::tempdir().expect("a directory");
    let setup = || Setup {
        kept: Some(directory.path().to_owned()),
        ..Setup::default()
    };
    let file = KeptFile::new(directory.path());
    {
        let mut world = World::new(vec![setup(), Setup::default()], &[(1, 300), (1, 301), (2, 400)]).await;
        world.tell(&revocation(Subject::Serial(vec![1, 2, 3])), &[]);
        eventually("settled", || !file.load(&world.ca.domain).unfinished).await;
    }
    let next = setup();
    let auth = next.auth.clone();
    left_behind(&auth, 300, 400, 2);
    left_behind(&auth, 301, 400, 2);
    let mut world = World::new(vec![next, Setup::default()], &[(1, 300), (1, 301), (2, 400)]).await;
    let taken = async || {
        let reports = world.node(1).pairs.report().await;
        reports
            .iter()
            .filter(|report| report.pair.proof.is_some())
            .count()
    };
    while taken().await < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // Nobody remembers what they were made with: what concerns one of them ends it.
    let mut concerned = revocation(Subject::Serial(vec![9]));
    concerned.owner = workload(300).to_string();
    world.tell(&concerned, &[]);
    eventually("deleted", || auth.get(&key(300, 400, 2)).is_none()).await;
    assert!(auth.get(&key(301, 400, 2)).is_some());
}
