//! A CA that is killed while it issues: the real daemon, and SIGKILL.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use signet_log::{Audit, Hash, VerifierKey};
use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use signet_proto::ca::v1::{IssueX509SvidRequest, ReadLogRequest, SignLogCheckpointRequest};
use tonic::transport::Channel;

use crate::daemon::{Daemon, prepare};
use crate::running::{dial, request};

const CALLERS: usize = 8;

/// SVIDs that are handed out before each kill.
const ENOUGH: usize = 150;

/// Asks for SVIDs until the CA is gone, and notes each that it got.
async fn ask(mut ca: NodeServiceClient<Channel>, registration: String, got: Arc<Mutex<BTreeSet<Hash>>>) {
    let call = IssueX509SvidRequest {
        registration,
        csr: request().1,
    };
    while let Ok(svid) = ca.issue_x509_svid(call.clone()).await {
        got.lock()
            .unwrap()
            .insert(Hash::sha256(&svid.into_inner().chain[0]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_svid_that_was_handed_out_is_missing_from_the_log_of_a_killed_ca() {
    let directory = tempfile::tempdir().unwrap();
    let mut ca = Daemon::start(directory.path());
    let (identity, registration) = prepare(&ca).await;
    let got = Arc::new(Mutex::new(BTreeSet::new()));
    let mut heads = Vec::new();
    for round in 1..=3 {
        let mut callers = Vec::new();
        for _ in 0..CALLERS {
            let client = dial(ca.address, Some(&identity), ca.bundles().await)
                .await
                .unwrap();
            callers.push(tokio::spawn(ask(client, registration.clone(), Arc::clone(&got))));
        }
        while got.lock().unwrap().len() < round * ENOUGH {
            tokio::task::yield_now().await;
        }
        ca.kill();
        for caller in callers {
            caller.await.unwrap();
        }
        ca = Daemon::start(directory.path());
        let mut operator = ca.operator.clone();
        let signed = operator
            .sign_log_checkpoint(SignLogCheckpointRequest {})
            .await
            .unwrap()
            .into_inner();
        let key = VerifierKey::parse(&signed.verifier_key).unwrap();
        heads.push(key.open(&signed.note).unwrap());
    }
    let wanted = got.lock().unwrap().clone();
    let count = wanted.len();
    let mut audit = Audit::new(heads, wanted).unwrap();
    let mut stream = ca
        .operator
        .clone()
        .read_log(ReadLogRequest::default())
        .await
        .unwrap()
        .into_inner();
    while let Some(page) = stream.message().await.unwrap() {
        for entry in page.entries {
            let stored = entry.hashes.iter().map(|hash| Hash::from_slice(hash).unwrap());
            let stored: Vec<_> = stored.collect();
            audit.entry(entry.position, &entry.leaf, &stored).unwrap();
        }
    }
    let audited = audit.finish().unwrap();
    assert_eq!(audited.found.len(), count);
    assert!(count >= 3 * ENOUGH);
}
