//! The life of a trust domain's signing keys: prepared, active, old, tainted, and at its end retired or revoked. Pure.
//!
//! An authority is published before it signs: one that signs what nobody can check ends workloads. So there is a moment from
//! which it may ([`Publication`]), and of each kind exactly one is active. [`plan`] says what is due without an operator.

mod authority;
mod kind;
mod plan;
mod publication;
mod state;
mod steps;

pub use authority::Authority;
pub use kind::{AuthorityId, AuthorityIdError, AuthorityKind, KindError};
pub use plan::{Due, Plan, Policy, plan, successor_at};
pub use publication::{Enough, Missing, Publication, Unpublished};
pub use state::{State, StateError};
pub use steps::{MAX_PUBLISHED, StepError, activate, prepare, retire, revoke, taint};

use std::time::Duration;

/// How often others are asked to look for a newer bundle (Trust Domain and Bundle §4.1.2). Our own agents are told at once.
pub const REFRESH_HINT: Duration = Duration::from_mins(5);

/// How long an authority is published before it signs, where nothing else is said: five times the refresh hint, the longest
/// that Federation §4.1 recommends.
pub const PUBLISH_INTERVAL: Duration = Duration::from_mins(25);
