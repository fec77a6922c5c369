//! Addresses in machine words, so that copying and comparing them takes two instructions and not sixteen.

use signet_abi::Address;

/// The bytes of a [`signet_abi::Address`], as four words in network order.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Words(pub [u32; 4]);

/// `::ffff:0:0/96`, third word.
const V4_MAPPED: u32 = 0x0000_ffff_u32.to_be();

impl Words {
    /// `::`
    pub const UNSPECIFIED: Self = Self([0; 4]);

    /// The mapped form of an IPv4 address in network order.
    #[inline(always)]
    pub const fn from_v4(v4: u32) -> Self {
        Self([0, 0, V4_MAPPED, v4])
    }

    /// The IPv4 address of a mapped one.
    #[inline(always)]
    pub const fn v4(&self) -> [u8; 4] {
        let Self([_, _, _, v4]) = self;
        v4.to_ne_bytes()
    }

    /// Whether this is a mapped IPv4 address.
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        let Self([a, b, c, _]) = self;
        *a == 0 && *b == 0 && *c == V4_MAPPED
    }

    /// `fe80::/10`
    #[inline(always)]
    pub fn is_link_local(&self) -> bool {
        let Self([a, ..]) = self;
        u32::from_be(*a) & 0xffc0_0000 == 0xfe80_0000
    }

    /// `ff02::/16`
    #[inline(always)]
    pub fn is_link_multicast(&self) -> bool {
        let Self([a, ..]) = self;
        u32::from_be(*a) >> 16 == 0xff02
    }

    /// The bytes in network order.
    #[inline(always)]
    pub fn bytes(&self) -> [u8; 16] {
        self.abi().0
    }

    /// The form that user space knows.
    #[inline(always)]
    pub fn abi(&self) -> Address {
        let Self([a, b, c, d]) = self;
        let (low, high) = (
            u64::from(*a) | u64::from(*b) << 32,
            u64::from(*c) | u64::from(*d) << 32,
        );
        Address((u128::from(low) | u128::from(high) << 64).to_le_bytes())
    }
}
