//! The lease messages.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use signet_proto::session::v1 as wire;
use signet_spiffe::SpiffeId;

use super::{WireError, sized};
use crate::lease::{Digest, Group, LONGEST, LeaseAsk, LeaseDelta, LeaseGrant, LeasePart};

pub(super) fn parse_ask(ask: &wire::LeaseAsk) -> Result<LeaseAsk, WireError> {
    let digest = if ask.digest.is_empty() {
        None
    } else {
        Some(Digest(sized("digest", &ask.digest)?))
    };
    Ok(LeaseAsk {
        nonce: ask.nonce,
        revision: ask.revision,
        digest,
    })
}

pub(super) fn parse_part(part: &wire::LeaseTable) -> Result<LeasePart, WireError> {
    Ok(LeasePart {
        revision: part.revision,
        begin: part.begin,
        end: part.end,
        groups: parse_groups(&part.groups)?,
    })
}

pub(super) fn parse_delta(delta: &wire::LeaseDelta) -> Result<LeaseDelta, WireError> {
    Ok(LeaseDelta {
        revision: delta.revision,
        withdrawn: parse_addresses(&delta.withdrawn)?,
        added: parse_groups(&delta.added)?,
    })
}

pub(super) fn parse_grant(grant: &wire::LeaseGrant) -> Result<LeaseGrant, WireError> {
    let lasting = Duration::from_millis(grant.for_ms.into());
    if lasting > LONGEST {
        return Err(WireError::Range("time of a lease"));
    }
    Ok(LeaseGrant {
        nonce: grant.nonce,
        revision: grant.revision,
        lasting,
    })
}

fn parse_groups(groups: &[wire::LeaseGroup]) -> Result<Vec<Group>, WireError> {
    groups.iter().map(parse_group).collect()
}

fn parse_group(group: &wire::LeaseGroup) -> Result<Group, WireError> {
    if group.addresses.is_empty() {
        return Err(WireError::Empty("a group's addresses"));
    }
    let id = SpiffeId::parse(&group.spiffe_id).map_err(|source| WireError::SpiffeId {
        field: "a group's identity",
        source,
    })?;
    Ok(Group {
        id,
        addresses: parse_addresses(&group.addresses)?,
    })
}

fn parse_addresses(addresses: &[Vec<u8>]) -> Result<Vec<IpAddr>, WireError> {
    addresses.iter().map(|bytes| parse_address(bytes)).collect()
}

fn parse_address(bytes: &[u8]) -> Result<IpAddr, WireError> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(v4.into());
    }
    let v6 = Ipv6Addr::from(sized::<16>("address", bytes)?);
    // One address has one form, or it could be there twice.
    if v6.to_ipv4_mapped().is_some() {
        return Err(WireError::Range("IPv6 address"));
    }
    Ok(v6.into())
}

pub(super) fn ask(ask: &LeaseAsk) -> wire::LeaseAsk {
    wire::LeaseAsk {
        nonce: ask.nonce,
        revision: ask.revision,
        digest: ask.digest.map(|digest| digest.0.to_vec()).unwrap_or_default(),
    }
}

pub(super) fn part(part: &LeasePart) -> wire::LeaseTable {
    wire::LeaseTable {
        revision: part.revision,
        begin: part.begin,
        end: part.end,
        groups: groups(&part.groups),
    }
}

pub(super) fn delta(delta: &LeaseDelta) -> wire::LeaseDelta {
    wire::LeaseDelta {
        revision: delta.revision,
        withdrawn: addresses(&delta.withdrawn),
        added: groups(&delta.added),
    }
}

pub(super) fn grant(grant: &LeaseGrant) -> wire::LeaseGrant {
    wire::LeaseGrant {
        nonce: grant.nonce,
        revision: grant.revision,
        for_ms: u32::try_from(grant.lasting.as_millis()).unwrap_or(0),
    }
}

fn groups(groups: &[Group]) -> Vec<wire::LeaseGroup> {
    let group = |group: &Group| wire::LeaseGroup {
        spiffe_id: group.id.as_str().to_owned(),
        addresses: addresses(&group.addresses),
    };
    groups.iter().map(group).collect()
}

fn addresses(addresses: &[IpAddr]) -> Vec<Vec<u8>> {
    let bytes = |address: &IpAddr| match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    addresses.iter().map(bytes).collect()
}
