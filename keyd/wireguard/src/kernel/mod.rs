//! The kernel's WireGuard (Linux 5.6 and later; `include/uapi/linux/wireguard.h`).

mod device;
mod message;
mod netlink;

pub(crate) use device::KernelDevice;
