//! The scenes, one per thing that is to be seen.

pub(super) mod identity;
pub(super) mod revoke;
pub(super) mod verdict;
pub(super) mod wire;
