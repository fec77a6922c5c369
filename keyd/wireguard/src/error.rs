//! What can go wrong with a device.

use std::io;

use rustix::io::Errno;

use crate::{DeviceName, KeyError};

/// A device could not be opened, changed or read.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The kernel has no WireGuard.
    #[error(
        "this kernel has no WireGuard: load its wireguard module, or choose the user-space implementation"
    )]
    Unsupported,
    /// Somebody else's interface has our name.
    #[error(
        "interface {name} exists and is not a tunnel of ours: remove or rename it, or choose another name"
    )]
    NameTaken {
        /// The name.
        name: DeviceName,
    },
    /// The TUN interface is attached to another process.
    #[error("another process serves {name}: stop the other signet-keyd first")]
    InUse {
        /// The name.
        name: DeviceName,
    },
    /// The UDP port is taken.
    #[error("UDP port {port} is taken by another program: stop it, or choose another port")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The interface went away, or the user-space engine stopped.
    #[error("the tunnel {name} is gone: {why}")]
    Gone {
        /// The name.
        name: DeviceName,
        /// What was seen.
        why: &'static str,
    },
    /// No private key could be made.
    #[error("failed to make a private key")]
    Key(#[from] KeyError),
    /// The kernel refused to change or show an interface.
    #[error("failed to {action} the interface")]
    Link {
        /// What was being done.
        action: &'static str,
        /// What rtnetlink said.
        #[source]
        source: rtnetlink::Error,
    },
    /// The kernel refused.
    #[error("failed to {action}")]
    Kernel {
        /// What was being done.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The user-space engine refused.
    #[error("failed to {action} in the user-space engine")]
    Engine {
        /// What was being done.
        action: &'static str,
        /// What the engine said.
        #[source]
        source: gotatun::device::Error,
    },
}

impl DeviceError {
    pub(crate) fn kernel(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Kernel { action, source }
    }

    /// The kernel's error number, where there is one.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Link { source, .. } => link_errno(source),
            Self::Kernel { source, .. } => Errno::from_io_error(source),
            Self::Unsupported
            | Self::NameTaken { .. }
            | Self::InUse { .. }
            | Self::PortTaken { .. }
            | Self::Gone { .. }
            | Self::Key(_)
            | Self::Engine { .. } => None,
        }
    }

    pub(crate) fn link(action: &'static str) -> impl FnOnce(rtnetlink::Error) -> Self {
        move |source| Self::Link { action, source }
    }
}

/// The kernel's error number in an answer of rtnetlink.
pub(crate) fn link_errno(error: &rtnetlink::Error) -> Option<Errno> {
    if let rtnetlink::Error::NetlinkError(message) = error {
        Some(Errno::from_raw_os_error(message.raw_code().wrapping_neg()))
    } else {
        None
    }
}
