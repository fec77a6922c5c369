//! Federation between real CAs, and with endpoints that are none.

mod discovery;
mod endpoint;
mod fake;
mod hostile;
mod peer;
mod relationships;
