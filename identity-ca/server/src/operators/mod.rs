//! Who may operate the CA: by Unix credentials on its socket, and by SPIFFE ID over mutual TLS.

mod access;
mod listen;
mod principal;

pub use access::{Access, Operations, Principals};

pub(crate) use access::needs;
pub(crate) use listen::{serve_remote, serve_socket};
pub(crate) use principal::{Operator, asker, role};
