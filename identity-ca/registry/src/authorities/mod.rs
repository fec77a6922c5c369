//! The trust domain's signing authorities, and which nodes have the bundle that they are in.

mod acknowledged;
mod bundle;
mod ripe;
mod row;
mod steps;

pub use bundle::PublishedBundle;
pub use row::{Authorities, NewAuthority, StoredAuthority};
pub use steps::{Adopted, AuthorityError, RequestedError};

pub(crate) use bundle::publish;
pub(crate) use row::{
    are_any, chain_from_bytes, is_known, key_records, set_key_record, signing, token_key_ids,
};
pub(crate) use steps::withdraw;
