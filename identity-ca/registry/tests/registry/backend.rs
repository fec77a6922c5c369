//! SQLite.

use signet_registry::Registry;

/// A new registry.
pub(crate) async fn registry() -> Registry {
    Registry::in_memory().await.unwrap()
}
