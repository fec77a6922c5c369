//! Where the device comes from.

use futures::FutureExt;
use futures::future::BoxFuture;
use signet_wireguard::{Choice, DeviceConfig, DeviceError, Opened, find_leftover, open};

/// Opens the node's device.
pub(crate) trait Opener: Send + Sync {
    /// Adopts the device that is there, or makes one.
    fn open(&self) -> BoxFuture<'_, Result<Opened, DeviceError>>;

    /// Whether an earlier process left one.
    fn leftover(&self) -> BoxFuture<'_, Result<bool, DeviceError>>;
}

/// Opens a real one.
#[derive(Debug)]
pub(crate) struct SystemOpener {
    choice: Choice,
    config: DeviceConfig,
}

impl SystemOpener {
    pub(crate) fn new(choice: Choice, config: DeviceConfig) -> Self {
        Self { choice, config }
    }
}

impl Opener for SystemOpener {
    fn open(&self) -> BoxFuture<'_, Result<Opened, DeviceError>> {
        open(self.choice, &self.config).boxed()
    }

    fn leftover(&self) -> BoxFuture<'_, Result<bool, DeviceError>> {
        find_leftover(&self.config.name).boxed()
    }
}
