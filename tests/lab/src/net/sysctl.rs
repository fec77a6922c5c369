//! Settings of each namespace, made before it has interfaces.

use std::fs;

use crate::{LabError, LabPaths, Plan, net};

/// For everybody: addresses are usable at once (no duplicate address detection), nothing is announced or asked for.
const COMMON: [(&str, &str); 5] = [
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/dad_transmits", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
];

/// A node forwards. Reverse-path filtering is off: a decrypted packet comes out of the tunnel device, while the way
/// back to its source leads over the uplink.
const NODE: [(&str, &str); 6] = [
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/forwarding", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
];

/// The bridge's namespace speaks no IP itself.
const UNDERLAY: [(&str, &str); 1] = [("ipv6/conf/default/disable_ipv6", "1")];

/// Applies the settings of every namespace of a lab.
pub(crate) fn apply(plan: &Plan, paths: &LabPaths) -> Result<(), LabError> {
    for place in plan.places() {
        let special: &[_] = match place {
            "net" => &UNDERLAY,
            _ if plan.node(place).is_some() => &NODE,
            _ => &[],
        };
        let netns = paths.netns(place);
        net::within(&netns, || write(special)).map_err(LabError::io("enter", netns))??;
    }
    Ok(())
}

/// Writes to this thread's /proc/sys/net.
fn write(special: &[(&str, &str)]) -> Result<(), LabError> {
    for (name, value) in COMMON.iter().chain(special) {
        let path = format!("/proc/sys/net/{name}");
        fs::write(&path, value).map_err(LabError::io("set", path))?;
    }
    Ok(())
}
