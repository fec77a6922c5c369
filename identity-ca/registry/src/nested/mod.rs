//! CAs in a line: what those below this one were given, and what the one above publishes.

mod above;
mod below;
mod below_keys;
mod instances;

pub use above::{Above, FromAbove};
pub use below::{BelowError, Intermediate, MAX_INTERMEDIATES};
pub use below_keys::{MAX_DOWNSTREAM_KEYS, TokenKeys};
pub use instances::{INSTANCE_KEPT, INSTANCE_LEFT};

pub(crate) use above::find as above;
pub(crate) use below::{lives_until, revoke_meant, which_downstream, withdraw};
pub(crate) use below_keys::{KeysBelow, all as keys_below};
