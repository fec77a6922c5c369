//! PostgreSQL: one server for this binary, a database for each registry.

use signet_registry::Registry;
use signet_test_postgres::{Error, Server, shared};

fn server() -> &'static Server {
    match shared() {
        Ok(server) => server,
        Err(missing @ Error::Missing) => {
            signet_skip::skip("postgres (every test of this binary)", &missing.to_string());
            std::process::exit(0);
        }
        Err(broken @ Error::Broken(_)) => panic!("{broken}"),
    }
}

/// A new, empty database.
pub(crate) fn database() -> String {
    server().database().unwrap()
}

/// A new registry.
pub(crate) async fn registry() -> Registry {
    Registry::connect(&database()).await.unwrap()
}
