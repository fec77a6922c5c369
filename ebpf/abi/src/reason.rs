//! Why a packet passed or not. Numbers that others already use stay the same (Cilium's drop reasons).

use crate::policy::Direction;

/// Outcome of a judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// Passed on, in plaintext where it goes to another node.
    Forwarded = 0,
    /// Passed into the tunnel.
    Encrypted = 1,
    /// Came out of the tunnel.
    Decrypted = 2,
    /// The source address is not the endpoint's.
    InvalidSourceIp = 132,
    /// No rule allows it, and a policy selects the endpoint.
    PolicyDenied = 133,
    /// Malformed, or too short for its headers.
    InvalidPacket = 134,
    /// Neither IPv4, IPv6 nor ARP.
    UnknownL3 = 139,
    /// A transport protocol or control message that no workload may send or be sent (ICMP redirects, multicast groups,
    /// "no next header").
    UnknownL4 = 142,
    /// The conntrack entry could not be made.
    CtCreateFailed = 155,
    /// An IPv6 extension header that cannot be judged, or too many of them.
    InvalidExtensionHeader = 156,
    /// A fragment of a message that may not come in pieces (ICMP errors, neighbour discovery).
    FragmentNotSupported = 157,
    /// No settings, or those of another ABI version.
    NoConfig = 165,
    /// The address has no identity.
    InvalidIdentity = 171,
    /// A fragment without a first one before it that was let through or parked: its ports cannot be known.
    FragmentNotFound = 175,
    /// A rule denies it.
    PolicyDeny = 181,
    /// The rule asks for a proof and there is none.
    AuthenticationRequired = 189,
    /// Plaintext where only ciphertext is accepted.
    Unencrypted = 195,
    /// The endpoint is not set up yet.
    EndpointNotReady = 203,
    /// The rule says `always-fail`.
    AuthenticationAlwaysFails = 220,
    /// The owner of the other side's address does not say, or no longer, that it carries this identity.
    LeaseExpired = 221,
    /// Sent to the parking device to wait for its proof.
    Parked = 222,
    /// The answer to a packet that there can be no proof for: its sender is told.
    Rejected = 223,
    /// The rule asks for a proof, and one of the two is a workload without a registration: there can be none.
    NotRegistered = 224,
    /// The rule asks for a proof, and it came from another node's own address, which that node lends to others as well.
    SharedNodeAddress = 225,
    /// Several workloads claim one of the two addresses: nobody can tell which of their SPIFFE IDs it is.
    SeveralIdentities = 228,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 25] = [
        Self::Forwarded,
        Self::Encrypted,
        Self::Decrypted,
        Self::InvalidSourceIp,
        Self::PolicyDenied,
        Self::InvalidPacket,
        Self::UnknownL3,
        Self::UnknownL4,
        Self::CtCreateFailed,
        Self::InvalidExtensionHeader,
        Self::FragmentNotSupported,
        Self::NoConfig,
        Self::InvalidIdentity,
        Self::FragmentNotFound,
        Self::PolicyDeny,
        Self::AuthenticationRequired,
        Self::Unencrypted,
        Self::EndpointNotReady,
        Self::AuthenticationAlwaysFails,
        Self::LeaseExpired,
        Self::Parked,
        Self::Rejected,
        Self::NotRegistered,
        Self::SharedNodeAddress,
        Self::SeveralIdentities,
    ];

    /// The reason with this number.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == number)
    }

    /// Whether the packet went on.
    pub const fn passed(self) -> bool {
        matches!(
            self,
            Self::Forwarded | Self::Encrypted | Self::Decrypted | Self::Rejected
        )
    }

    /// The name that users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Encrypted => "encrypted",
            Self::Decrypted => "decrypted",
            Self::InvalidSourceIp => "invalid source ip",
            Self::PolicyDenied => "policy denied",
            Self::InvalidPacket => "invalid packet",
            Self::UnknownL3 => "unknown L3 protocol",
            Self::UnknownL4 => "unknown L4 protocol",
            Self::CtCreateFailed => "conntrack entry failed",
            Self::InvalidExtensionHeader => "invalid IPv6 extension header",
            Self::FragmentNotSupported => "fragment not supported",
            Self::NoConfig => "no configuration",
            Self::InvalidIdentity => "no identity",
            Self::FragmentNotFound => "first fragment not found",
            Self::PolicyDeny => "denied by rule",
            Self::AuthenticationRequired => "authentication required",
            Self::Unencrypted => "unencrypted traffic",
            Self::EndpointNotReady => "endpoint not ready",
            Self::AuthenticationAlwaysFails => "authentication always fails",
            Self::LeaseExpired => "lease expired",
            Self::Parked => "parked",
            Self::Rejected => "rejected",
            Self::NotRegistered => "workload not registered",
            Self::SharedNodeAddress => "node address is shared",
            Self::SeveralIdentities => "address of several identities",
        }
    }
}

/// Counters besides the reasons, at indices that no reason has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Metric {
    /// Signals written to the ring.
    SignalSent = 240,
    /// Signals not written because the pair had one a moment ago.
    SignalSuppressed = 241,
    /// Signals lost because the ring was full.
    SignalLost = 242,
    /// Flow events lost because the ring was full.
    FlowLost = 243,
}

/// Entries of `METRICS`, a per-CPU array of `[packets: u64, bytes: u64]`.
pub const METRICS_LEN: u32 = 512;

/// Index into `METRICS` of a [`Reason`] or [`Metric`] number and a direction.
#[inline(always)]
pub const fn metrics_index(number: u8, direction: Direction) -> u32 {
    (number as u32) * 2 + direction as u32
}
