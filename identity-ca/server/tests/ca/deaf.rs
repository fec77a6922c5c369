//! A CA that is not told of other CAs' changes any more, and does not know it yet.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signet_ca::{Database, Operations, Storage};
use signet_proto::ca::v1::RevokeRequest;
use signet_proto::ca::v1::revoke_request::Subject;
use signet_spiffe::{SerialNumber, UnixTime, verify_x509_svid};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tonic::Code;

use crate::remote_operators::{ALICE, connect, look, svid};
use crate::replicas::{database, with_keys_of};
use crate::running::Running;

/// A way to the database over which, from some moment on, no connection that listens hears anything.
struct Muffled {
    directory: TempDir,
    deaf: Arc<AtomicBool>,
}

impl Muffled {
    fn new(url: &str) -> (Self, Database) {
        let (before, host) = url.split_once("host=").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let deaf = Arc::new(AtomicBool::new(false));
        let behind = Path::new(host).join(".s.PGSQL.5432");
        tokio::spawn(accept(listener, behind, Arc::clone(&deaf)));
        let url = format!("{before}host={}", directory.path().display());
        (Self { directory, deaf }, Database::Postgres(url))
    }
}

async fn accept(listener: UnixListener, behind: PathBuf, deaf: Arc<AtomicBool>) {
    while let Ok((near, _)) = listener.accept().await {
        let far = UnixStream::connect(&behind).await.unwrap();
        let (mut near_in, mut near_out) = near.into_split();
        let (mut far_in, mut far_out) = far.into_split();
        let listens = Arc::new(AtomicBool::new(false));
        let (listening, deaf) = (Arc::clone(&listens), Arc::clone(&deaf));
        tokio::spawn(async move {
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = near_in.read(&mut bytes).await {
                let said = &bytes[..count];
                if said.windows(6).any(|word| word == b"LISTEN") {
                    listening.store(true, Ordering::SeqCst);
                }
                if far_out.write_all(said).await.is_err() {
                    break;
                }
            }
        });
        tokio::spawn(async move {
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = far_in.read(&mut bytes).await {
                let is_lost = listens.load(Ordering::SeqCst) && deaf.load(Ordering::SeqCst);
                if !is_lost && near_out.write_all(&bytes[..count]).await.is_err() {
                    break;
                }
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_s_svid_that_was_revoked_elsewhere_passes_no_call_though_nobody_told_this_ca() {
    let Some(database) = database("an_operator_s_svid_that_was_revoked_elsewhere_passes_no_call") else {
        return;
    };
    let Database::Postgres(url) = &database else {
        panic!("not PostgreSQL");
    };
    let right = Running::on_database(tempfile::tempdir().unwrap(), database.clone()).await;
    let (muffled, way) = Muffled::new(url);
    let directory = with_keys_of(right.directory.path());
    let storage = Storage::Database {
        directory: directory.path().join("data"),
        database: way,
    };
    let deaf = Running::configured(storage, directory, |config| {
        config.operations = Operations {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            ..Operations::default()
        };
    });
    let deaf = deaf.await.unwrap();
    let node = right.node("n1", &[]).await;
    let (alice, _) = svid(&right, &node, ALICE, "admin").await;
    let verified = verify_x509_svid(&alice.chain, &right.bundles(), UnixTime::now()).unwrap();
    let serial = SerialNumber::new(verified.serial()).unwrap();
    let mut operator = connect(&deaf, Some(&alice)).await.unwrap();
    look(&mut operator).await.unwrap();

    muffled.deaf.store(true, Ordering::SeqCst);
    let revoke = RevokeRequest {
        subject: Some(Subject::Serial(serial.to_string())),
        reason: "stolen".to_owned(),
        ..RevokeRequest::default()
    };
    right.operator.clone().revoke(revoke).await.unwrap();
    let refused = look(&mut operator).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    drop(muffled.directory);
}
