//! One SQLite file, and two CAs with data directories of their own.

use signet_ca::{Database, Storage};

use crate::replicas::with_keys_of;
use crate::running::Running;

#[tokio::test]
async fn a_sqlite_file_is_of_one_ca_whatever_data_directories_there_are() {
    let home = tempfile::tempdir().unwrap();
    let database = Database::Sqlite(home.path().join("ca.db"));
    let first = Running::on_database(tempfile::tempdir().unwrap(), database.clone()).await;
    let directory = with_keys_of(first.directory.path());
    let storage = Storage::Database {
        directory: directory.path().join("data"),
        database: database.clone(),
    };
    let second = Running::configured(storage, directory, |_| {}).await;
    let refused = format!("{:#}", second.map(drop).unwrap_err());
    assert!(refused.contains("another signet-ca is running"), "{refused}");
    let directory = first.stop().await;
    Running::on_database(directory, database).await.stop().await;
}
