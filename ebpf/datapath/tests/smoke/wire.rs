//! A node and its workloads: namespaces joined by veth pairs. The test's thread is in the node.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use signet_abi::{Direction, Reason};
use signet_maps::{CounterName, MetricsMap};

use crate::support::scene::Family;

/// The namespaces; deleted with it.
pub(crate) struct Wire {
    name: String,
    node: String,
    workloads: Vec<String>,
}

impl Wire {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sgt-{}-{number}", std::process::id());
        let node = format!("{name}-n");
        ip(&["netns", "add", &node]);
        enter(&node);
        Self {
            name,
            node,
            workloads: Vec::new(),
        }
    }

    /// Adds a workload behind `interface` with these addresses, and says how it is called. Its routes lead to the host's
    /// addresses, which are the interface's, or those of its `bridge`.
    pub(crate) fn join(
        &mut self,
        interface: &str,
        bridge: Option<&str>,
        ends: &[(IpAddr, &[IpAddr])],
    ) -> String {
        let workload = format!("{}-w{}", self.name, self.workloads.len());
        ip(&["netns", "add", &workload]);
        self.workloads.push(workload.clone());
        ip(&[
            "link", "add", interface, "type", "veth", "peer", "name", "eth0", "netns", &workload,
        ]);
        if let Some(bridge) = bridge {
            ip(&["link", "set", interface, "master", bridge]);
        }
        for (host, own) in ends {
            add(&self.node, bridge.unwrap_or(interface), *host);
            for own in *own {
                add(&workload, "eth0", *own);
            }
        }
        ip(&["link", "set", interface, "up"]);
        ip(&["-n", &workload, "link", "set", "eth0", "up"]);
        for (host, _) in ends {
            let via = host.to_string();
            let family = if host.is_ipv4() { "-4" } else { "-6" };
            ip(&["-n", &workload, family, "route", "add", "default", "via", &via]);
        }
        workload
    }

    /// A socket of a workload.
    pub(crate) fn socket(&self, workload: &str, address: IpAddr, port: u16) -> UdpSocket {
        assert!(self.workloads.iter().any(|known| known == workload));
        std::thread::scope(|scope| {
            let made = scope.spawn(|| {
                enter(workload);
                socket(address, port)
            });
            made.join().unwrap()
        })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in self.workloads.iter().chain([&self.node]) {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

/// The node's address towards the first workload.
pub(crate) fn host(family: Family) -> IpAddr {
    match family {
        Family::V4 => "10.244.1.1".parse().unwrap(),
        Family::V6 => "fd00:244:1::1".parse().unwrap(),
    }
}

/// Nobody else is there who could have the address.
fn add(namespace: &str, device: &str, address: IpAddr) {
    let add = ["-n", namespace, "addr", "add", "dev", device];
    if address.is_ipv4() {
        ip(&[&add[..], &[&format!("{address}/24")]].concat());
    } else {
        ip(&[&add[..], &[&format!("{address}/64"), "nodad"]].concat());
    }
}

pub(crate) fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().unwrap();
    assert!(status.success(), "ip {arguments:?}");
}

fn enter(namespace: &str) {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

pub(crate) fn socket(address: IpAddr, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((address, port)).unwrap();
    // Only a packet that should have come is waited for.
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

pub(crate) fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = [0; 64];
    loop {
        match socket.recv_from(&mut bytes) {
            Ok((length, from)) => return (bytes[..length].to_vec(), from),
            // With a time limit, a signal ends the call even if the process goes on.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("nothing came: {error}"),
        }
    }
}

/// Packets that met this reason so far.
pub(crate) fn counted(metrics: &MetricsMap, reason: Reason, direction: Direction) -> u64 {
    metrics
        .get(CounterName::Reason(reason), direction)
        .unwrap()
        .packets
}

pub(crate) fn wait_until(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        if condition() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("it never came to be");
}
