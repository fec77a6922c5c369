//! Opening a device: which implementation, and what to do with an interface that is already there.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::kernel::KernelDevice;
use crate::link::{Kind, Links};
use crate::userspace::UserSpaceDevice;
use crate::{Device, DeviceError, DeviceName, Implementation};

/// What a device should be.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// Name of its interface.
    pub name: DeviceName,
    /// UDP port, IPv4 and IPv6.
    pub port: u16,
    /// Mark (`SO_MARK`) of the encrypted packets.
    pub fwmark: u32,
    /// MTU of the interface, bytes: the underlay's less 80 for WireGuard over IPv6.
    pub mtu: u16,
}

/// Which implementation is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The kernel's if it has one, else the embedded one.
    #[default]
    Auto,
    /// This one or none.
    Only(Implementation),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "kernel" => Ok(Self::Only(Implementation::Kernel)),
            "userspace" => Ok(Self::Only(Implementation::UserSpace)),
            other => Err(format!("{other:?} is not one of auto, kernel, userspace")),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Only(Implementation::Kernel) => "kernel",
            Self::Only(Implementation::UserSpace) => "userspace",
        })
    }
}

/// A device that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The device, up, with a private key.
    pub device: Arc<dyn Device>,
    /// Whether the device was there with its key, and still has both that and its peers. Only a kernel device can:
    /// the user-space engine's key died with the process that held it.
    pub adopted: bool,
}

/// Opens the device: adopts a kernel device of this name with its key and peers, or makes one with a new key.
///
/// An interface that the other implementation left is replaced. A TUN interface that an earlier process left is
/// attached to again, so that its number and what is attached to it stay.
///
/// # Errors
/// [`DeviceError::Unsupported`] only if the kernel's was asked for; [`DeviceError::NameTaken`],
/// [`DeviceError::InUse`] and [`DeviceError::PortTaken`] for the user to solve.
pub async fn open(choice: Choice, config: &DeviceConfig) -> Result<Opened, DeviceError> {
    match choice {
        Choice::Only(Implementation::Kernel) => open_kernel(config).await,
        Choice::Only(Implementation::UserSpace) => open_userspace(config).await,
        Choice::Auto => match open_kernel(config).await {
            Err(DeviceError::Unsupported) => {
                tracing::info!("this kernel has no WireGuard; the embedded user-space one is used");
                open_userspace(config).await
            }
            opened => opened,
        },
    }
}

/// Whether an earlier process left an interface of this name that [`open`] would take over.
pub async fn find_leftover(name: &DeviceName) -> Result<bool, DeviceError> {
    let link = Links::connect()?.find(name).await?;
    Ok(link.is_some_and(|link| link.kind != Kind::Other))
}

async fn open_kernel(config: &DeviceConfig) -> Result<Opened, DeviceError> {
    let (device, adopted) = KernelDevice::open(config).await?;
    Ok(Opened {
        device: Arc::new(device),
        adopted,
    })
}

async fn open_userspace(config: &DeviceConfig) -> Result<Opened, DeviceError> {
    let device = UserSpaceDevice::open(config).await?;
    Ok(Opened {
        device: Arc::new(device),
        adopted: false,
    })
}
