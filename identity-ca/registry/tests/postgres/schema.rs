use std::collections::BTreeSet;

use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::backend::database;
use signet_registry::Registry;

/// Tables and columns.
type Columns = BTreeSet<(String, String)>;

fn ours(columns: Vec<(String, String)>) -> Columns {
    let foreign = ["_sqlx_migrations", "sqlite_sequence"];
    columns
        .into_iter()
        .filter(|(table, _)| !foreign.contains(&table.as_str()))
        .collect()
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let url = database();
    Registry::connect(&url).await.unwrap().close().await;
    let mut postgres = PgConnection::connect(&url).await.unwrap();
    let there = sqlx::query_as(
        "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'public'",
    )
    .fetch_all(&mut postgres)
    .await
    .unwrap();

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    std::fs::write(&path, "").unwrap();
    Registry::open(&path).await.unwrap().close().await;
    let mut sqlite = SqliteConnection::connect(&path.display().to_string())
        .await
        .unwrap();
    let here = sqlx::query_as(
        "SELECT m.name, c.name FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table'",
    )
    .fetch_all(&mut sqlite)
    .await
    .unwrap();
    let (here, there) = (ours(here), ours(there));
    assert!(here.len() > 20, "{here:?}");
    assert_eq!(here, there);
}
