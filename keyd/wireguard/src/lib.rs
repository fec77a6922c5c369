//! A WireGuard device, in the kernel or in user space, behind one interface.
//!
//! [`open`] gives a [`Device`]: the kernel's own WireGuard, or `gotatun` run in this process over a TUN interface
//! where the kernel has none. Both have the same keys, the same peers and the same fwmark, so callers need not know
//! which one they hold; [`Device::implementation`] tells it to people.
//!
//! The kernel is driven through `netlink-packet-wireguard` (MIT) over a netlink socket of our own, whose buffers are
//! zeroized. The better known `wireguard-control` is LGPL-2.1, which a statically linked Apache-2.0 binary cannot
//! carry without offering relinkable objects.
//!
//! Secrets: a private key is made here ([`PrivateKey::generate`]), handed to the device and zeroized; it is never
//! printed and never written to a file. The user-space engine has to keep it, and the preshared keys, in this
//! process's memory for as long as the device lives.

mod allowed_ip;
mod device;
mod endpoint;
mod error;
mod kernel;
mod key;
mod link;
mod name;
mod open;
mod peer;
mod sysctl;
mod userspace;

pub use allowed_ip::{AllowedIp, AllowedIpError};
pub use device::{Device, Implementation};
pub use endpoint::{Endpoint, EndpointError};
pub use error::DeviceError;
pub use key::{KEY_LEN, KeyError, PresharedKey, PrivateKey, PublicKey};
pub use name::{DeviceName, DeviceNameError};
pub use open::{Choice, DeviceConfig, Opened, find_leftover, open};
pub use peer::{PeerConfig, PeerStatus};
