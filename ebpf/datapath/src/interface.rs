//! Network interfaces of the namespace that the process (or thread) is in.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netdevice::{index_to_name, name_to_index};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::error::DatapathError;

/// An interface, by both its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Interface {
    /// As people know it.
    pub name: String,
    /// As the kernel knows it.
    pub index: u32,
}

impl Interface {
    /// The interface of this name.
    ///
    /// # Errors
    /// [`DatapathError::NoInterface`] if there is none.
    pub fn named(name: &str) -> Result<Self, DatapathError> {
        match name_to_index(socket()?, name) {
            Ok(index) => Ok(Self {
                name: name.to_owned(),
                index,
            }),
            Err(Errno::NODEV | Errno::NAMETOOLONG) => Err(DatapathError::NoInterface {
                name: name.to_owned(),
            }),
            Err(source) => Err(DatapathError::Interfaces {
                source: source.into(),
            }),
        }
    }

    /// The interface of this index, if there is one.
    pub fn indexed(index: u32) -> Result<Option<Self>, DatapathError> {
        match index_to_name(socket()?, index) {
            Ok(name) => Ok(Some(Self { name, index })),
            Err(Errno::NODEV | Errno::NXIO) => Ok(None),
            Err(source) => Err(DatapathError::Interfaces {
                source: source.into(),
            }),
        }
    }
}

fn socket() -> Result<OwnedFd, DatapathError> {
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).map_err(|source| {
        DatapathError::Interfaces {
            source: source.into(),
        }
    })
}
