//! The interface that both implementations have.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::{DeviceError, PeerConfig, PeerStatus, PublicKey};

/// Which WireGuard a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// The kernel's.
    Kernel,
    /// The one embedded in this process.
    UserSpace,
}

impl fmt::Display for Implementation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::UserSpace => "user space",
        })
    }
}

/// A WireGuard device that is up.
///
/// Dropping a device leaves its interface behind: a kernel device goes on working, a user-space one drops every
/// packet until somebody opens it again. [`Device::destroy`] removes it.
pub trait Device: fmt::Debug + Send + Sync {
    /// Which WireGuard this is.
    fn implementation(&self) -> Implementation;

    /// Number of the interface. Stays the same while the device lives, restarts of this process included.
    fn ifindex(&self) -> u32;

    /// Our public key.
    fn public_key(&self) -> PublicKey;

    /// Adds a peer, or changes the one of this public key. A running session of it is left alone.
    fn set_peer<'a>(&'a self, peer: &'a PeerConfig) -> BoxFuture<'a, Result<(), DeviceError>>;

    /// Removes a peer; nothing happens if there is none of this key.
    fn remove_peer<'a>(&'a self, key: &'a PublicKey) -> BoxFuture<'a, Result<(), DeviceError>>;

    /// Sees to it that there is a session with the peer, and says whether there is one within `limit`.
    fn handshake<'a>(
        &'a self,
        key: &'a PublicKey,
        limit: Duration,
    ) -> BoxFuture<'a, Result<bool, DeviceError>>;

    /// All peers, in the order of their keys.
    fn peers(&self) -> BoxFuture<'_, Result<Vec<PeerStatus>, DeviceError>>;

    /// Whether the device still works.
    ///
    /// # Errors
    /// [`DeviceError::Gone`] if it does not and must be opened again.
    fn check(&self) -> BoxFuture<'_, Result<(), DeviceError>>;

    /// Takes the interface away, and with it the keys. The device is of no use afterwards.
    fn destroy(&self) -> BoxFuture<'_, Result<(), DeviceError>>;
}
