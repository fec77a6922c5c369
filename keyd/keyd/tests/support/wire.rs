//! Three network namespaces: nodes `a` and `b`, and between them the wire, a bridge that can be listened to.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Keeps the names of tests apart that run at the same time.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Which underlay the tunnel runs over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Family {
    V4,
    V6,
}

/// The namespaces; deleted on drop, with everything in them.
#[derive(Debug)]
pub(crate) struct Wire {
    prefix: String,
}

impl Wire {
    /// Node 1 (`a`) is 192.0.2.1 and `2001:db8::1` on the wire, with 10.244.1.1 and `fd00:244:1::1` behind it; node 2
    /// (`b`) likewise.
    pub(crate) fn new() -> Self {
        let prefix = format!(
            "sgk-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let wire = Self { prefix };
        let middle = wire.name("w");
        run(&["netns", "add", &middle]);
        run(&["-n", &middle, "link", "add", "br0", "type", "bridge"]);
        run(&["-n", &middle, "link", "set", "br0", "up"]);
        for (side, n) in [("a", 1), ("b", 2)] {
            let node = wire.name(side);
            run(&["netns", "add", &node]);
            run(&["-n", &node, "link", "set", "lo", "up"]);
            run(&[
                "-n", &node, "link", "add", "eth0", "type", "veth", "peer", "name", side, "netns", &middle,
            ]);
            run(&["-n", &middle, "link", "set", "dev", side, "master", "br0", "up"]);
            run(&["-n", &node, "link", "set", "eth0", "up"]);
            run(&[
                "-n",
                &node,
                "addr",
                "add",
                &format!("192.0.2.{n}/24"),
                "dev",
                "eth0",
            ]);
            run(&[
                "-n",
                &node,
                "addr",
                "add",
                &format!("2001:db8::{n}/64"),
                "dev",
                "eth0",
                "nodad",
            ]);
            run(&[
                "-n",
                &node,
                "addr",
                "add",
                &format!("10.244.{n}.1/32"),
                "dev",
                "lo",
            ]);
            run(&[
                "-n",
                &node,
                "addr",
                "add",
                &format!("fd00:244:{n}::1/128"),
                "dev",
                "lo",
                "nodad",
            ]);
        }
        wire.route_plain();
        wire
    }

    /// Inner addresses are reached over the wire, as they are.
    pub(crate) fn route_plain(&self) {
        for (side, me, peer) in [("a", 1, 2), ("b", 2, 1)] {
            let node = self.name(side);
            run(&[
                "-n",
                &node,
                "route",
                "replace",
                &format!("10.244.{peer}.0/24"),
                "via",
                &format!("192.0.2.{peer}"),
                "src",
                &format!("10.244.{me}.1"),
            ]);
            run(&[
                "-6",
                "-n",
                &node,
                "route",
                "replace",
                &format!("fd00:244:{peer}::/64"),
                "via",
                &format!("2001:db8::{peer}"),
                "src",
                &format!("fd00:244:{me}::1"),
            ]);
        }
    }

    /// Inner addresses are reached through the tunnel.
    pub(crate) fn route_tunnel(&self) {
        for (side, me, peer) in [("a", 1, 2), ("b", 2, 1)] {
            let node = self.name(side);
            run(&[
                "-n",
                &node,
                "route",
                "replace",
                &format!("10.244.{peer}.0/24"),
                "dev",
                "sgwg0",
                "src",
                &format!("10.244.{me}.1"),
            ]);
            run(&[
                "-6",
                "-n",
                &node,
                "route",
                "replace",
                &format!("fd00:244:{peer}::/64"),
                "dev",
                "sgwg0",
                "src",
                &format!("fd00:244:{me}::1"),
            ]);
        }
    }

    /// Runs `ip` in the namespace of a side.
    pub(crate) fn ip(&self, side: &str, arguments: &[&str]) -> String {
        self.try_ip(side, arguments)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, where a refusal is an answer too.
    pub(crate) fn try_ip(&self, side: &str, arguments: &[&str]) -> Result<String, String> {
        let node = self.name(side);
        try_run(&[&["-n", &node], arguments].concat())
    }

    /// Whether one ping to the other node's inner address is answered.
    pub(crate) fn ping(&self, side: &str, address: &str) -> bool {
        let mut ping = Command::new("ping");
        ping.args(["-c", "1", "-W", "2", "-n", "-q", address]);
        super::within(&self.path(side), move || {
            ping.output().expect("ping runs").status.success()
        })
    }

    pub(crate) fn path(&self, side: &str) -> PathBuf {
        PathBuf::from(format!("/run/netns/{}", self.name(side)))
    }

    fn name(&self, side: &str) -> String {
        format!("{}-{side}", self.prefix)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for side in ["a", "b", "w"] {
            // Best effort: a failing test must still show its own failure.
            let _ = Command::new("ip")
                .args(["netns", "del", &self.name(side)])
                .status();
        }
    }
}

fn run(arguments: &[&str]) -> String {
    try_run(arguments).unwrap_or_else(|error| panic!("{error}"))
}

fn try_run(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("ip").args(arguments).output().expect("ip runs");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let error = String::from_utf8_lossy(&output.stderr);
        Err(format!("ip {}: {error}", arguments.join(" ")))
    }
}
