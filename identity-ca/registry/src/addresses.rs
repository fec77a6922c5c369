//! Which addresses a node may say that it has.

use std::net::IpAddr;

use crate::nodes::{AnnounceError, Announcement, MAX_ADDRESSES};

/// Whether other nodes could dial an address: a host of its own on some network.
pub fn is_dialable(address: IpAddr) -> bool {
    // IPv4 in IPv6's clothes would be a second spelling of the same address.
    let disguised = address.to_canonical() != address;
    let local = match address {
        IpAddr::V4(address) => address.is_broadcast() || address.is_link_local() || address.octets()[0] == 0,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(disguised || local || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

pub(crate) fn check(announcement: &Announcement, allowed: &[IpAddr]) -> Result<(), AnnounceError> {
    let addresses = &announcement.addresses;
    if addresses.len() > MAX_ADDRESSES {
        return Err(AnnounceError::Count {
            count: addresses.len(),
        });
    }
    if announcement.session_port == 0 {
        return Err(AnnounceError::NoPort);
    }
    for (position, address) in addresses.iter().enumerate() {
        if !is_dialable(*address) {
            return Err(AnnounceError::NotDialable(*address));
        }
        if addresses.iter().skip(position + 1).any(|other| other == address) {
            return Err(AnnounceError::Twice(*address));
        }
        if *address != announcement.seen && !allowed.contains(address) {
            return Err(AnnounceError::Foreign {
                address: *address,
                seen: announcement.seen,
            });
        }
    }
    Ok(())
}
