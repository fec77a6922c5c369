//! Steps of the authorities' life by a CA whose clock or flags are not the others'.

use std::time::Duration;

use signet_ca::Storage;
use tempfile::TempDir;
use tonic::Code;

use crate::faults::{seconds_off, two};
use crate::replicas::{database, with_keys_of};
use crate::rotation::X509;
use crate::running::Running;

const WEEK: u64 = 8 * 24 * 3_600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_clock_is_off_takes_no_step_that_is_a_matter_of_time() {
    let clock = seconds_off(|now| now + WEEK);
    let Some((right, wrong)) = two("a_replica_whose_clock_is_off_takes_no_step", clock).await else {
        return;
    };
    let old = right.authorities_of(X509).await[0].id.clone();
    let refused = wrong.prepare(X509).await.unwrap_err();
    assert!(refused.message().contains("clock"), "{refused}");
    right.prepare(X509).await.unwrap();
    let refused = wrong.activate(X509, false).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("ahead of"), "{refused}");
    assert_eq!(right.states(X509).await, ["active", "prepared"]);
    // What the old one signed lives.
    right.activate(X509, true).await.unwrap();
    let refused = wrong.retire(&old).await.unwrap_err();
    assert!(refused.message().contains("clock"), "{refused}");
    assert_eq!(right.states(X509).await, ["old", "active"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_told_to_publish_for_less_does_not_activate_what_another_one_prepared() {
    let Some(database) = database("a_replica_that_is_told_to_publish_for_less") else {
        return;
    };
    let storage = |directory: &TempDir| Storage::Database {
        directory: directory.path().join("data"),
        database: database.clone(),
    };
    let patient = Running::on_database(tempfile::tempdir().unwrap(), database.clone()).await;
    let directory = with_keys_of(patient.directory.path());
    let hasty = Running::configured(storage(&directory), directory, |config| {
        config.rotation.publish_interval = Duration::ZERO;
    });
    let hasty = hasty.await.unwrap();
    patient.prepare(X509).await.unwrap();
    let refused = hasty.activate(X509, false).await.unwrap_err();
    assert!(refused.message().contains("has to be published"), "{refused}");
    assert_eq!(patient.states(X509).await, ["active", "prepared"]);
}
