//! The issuance log, as operators see it, and what happens when it lies or cannot be written.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use signet_log::{
    Audit, Audited, Caller, Checkpoint, Entry, Fault, Hash, Record, VerifierKey, verify_consistency,
    verify_inclusion,
};
use signet_proto::ca::v1::prove_log_entry_request::Entry as Wanted;
use signet_proto::ca::v1::{
    IssueJwtSvidRequest, IssueX509SvidRequest, LogEntry, ProveLogEntryRequest, ProveLogGrowthRequest,
    ReadLogRequest, RenewNodeSvidRequest, SignLogCheckpointRequest, Svid,
};
use signet_spiffe::{UnixTime, verify_x509_svid};
use sqlx::{ConnectOptions, SqliteConnection};
use tonic::{Code, Status};

use crate::running::{Running, TestNode, chain, request};

const WEB: &str = "spiffe://td/ns/shop/sa/web";

pub(crate) async fn checkpoint(ca: &Running) -> Result<(Checkpoint, VerifierKey), Status> {
    let signed = ca
        .operator
        .clone()
        .sign_log_checkpoint(SignLogCheckpointRequest {})
        .await?;
    let signed = signed.into_inner();
    let key = VerifierKey::parse(&signed.verifier_key).unwrap();
    Ok((key.open(&signed.note).unwrap(), key))
}

pub(crate) async fn entries(ca: &Running, start: u64, limit: u64) -> Vec<LogEntry> {
    let call = ca
        .operator
        .clone()
        .read_log(ReadLogRequest { start, limit })
        .await;
    let mut stream = call.unwrap().into_inner();
    let mut entries = Vec::new();
    while let Some(page) = stream.message().await.unwrap() {
        entries.extend(page.entries);
    }
    entries
}

/// What the log says, in order.
pub(crate) async fn records(ca: &Running) -> Vec<Record> {
    let entries = entries(ca, 0, 0).await;
    let decode = |entry: LogEntry| Entry::decode(&entry.leaf).unwrap().record;
    entries.into_iter().map(decode).collect()
}

fn hashes(list: &[Vec<u8>]) -> Vec<Hash> {
    list.iter().map(|hash| Hash::from_slice(hash).unwrap()).collect()
}

/// Reads and checks the whole log.
async fn audit(ca: &Running, heads: Vec<Checkpoint>, wanted: &[Svid]) -> Result<Audited, Fault> {
    let wanted = wanted.iter().map(|svid| Hash::sha256(&svid.chain[0]));
    let mut audit = Audit::new(heads, wanted)?;
    for entry in entries(ca, 0, 0).await {
        audit.entry(entry.position, &entry.leaf, &hashes(&entry.hashes))?;
    }
    audit.finish()
}

async fn issue(node: &TestNode, registration: &str) -> Result<Svid, Status> {
    let call = IssueX509SvidRequest {
        registration: registration.to_owned(),
        csr: request().1,
    };
    Ok(node.client.clone().issue_x509_svid(call).await?.into_inner())
}

#[tokio::test]
async fn all_that_is_issued_stands_in_the_log_with_who_asked_for_it() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let registration = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    let web = issue(&node, &registration.id).await.unwrap();
    let renew = RenewNodeSvidRequest { csr: request().1 };
    let renewed = node
        .client
        .clone()
        .renew_node_svid(renew)
        .await
        .unwrap()
        .into_inner();
    let attested = node.answer.svid.clone().unwrap();
    let (head, _) = checkpoint(&ca).await.unwrap();
    let audited = audit(&ca, vec![head], &[web.clone(), renewed, attested])
        .await
        .unwrap();
    assert_eq!(audited.found.len(), 3);

    let mut issued = Vec::new();
    for entry in entries(&ca, 0, 0).await {
        let entry = Entry::decode(&entry.leaf).unwrap();
        assert!(
            UnixTime::now().as_secs() - entry.at < 600,
            "an entry without its time"
        );
        if let Record::Issuance(issuance) = entry.record {
            issued.push((
                issuance.spiffe_id.to_string(),
                entry.caller,
                issuance.node.is_some(),
            ));
        }
    }
    let by_node = Caller::Node(signet_spiffe::NodeName::parse("n1").unwrap());
    let node_id = "spiffe://td/signet/node/n1".to_owned();
    assert_eq!(issued[0], ("spiffe://td/signet/ca".to_owned(), Caller::Ca, false));
    assert!(matches!(&issued[1], (id, Caller::JoinToken(_), true) if *id == node_id));
    assert_eq!(issued[2], (WEB.to_owned(), by_node.clone(), true));
    assert_eq!(issued[3], (node_id, by_node, true));
    assert_eq!(issued.len(), 4);
    // The operator who registered is named too.
    let uid = rustix::process::getuid().as_raw();
    let registered = entries(&ca, 0, 0)
        .await
        .iter()
        .map(|entry| Entry::decode(&entry.leaf).unwrap())
        .any(|entry| entry.caller == Caller::Operator { uid } && matches!(entry.record, Record::Change(_)));
    assert!(registered);
    assert!(
        verify_x509_svid(&chain(&web), &ca.bundles(), UnixTime::now()).is_ok(),
        "what is logged is no good certificate"
    );
}

#[tokio::test]
async fn proofs_hold_under_the_signed_head() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let registration = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    let (old, key) = checkpoint(&ca).await.unwrap();
    for _ in 0..5 {
        issue(&node, &registration.id).await.unwrap();
    }
    let svid = issue(&node, &registration.id).await.unwrap();
    let verified = verify_x509_svid(&chain(&svid), &ca.bundles(), UnixTime::now()).unwrap();
    let prove = ProveLogEntryRequest {
        entry: Some(Wanted::Serial(verified.serial().to_vec())),
        size: 0,
    };
    let proven = ca
        .operator
        .clone()
        .prove_log_entry(prove)
        .await
        .unwrap()
        .into_inner();
    let head = key.open(&proven.note).unwrap();
    let entry = proven.entry.unwrap();
    let Record::Issuance(issuance) = Entry::decode(&entry.leaf).unwrap().record else {
        panic!("the proof is of another entry");
    };
    assert_eq!(issuance.sha256, Hash::sha256(&svid.chain[0]));
    let (leaf, proof) = (Hash::leaf(&entry.leaf), hashes(&proven.proof));
    assert_eq!(
        verify_inclusion(leaf, entry.position, head.size(), &proof, &head.root()),
        Ok(())
    );
    let grow = ProveLogGrowthRequest {
        old_size: old.size(),
        new_size: head.size(),
    };
    let grown = ca
        .operator
        .clone()
        .prove_log_growth(grow)
        .await
        .unwrap()
        .into_inner();
    let (from, to) = ((old.size(), &old.root()), (head.size(), &head.root()));
    assert_eq!(verify_consistency(from, to, &hashes(&grown.proof)), Ok(()));

    let refused = |request| {
        let mut operator = ca.operator.clone();
        async move { operator.prove_log_entry(request).await.unwrap_err().code() }
    };
    let unknown = Some(Wanted::Serial(vec![1; 16]));
    let beyond = Some(Wanted::Position(head.size()));
    assert_eq!(
        refused(ProveLogEntryRequest {
            entry: unknown,
            size: 0
        })
        .await,
        Code::NotFound
    );
    for (entry, size) in [
        (beyond, 0),
        (Some(Wanted::Position(0)), head.size() + 1),
        (None, 0),
    ] {
        assert_eq!(
            refused(ProveLogEntryRequest { entry, size }).await,
            Code::InvalidArgument
        );
    }
    let shrinks = ProveLogGrowthRequest {
        old_size: 2,
        new_size: 1,
    };
    let refused = ca.operator.clone().prove_log_growth(shrinks).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_token_stands_in_the_log_as_a_certificate_does() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let registration = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    let call = IssueJwtSvidRequest {
        registration: registration.id,
        audience: vec!["db".to_owned()],
    };
    let token = node
        .client
        .clone()
        .issue_jwt_svid(call)
        .await
        .unwrap()
        .into_inner()
        .token;
    let mut audit = Audit::new([], [Hash::sha256(token.as_bytes())]).unwrap();
    for entry in entries(&ca, 0, 0).await {
        audit
            .entry(entry.position, &entry.leaf, &hashes(&entry.hashes))
            .unwrap();
    }
    assert_eq!(audit.finish().unwrap().found.len(), 1);
}

async fn tamper(directory: &Path, statement: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.join("data/registry.db"));
    let mut database: SqliteConnection = options.connect().await.unwrap();
    let done = sqlx::query(statement).execute(&mut database).await.unwrap();
    assert!(done.rows_affected() > 0, "nothing was changed");
}

#[tokio::test]
async fn a_log_that_was_changed_on_disk_is_found_out() {
    let flip = "UPDATE log_leaves SET leaf = CAST(substr(leaf, 1, 20) || x'ff' || substr(leaf, 22) AS BLOB) WHERE position = 3";
    let hash = "UPDATE log_leaves SET hashes = zeroblob(length(hashes)) WHERE position = 3";
    let remove = "DELETE FROM log_leaves WHERE position = 3";
    let cut = "DELETE FROM log_leaves WHERE position >= 3";
    let gap = Fault::Gap {
        expected: 3,
        found: 4,
    };
    let short = Fault::Short { size: 3, signed: 0 };
    for (statement, fault, starts) in [
        (flip, Fault::Leaf { position: 3 }, true),
        (hash, Fault::Leaf { position: 3 }, true),
        (remove, gap, true),
        (cut, short, false),
    ] {
        let ca = Running::on_disk(tempfile::tempdir().unwrap()).await;
        for number in 0..4 {
            ca.node(&format!("n{number}"), &[]).await;
        }
        let (head, _) = checkpoint(&ca).await.unwrap();
        assert_eq!(
            audit(&ca, vec![head.clone()], &[]).await.unwrap().size,
            head.size()
        );
        tamper(ca.directory.path(), statement).await;
        let found = audit(&ca, vec![head.clone()], &[]).await.unwrap_err();
        match (found, fault) {
            (Fault::Short { size, signed }, Fault::Short { size: wanted, .. }) => {
                assert_eq!((size, signed), (wanted, head.size()), "{statement}");
            }
            (found, fault) => assert_eq!(found, fault, "{statement}"),
        }
        // A log without its end contradicts what was signed: the CA itself notices, signs no other, and does not start.
        if !starts {
            let refused = checkpoint(&ca).await.unwrap_err();
            assert_eq!(refused.code(), Code::DataLoss, "{statement}: {refused}");
            assert!(
                ca.token("n9", &[]).await.is_err(),
                "{statement}: the log goes on without its end"
            );
        }
        let directory = ca.stop().await;
        let started = Running::try_start(directory).await;
        assert_eq!(started.is_ok(), starts, "{statement}");
    }
}

/// A file system of a few megabytes; unmounted on drop.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(path: &Path) -> Self {
        fs::create_dir(path).unwrap();
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), c"size=4m,mode=0700").unwrap();
        Self(path.to_owned())
    }

    /// Leaves no room at all.
    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let mut size = 4 << 20;
        let mut file = fs::File::create(&ballast).unwrap();
        while size > 0 {
            if std::io::Write::write(&mut file, &vec![0; size]).is_err() {
                size /= 2;
            }
        }
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn a_full_disk_stops_issuance_and_room_on_it_lets_it_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SmallDisk::new(&directory.path().join("data"));
    let ca = Running::on_disk(directory).await;
    let node = ca.node("n1", &[]).await;
    let registration = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    let mut handed_out = vec![issue(&node, &registration.id).await.unwrap()];
    let ballast = disk.fill();
    // The write-ahead log has some room left in what it has already; after that nothing is handed out.
    let refused = loop {
        match issue(&node, &registration.id).await {
            Ok(svid) => handed_out.push(svid),
            Err(status) => break status,
        }
    };
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("disk is full"), "{refused}");
    let size = audit(&ca, Vec::new(), &handed_out).await.unwrap().size;
    assert!(issue(&node, &registration.id).await.is_err());
    assert_eq!(audit(&ca, Vec::new(), &handed_out).await.unwrap().size, size);
    let refused = ca
        .register("spiffe://td/other", "n1", "unix:uid:1")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");

    fs::remove_file(ballast).unwrap();
    handed_out.push(issue(&node, &registration.id).await.unwrap());
    let (head, _) = checkpoint(&ca).await.unwrap();
    audit(&ca, vec![head], &handed_out).await.unwrap();
    ca.stop().await;
}
