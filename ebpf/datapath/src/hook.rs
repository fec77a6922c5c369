//! Where programs are attached.

use aya::programs::TcAttachType;

/// A program and the side of an interface that it is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// A packet leaves a workload: ingress of the host side of its veth.
    FromContainer,
    /// A packet reaches a workload: egress of the host side of its veth.
    ToContainer,
    /// A packet arrives from the wire: ingress of the uplink.
    FromNetdev,
    /// A packet leaves for the wire: egress of the uplink.
    ToNetdev,
    /// A packet comes out of the tunnel: ingress of the tunnel device.
    FromTunnel,
    /// A packet comes back from waiting for its proof: ingress of the parking device.
    FromParking,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::FromContainer,
        Self::ToContainer,
        Self::FromNetdev,
        Self::ToNetdev,
        Self::FromTunnel,
        Self::FromParking,
    ];

    /// The program's name in the object and in the kernel.
    pub const fn program(self) -> &'static str {
        match self {
            Self::FromContainer => "from_container",
            Self::ToContainer => "to_container",
            Self::FromNetdev => "from_netdev",
            Self::ToNetdev => "to_netdev",
            Self::FromTunnel => "from_tunnel",
            Self::FromParking => "from_parking",
        }
    }

    /// The hook whose program has this name.
    pub fn from_program(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.program() == name)
    }

    /// The side of the interface.
    pub(crate) const fn side(self) -> TcAttachType {
        match self {
            Self::FromContainer | Self::FromNetdev | Self::FromTunnel | Self::FromParking => {
                TcAttachType::Ingress
            }
            Self::ToContainer | Self::ToNetdev => TcAttachType::Egress,
        }
    }
}

impl std::fmt::Display for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.program())
    }
}
