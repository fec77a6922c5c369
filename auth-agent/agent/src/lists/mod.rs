//! The CA's revocation list, for programs of this node that check certificates by themselves: Envoys.
//!
//! Whoever has a list refuses everybody once it has expired. So there is one only while anything is revoked, it is renewed early,
//! and it is withdrawn before it ends.

mod check;
mod keeper;

pub use keeper::ListKeeper;
