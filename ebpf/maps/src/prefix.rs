//! Keys of the longest-prefix-match maps, always valid: bits beyond the prefix are zero.

use std::net::IpAddr;

use signet_abi::{Address, Direction, IpcacheKey, PolicyId, PolicyKey, SecurityIdentity};

/// A prefix of a trie's key: the first `length` bits of `key` count, the others are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix<K> {
    key: K,
    length: u32,
}

/// A key of `IPCACHE`: an address prefix.
pub type IpcachePrefix = Prefix<IpcacheKey>;
/// A key of `POLICY`: whose policy, the other side, and which traffic.
pub type PolicyPrefix = Prefix<PolicyKey>;

impl<K: Copy> Prefix<K> {
    /// The key's data; zero beyond the prefix.
    pub fn key(&self) -> K {
        self.key
    }

    /// Bits that count.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// A prefix as the kernel returned it.
    pub(crate) fn from_kernel(key: K, length: u32) -> Self {
        Self { key, length }
    }
}

impl IpcachePrefix {
    /// `address/bits`, `bits` counted in the address's own family; host bits are cleared. None if `bits` is more
    /// than the family has.
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let (family_bits, offset) = match address {
            IpAddr::V4(_) => (32, Address::V4_PREFIX),
            IpAddr::V6(_) => (128, 0),
        };
        if u32::from(bits) > family_bits {
            return None;
        }
        let length = offset + u32::from(bits);
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        let masked = u128::from_be_bytes(Address::from(address).0) & mask;
        Some(Self {
            key: IpcacheKey {
                address: Address(masked.to_be_bytes()),
            },
            length,
        })
    }

    /// The prefix of one address.
    pub fn host(address: IpAddr) -> Self {
        Self {
            key: IpcacheKey {
                address: Address::from(address),
            },
            length: 128,
        }
    }

    /// The first address of the prefix.
    pub fn address(&self) -> IpAddr {
        IpAddr::from(self.key.address)
    }

    /// Length in the address's own family.
    pub fn bits(&self) -> u32 {
        if self.key.address.is_v4() && self.length >= Address::V4_PREFIX {
            self.length - Address::V4_PREFIX
        } else {
            self.length
        }
    }
}

impl PolicyPrefix {
    /// Every protocol and port.
    pub fn everything(policy: PolicyId, identity: SecurityIdentity, direction: Direction) -> Self {
        let key = PolicyKey {
            policy,
            identity,
            direction: direction as u8,
            ..PolicyKey::default()
        };
        Self {
            key,
            length: PolicyKey::PREFIX_BASE,
        }
    }

    /// Every port of one IP protocol.
    pub fn protocol(
        policy: PolicyId,
        identity: SecurityIdentity,
        direction: Direction,
        protocol: u8,
    ) -> Self {
        let key = PolicyKey {
            policy,
            identity,
            direction: direction as u8,
            protocol,
            port: [0; 2],
        };
        Self {
            key,
            length: PolicyKey::PREFIX_PROTOCOL,
        }
    }

    /// The ports of one IP protocol that share the first `bits` bits with `port`; 16 bits: this port alone. None if
    /// `bits` is more than 16.
    pub fn ports(
        policy: PolicyId,
        identity: SecurityIdentity,
        direction: Direction,
        protocol: u8,
        port: u16,
        bits: u8,
    ) -> Option<Self> {
        if bits > 16 {
            return None;
        }
        let masked = port & u16::MAX.checked_shl(16 - u32::from(bits)).unwrap_or(0);
        let key = PolicyKey {
            policy,
            identity,
            direction: direction as u8,
            protocol,
            port: masked.to_be_bytes(),
        };
        Some(Self {
            key,
            length: PolicyKey::PREFIX_PROTOCOL + u32::from(bits),
        })
    }

    /// The prefix of the look-up that the kernel programs make.
    pub fn exactly(key: PolicyKey) -> Self {
        Self {
            key,
            length: PolicyKey::PREFIX_FULL,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_ipv4_prefix_is_mapped_and_masked() {
        let prefix = IpcachePrefix::new("10.244.2.77".parse().unwrap(), 24).unwrap();
        assert_eq!(prefix.length(), 120);
        assert_eq!(prefix.address(), "10.244.2.0".parse::<IpAddr>().unwrap());
        assert_eq!(prefix.bits(), 24);
    }

    #[test]
    fn the_default_routes_of_both_families_differ() {
        let v4 = IpcachePrefix::new("1.2.3.4".parse().unwrap(), 0).unwrap();
        let v6 = IpcachePrefix::new("2001:db8::1".parse().unwrap(), 0).unwrap();
        assert_eq!((v4.length(), v6.length()), (96, 0));
        assert_eq!(v6.key().address.0, [0; 16]);
    }

    #[test]
    fn a_prefix_longer_than_its_family_is_refused() {
        assert_eq!(IpcachePrefix::new("1.2.3.4".parse().unwrap(), 33), None);
        assert_eq!(IpcachePrefix::new("::1".parse().unwrap(), 129), None);
        assert_eq!(
            PolicyPrefix::ports(PolicyId(1), SecurityIdentity(256), Direction::Ingress, 6, 80, 17),
            None
        );
    }

    proptest! {
        #[test]
        fn ports_of_a_prefix_share_its_bits(port: u16, other: u16, bits in 0_u8..=16) {
            let make = |port| {
                PolicyPrefix::ports(PolicyId(1), SecurityIdentity(256), Direction::Egress, 17, port, bits).unwrap()
            };
            let same = bits == 0 || port >> (16 - bits) == other >> (16 - bits);
            prop_assert_eq!(make(port) == make(other), same);
        }
    }
}
