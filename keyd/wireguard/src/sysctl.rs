//! Per-interface settings that the decrypted packets need.
//!
//! A decrypted packet has a workload's source address and comes in at the tunnel, while the route back to that
//! address leaves by the uplink (the redirect into the tunnel is the kernel program's, not the routing table's). So:
//!
//! - `rp_filter` is 2, loose. Strict filtering would drop every decrypted IPv4 packet, and because the kernel takes
//!   the greater of the interface's value and that of `all`, 0 would not help where `all` is strict. Loose filtering
//!   wants an IPv4 address on the interface, which it has for that reason. The spoofing that strict filtering guards
//!   against is refused by AllowedIPs and, later, by the from-tunnel program.
//! - `forwarding` (IPv4) is 1, so that packets from the tunnel are routed to the workloads. IPv6 has no such setting
//!   per interface before Linux 6.17: `net.ipv6.conf.all.forwarding` belongs to whoever set up the node.
//! - `send_redirects` is 0: "the sender could have used the uplink" is exactly what must not be said.
//! - `addr_gen_mode` is 1, none: the tunnel needs no link-local address and sends no router solicitations.

use std::path::{Path, PathBuf};

use crate::DeviceName;

const ROOT: &str = "/proc/sys/net";

/// Applies the settings. A setting that cannot be written is logged with what it is needed for; the device works
/// without it where the node's defaults already fit.
pub(crate) fn prepare(name: &DeviceName) {
    for (path, value) in settings(Path::new(ROOT), name) {
        if let Err(error) = std::fs::write(&path, value) {
            tracing::warn!(
                sysctl = %path.display(),
                wanted = value,
                %error,
                "failed to set a sysctl of the tunnel; decrypted packets are dropped if the node's default differs"
            );
        }
    }
}

fn settings(root: &Path, name: &DeviceName) -> [(PathBuf, &'static str); 4] {
    let at = |family: &str, key: &str| root.join(family).join("conf").join(name.as_str()).join(key);
    [
        (at("ipv4", "rp_filter"), "2"),
        (at("ipv4", "forwarding"), "1"),
        (at("ipv4", "send_redirects"), "0"),
        (at("ipv6", "addr_gen_mode"), "1"),
    ]
}
