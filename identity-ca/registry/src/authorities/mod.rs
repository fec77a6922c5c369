//! The trust domain's signing authorities, and which nodes have the bundle that they are in.

mod acknowledged;
mod bundle;
mod row;
mod steps;

pub use bundle::PublishedBundle;
pub use row::{Authorities, NewAuthority, StoredAuthority};
pub use steps::{Adopted, AuthorityError};

pub(crate) use row::{active, is_known, key_records, set_key_record};
pub(crate) use steps::withdraw;
