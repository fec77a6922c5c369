//! The one screen of `signet status`.

use serde::Serialize;
use signet_abi::Reason;
use signet_proto::agent::v1::{StatusResponse as AgentStatus, SvidEntry};
use signet_proto::ca::v1::StatusResponse as CaStatus;
use signet_proto::keyd::v1::StatusResponse as KeydStatus;
use signet_proto::mesh::v1::StatusResponse as MeshStatus;

use super::encryption::mode_name;
use crate::output::{Cell, Page, Table, Tone, View};
use crate::text;

/// A daemon's answer, or why there is none.
#[derive(Debug)]
pub(crate) enum Part<T> {
    /// It answered.
    Up(T),
    /// It did not.
    Down(String),
}

impl<T> Part<T> {
    pub(crate) fn is_up(&self) -> bool {
        matches!(self, Self::Up(_))
    }
}

/// Everything on the screen.
#[derive(Debug, Serialize)]
pub(crate) struct StatusView {
    pub(crate) nodes: Vec<NodePart>,
    pub(crate) ca: Option<CaPart>,
}

/// One node.
#[derive(Debug, Serialize)]
pub(crate) struct NodePart {
    node: String,
    node_id: u32,
    trust_domain: String,
    encryption: &'static str,
    daemons: Vec<DaemonRow>,
    certificates: Vec<CertificateRow>,
    maps: Vec<MapRow>,
    drops: Vec<DropRow>,
    errors: Vec<String>,
}

/// One daemon.
#[derive(Debug, Serialize)]
struct DaemonRow {
    daemon: &'static str,
    up: bool,
    version: String,
    detail: String,
}

/// One certificate.
#[derive(Debug, Serialize)]
struct CertificateRow {
    spiffe_id: String,
    state: String,
    not_before: i64,
    not_after: i64,
}

/// How full a kernel map is.
#[derive(Debug, Serialize)]
struct MapRow {
    name: String,
    entries: u64,
    capacity: u64,
}

/// Packets refused for one reason.
#[derive(Debug, Serialize)]
struct DropRow {
    reason: u32,
    text: String,
    direction: String,
    packets: u64,
}

/// The CA.
#[derive(Debug, Serialize)]
pub(crate) struct CaPart {
    version: String,
    trust_domain: String,
    revision: u64,
    root_not_after: i64,
    nodes: u32,
    connected: u32,
    registrations: u32,
    issued: u64,
    key_storage: String,
}

impl From<CaStatus> for CaPart {
    fn from(status: CaStatus) -> Self {
        Self {
            version: status.version,
            trust_domain: status.trust_domain,
            revision: status.revision,
            root_not_after: status.root_not_after,
            nodes: status.nodes,
            connected: status.connected,
            registrations: status.registrations,
            issued: status.issued,
            key_storage: status.key_storage,
        }
    }
}

impl NodePart {
    /// Puts the answers of a node's daemons together.
    pub(crate) fn new(
        name: Option<String>,
        agent: Part<AgentStatus>,
        meshd: Part<MeshStatus>,
        keyd: Part<KeydStatus>,
        svids: &[SvidEntry],
    ) -> Self {
        let mut node = Self {
            node: name.unwrap_or_default(),
            node_id: 0,
            trust_domain: String::new(),
            encryption: "unknown",
            daemons: Vec::new(),
            certificates: Vec::new(),
            maps: Vec::new(),
            drops: Vec::new(),
            errors: Vec::new(),
        };
        node.take_agent(agent);
        node.take_meshd(meshd);
        node.take_keyd(keyd);
        node.certificates.extend(svids.iter().map(|svid| CertificateRow {
            spiffe_id: svid.spiffe_id.clone(),
            state: svid.state.clone(),
            not_before: svid.not_before,
            not_after: svid.not_after,
        }));
        if node.node.is_empty() {
            node.node.push('-');
        }
        node
    }

    /// Whether any daemon answered.
    pub(crate) fn any_up(&self) -> bool {
        self.daemons.iter().any(|daemon| daemon.up)
    }

    fn down(&mut self, daemon: &'static str, why: String) {
        let detail = why.lines().next().unwrap_or_default().to_owned();
        self.daemons.push(DaemonRow {
            daemon,
            up: false,
            version: String::new(),
            detail,
        });
        self.errors.push(why);
    }

    fn take_agent(&mut self, part: Part<AgentStatus>) {
        let status = match part {
            Part::Up(status) => status,
            Part::Down(why) => return self.down("signet-agent", why),
        };
        self.node.clone_from(&status.node);
        self.node_id = status.node_id;
        self.trust_domain.clone_from(&status.trust_domain);
        self.certificates.push(CertificateRow {
            spiffe_id: format!("spiffe://{}/signet/node/{}", status.trust_domain, status.node),
            state: if status.node_svid_not_after == 0 {
                "pending"
            } else {
                "ready"
            }
            .to_owned(),
            not_before: 0,
            not_after: status.node_svid_not_after,
        });
        let peers = [
            (status.ca_connected, "CA"),
            (status.mesh_connected, "meshd"),
            (status.keyd_connected, "keyd"),
        ];
        let missing: Vec<_> = peers
            .iter()
            .filter(|(connected, _)| !connected)
            .map(|(_, name)| *name)
            .collect();
        let connected = if missing.is_empty() {
            format!("connected, revision {}", status.revision)
        } else {
            format!("not connected to {}", missing.join(", "))
        };
        let detail = format!(
            "{connected}; {}, {}, {}; handshakes {} ok, {} failed; signals {}, {} refused",
            text::count(status.svids.into(), "SVID"),
            text::count(status.sessions.into(), "session"),
            text::count(status.proofs.into(), "proof"),
            status.handshakes_ok,
            status.handshakes_failed,
            status.signals_received,
            status.signals_refused,
        );
        self.errors
            .extend(Some(status.last_error).filter(|error| !error.is_empty()));
        self.daemons.push(DaemonRow {
            daemon: "signet-agent",
            up: true,
            version: status.version,
            detail,
        });
    }

    fn take_meshd(&mut self, part: Part<MeshStatus>) {
        let status = match part {
            Part::Up(status) => status,
            Part::Down(why) => return self.down("signet-meshd", why),
        };
        if self.node.is_empty() {
            self.node.clone_from(&status.node);
        }
        let detail = format!(
            "{} ({} here), {}, epoch {}; {} attached{}{}",
            text::count(status.endpoints.into(), "endpoint"),
            status.local_endpoints,
            if status.policies == 1 {
                "1 policy".to_owned()
            } else {
                format!("{} policies", status.policies)
            },
            status.policy_epoch,
            text::count(status.attached.len() as u64, "program"),
            if status.adopted {
                "; took over kernel state"
            } else {
                ""
            },
            if status.agent_connected {
                ""
            } else {
                "; not connected to the agent"
            },
        );
        self.maps = status
            .maps
            .into_iter()
            .map(|map| MapRow {
                name: map.name,
                entries: map.entries,
                capacity: map.capacity,
            })
            .collect();
        let drops = status
            .counters
            .into_iter()
            .filter(|counter| is_drop(counter.reason) && counter.packets > 0);
        self.drops = drops
            .map(|drop| DropRow {
                reason: drop.reason,
                text: drop.text,
                direction: drop.direction,
                packets: drop.packets,
            })
            .collect();
        self.errors.extend(status.errors);
        self.daemons.push(DaemonRow {
            daemon: "signet-meshd",
            up: true,
            version: status.version,
            detail,
        });
    }

    fn take_keyd(&mut self, part: Part<KeydStatus>) {
        let status = match part {
            Part::Up(status) => status,
            Part::Down(why) => return self.down("signet-keyd", why),
        };
        self.encryption = mode_name(status.mode());
        let sending = status.peers.iter().filter(|peer| peer.state == "sending").count();
        let detail = match self.encryption {
            "off" => "encryption off".to_owned(),
            mode => format!(
                "{mode} ({}) on {}, UDP {}; sends encrypted to {sending} of {}",
                status.implementation,
                status.device,
                status.port,
                text::count(status.peers.len() as u64, "peer"),
            ),
        };
        self.errors
            .extend(Some(status.last_error).filter(|error| !error.is_empty()));
        self.daemons.push(DaemonRow {
            daemon: "signet-keyd",
            up: true,
            version: status.version,
            detail,
        });
    }
}

/// Whether a counter counts packets that did not go on.
fn is_drop(number: u32) -> bool {
    let reason = u8::try_from(number).ok().and_then(Reason::from_u8);
    reason.is_some_and(|reason| !reason.passed() && reason != Reason::Parked)
}

impl View for StatusView {
    fn draw(&self, page: &mut Page) {
        self.draw_daemons(page);
        self.draw_certificates(page);
        self.draw_maps(page);
        self.draw_drops(page);
        for node in self.nodes.iter().filter(|node| !node.errors.is_empty()) {
            page.gap();
            for error in &node.errors {
                page.toned_line(format!("{}: {error}", node.node), Tone::Bad);
            }
        }
    }
}

impl StatusView {
    fn draw_daemons(&self, page: &mut Page) {
        let mut table = Table::new(["NODE", "DAEMON", "STATE", "VERSION", "DETAIL"]);
        if let Some(ca) = &self.ca {
            let detail = format!(
                "{}, revision {}; {} of {} connected, {}; {} issued; key in {}",
                ca.trust_domain,
                ca.revision,
                ca.connected,
                text::count(ca.nodes.into(), "node"),
                text::count(ca.registrations.into(), "registration"),
                text::count(ca.issued, "certificate"),
                ca.key_storage,
            );
            let cells = [
                "-".into(),
                "signet-ca".into(),
                up(true),
                ca.version.as_str().into(),
                detail.into(),
            ];
            table.row(cells);
        }
        for node in &self.nodes {
            let name = if node.node_id == 0 {
                node.node.clone()
            } else {
                format!("{} ({})", node.node, node.node_id)
            };
            for daemon in &node.daemons {
                let version = text::dash(&daemon.version);
                let detail = daemon.detail.as_str().into();
                table.row([
                    name.as_str().into(),
                    daemon.daemon.into(),
                    up(daemon.up),
                    version.into(),
                    detail,
                ]);
            }
        }
        page.table(table, "");
    }

    fn draw_certificates(&self, page: &mut Page) {
        page.gap();
        let mut table = Table::new(["CERTIFICATE", "NODE", "STATE", "AGE", "EXPIRES"]);
        if let Some(ca) = &self.ca {
            let expires = expiry(ca.root_not_after, page.now());
            table.row([
                format!("root of {}", ca.trust_domain).into(),
                "-".into(),
                "ready".into(),
                "-".into(),
                expires,
            ]);
        }
        for node in &self.nodes {
            for row in &node.certificates {
                let state = match row.state.as_str() {
                    "ready" => Cell::toned("ready", Tone::Good),
                    other => Cell::toned(other, Tone::Bad),
                };
                let age = if row.not_before == 0 {
                    "-".to_owned()
                } else {
                    text::span(page.now() - row.not_before)
                };
                let expires = expiry(row.not_after, page.now());
                table.row([
                    row.spiffe_id.as_str().into(),
                    node.node.as_str().into(),
                    state,
                    age.into(),
                    expires,
                ]);
            }
        }
        page.table(table, "no certificates");
    }

    /// One row per map, one column per node.
    fn draw_maps(&self, page: &mut Page) {
        let mut names: Vec<&str> = Vec::new();
        for map in self.nodes.iter().flat_map(|node| &node.maps) {
            if !names.contains(&map.name.as_str()) {
                names.push(&map.name);
            }
        }
        if names.is_empty() {
            return;
        }
        page.gap();
        let nodes = self.nodes.iter().map(|node| node.node.as_str());
        let mut table = Table::new(["MAP", "CAPACITY"].into_iter().chain(nodes));
        for name in names {
            let of = |node: &NodePart| {
                node.maps
                    .iter()
                    .find(|map| map.name == name)
                    .map(|map| (map.entries, map.capacity))
            };
            let capacity = self.nodes.iter().find_map(of).map_or(0, |(_, capacity)| capacity);
            let cells = self
                .nodes
                .iter()
                .map(|node| of(node).map_or_else(|| "-".into(), fill));
            table.row([name.into(), capacity.into()].into_iter().chain(cells));
        }
        page.table(table, "");
    }

    fn draw_drops(&self, page: &mut Page) {
        let mut table = Table::new(["DROPPED", "REASON", "NODE", "DIRECTION", "PACKETS"]);
        for node in &self.nodes {
            for drop in &node.drops {
                let reason = drop.reason.into();
                let (text, direction) = (drop.text.as_str().into(), drop.direction.as_str().into());
                table.row([
                    text,
                    reason,
                    node.node.as_str().into(),
                    direction,
                    drop.packets.into(),
                ]);
            }
        }
        page.gap();
        page.table(table, "nothing dropped");
    }
}

fn up(up: bool) -> Cell {
    if up {
        Cell::toned("up", Tone::Good)
    } else {
        Cell::toned("down", Tone::Bad)
    }
}

fn expiry(not_after: i64, now: i64) -> Cell {
    let tone = if not_after <= now { Tone::Bad } else { Tone::Plain };
    Cell::toned(text::when(not_after, now), tone)
}

fn fill((entries, capacity): (u64, u64)) -> Cell {
    let percent = entries.saturating_mul(100).checked_div(capacity).unwrap_or(0);
    let tone = match percent {
        0..75 => Tone::Plain,
        75..95 => Tone::Odd,
        _ => Tone::Bad,
    };
    Cell::toned(format!("{entries} ({percent}%)"), tone)
}

#[cfg(test)]
mod tests {
    use signet_proto::mesh::v1::{Counter, MapFill};

    use super::*;

    fn view() -> StatusView {
        let agent = AgentStatus {
            version: "0.1.0".into(),
            node: "n1".into(),
            node_id: 1,
            trust_domain: "cluster.local".into(),
            ca_connected: true,
            mesh_connected: true,
            revision: 7,
            node_svid_not_after: 4600,
            svids: 1,
            proofs: 2,
            ..AgentStatus::default()
        };
        let meshd = MeshStatus {
            version: "0.1.0".into(),
            endpoints: 5,
            local_endpoints: 2,
            policies: 1,
            agent_connected: true,
            maps: vec![MapFill {
                name: "AUTH".into(),
                entries: 96,
                capacity: 100,
            }],
            counters: vec![
                Counter {
                    reason: 0,
                    packets: 9,
                    ..Counter::default()
                },
                Counter {
                    reason: 133,
                    text: "policy denied".into(),
                    packets: 3,
                    ..Counter::default()
                },
            ],
            ..MeshStatus::default()
        };
        let svid = SvidEntry {
            spiffe_id: "spiffe://cluster.local/ns/a/sa/b".into(),
            state: "ready".into(),
            not_before: 900,
            not_after: 4500,
            ..SvidEntry::default()
        };
        let keyd = Part::Down("cannot reach signet-keyd at /x: gone\nis it running?".into());
        let node = NodePart::new(None, Part::Up(agent), Part::Up(meshd), keyd, &[svid]);
        StatusView {
            nodes: vec![node],
            ca: None,
        }
    }

    #[test]
    fn one_screen_shows_daemons_certificates_maps_and_drops() {
        let mut page = Page::new(1000, false);
        view().draw(&mut page);
        let expected = "\
NODE    DAEMON        STATE  VERSION  DETAIL
n1 (1)  signet-agent  up     0.1.0    not connected to keyd; 1 SVID, 0 sessions, 2 proofs; handshakes 0 ok, 0 failed; signals 0, 0 refused
n1 (1)  signet-meshd  up     0.1.0    5 endpoints (2 here), 1 policy, epoch 0; 0 programs attached
n1 (1)  signet-keyd   down   -        cannot reach signet-keyd at /x: gone

CERTIFICATE                            NODE  STATE  AGE    EXPIRES
spiffe://cluster.local/signet/node/n1  n1    ready  -      in 1h00m
spiffe://cluster.local/ns/a/sa/b       n1    ready  1m40s  in 58m20s

MAP   CAPACITY  n1
AUTH  100       96 (96%)

DROPPED        REASON  NODE  DIRECTION  PACKETS
policy denied  133     n1               3

n1: cannot reach signet-keyd at /x: gone
is it running?
";
        let shown = page.finish();
        assert_eq!(shown, expected);
    }

    #[test]
    fn json_has_the_numbers_and_not_the_words() {
        let json = serde_json::to_value(view()).unwrap();
        assert_eq!(json["nodes"][0]["node_id"], 1);
        assert_eq!(json["nodes"][0]["maps"][0]["capacity"], 100);
        assert_eq!(json["nodes"][0]["daemons"][2]["up"], false);
    }
}
