//! Layouts shared by the kernel programs and user space.
//!
//! Every key and value is `#[repr(C)]`, has no padding, and its size is asserted at compile time. Network fields
//! (`port`, addresses) are stored big-endian; only constructors know it. Times are nanoseconds of `CLOCK_BOOTTIME`.
//! [`ABI_VERSION`] changes with any layout; pins of another version are never reused.

#![no_std]

mod address;
mod auth;
mod config;
mod conntrack;
mod endpoint;
mod event;
mod fragment;
mod id;
mod ipcache;
mod lease;
mod mark;
mod node;
mod parking;
mod pin;
mod policy;
mod reason;

pub use address::Address;
pub use auth::{AuthKey, AuthValue};
pub use config::MeshConfig;
pub use conntrack::{Ct4Key, Ct6Key, CtValue, ct_flags};
pub use endpoint::{Endpoint, endpoint_flags};
pub use event::{Flow, Signal, SignalCause, flow_hooks};
pub use fragment::{FragmentKey, FragmentValue};
pub use id::{NodeId, PolicyId, SecurityIdentity};
pub use ipcache::{IpcacheKey, IpcacheValue};
pub use lease::{Lease, LeaseEnd, LeaseEndKey, LeaseKey, stands_by};
pub use mark::{MARK_DECRYPTED, MARK_LOCAL, MARK_MASK, MARK_REFUSAL, MARK_RETURNED, MARK_TUNNEL};
pub use node::{NodeState, node_flags};
pub use parking::{ETHERNET_HEADER, PARKING_DEVICE, PARKING_PREFIX, ParkingTicket, ticket_flags};
pub use pin::maps;
pub use policy::{Authentication, Direction, PolicyKey, PolicyValue, Verdict};
pub use reason::{METRICS_LEN, Metric, Reason, metrics_index};

/// Version of every layout in this crate. A daemon refuses pinned maps that carry another one.
pub const ABI_VERSION: u32 = 5;

/// Implements the user-space half of a layout: plain old data for aya, and the size it must have.
macro_rules! layout {
    ($type:ty, $size:literal) => {
        const _: () = assert!(core::mem::size_of::<$type>() == $size);

        #[cfg(feature = "user")]
        #[expect(unsafe_code, reason = "aya asks for this promise as an unsafe trait")]
        // SAFETY: the type is `repr(C)` or `repr(transparent)`, `Copy`, made of integers only, and its size,
        // asserted above, is the sum of its fields' sizes: it has no padding and no invalid bit pattern.
        unsafe impl aya::Pod for $type {}
    };
}
pub(crate) use layout;
