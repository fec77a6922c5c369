//! Packets that wait for a proof: in order, bounded, fair. Pure: times are nanoseconds of `CLOCK_BOOTTIME`, frames are bytes.
//!
//! The kernel parks a packet that lacks nothing but a proof ([`signet_abi::ParkingTicket`]). The [`Lot`] holds it with the
//! others of its pair until the pair is proven ([`Lot::release`]), cannot be ([`Lot::refuse`]), or the packet has waited for
//! too long ([`Lot::expire`]). In each case it goes back to the kernel and is judged anew, to pass or to be dropped for what it still
//! lacks: to hold a packet permits nothing.

mod bounds;
mod counts;
mod lot;
mod queue;

pub use bounds::Bounds;
pub use counts::{Counts, Fill};
pub use lot::{Full, Lot, Parked};
