//! Packet marks (`skb->mark`). The upper half carries a magic so that other users of marks are left alone.

/// Bits that Signet owns in a mark.
pub const MARK_MASK: u32 = 0xffff_ff00;
/// Set on a packet that left a workload of this node by its own interface. Without it nobody is believed to be one. It
/// outlives a decapsulation on the host, so it does not say which workload: the interface that received the packet last does.
pub const MARK_LOCAL: u32 = 0x5147_0f00;
/// Set on a packet that came out of the tunnel device.
pub const MARK_DECRYPTED: u32 = 0x5147_0d00;
/// Set on a packet of a workload that comes back from the parking device, on its way to where it was taken from: it has waited
/// already.
pub const MARK_RETURNED: u32 = 0x5147_0c00;
/// Set on what signet-agent tells a sender in the name of the one that it could not reach, on its way from the parking device to
/// the interface from which, or towards which, the refused packet went.
pub const MARK_REFUSAL: u32 = 0x5147_0b00;
/// Set by the tunnel on its own, encrypted packets (WireGuard's fwmark), so that they are not encrypted again.
pub const MARK_TUNNEL: u32 = 0x5147_0e00;
