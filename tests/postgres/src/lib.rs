//! A PostgreSQL of a test's own: Debian's binaries, in a temporary directory, as a user without privileges, reached through
//! a Unix socket there. It ends with the process that started it, however that ends.

mod server;

pub use server::{Error, Server};

use std::sync::OnceLock;

static SHARED: OnceLock<Result<Server, Error>> = OnceLock::new();

/// The server of this process, started at the first call.
///
/// # Errors
/// What [`Server::start`] said then.
pub fn shared() -> Result<&'static Server, &'static Error> {
    SHARED.get_or_init(Server::start).as_ref()
}
