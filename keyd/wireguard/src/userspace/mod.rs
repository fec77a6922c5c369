//! The embedded WireGuard: `gotatun` between a TUN interface and UDP sockets, in this process.

mod device;
mod tun;

pub(crate) use device::UserSpaceDevice;
