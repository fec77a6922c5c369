//! How the screen looks.

use super::model::{NodePart, StatusView};
use crate::output::{Cell, Page, Table, Tone, View};
use crate::text;

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
        let mut table = Table::new(["CERTIFICATE", "NODE", "STATE", "VALID SINCE", "EXPIRES"]);
        if let Some(ca) = &self.ca {
            let expires = expiry(ca.root_not_after, page.now());
            table.row([
                ca.certificate().into(),
                "-".into(),
                "ready".into(),
                since(ca.root_not_before, page.now()).into(),
                expires,
            ]);
        }
        for node in &self.nodes {
            for row in &node.certificates {
                let state = match row.state.as_str() {
                    "ready" => Cell::toned("ready", Tone::Good),
                    other => Cell::toned(other, Tone::Bad),
                };
                let age = since(row.not_before, page.now());
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

/// A daemon of an earlier version does not say.
fn since(not_before: i64, now: i64) -> String {
    if not_before == 0 {
        "-".to_owned()
    } else {
        text::when(not_before, now)
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
    use signet_proto::agent::v1::{ProofRoom, StatusResponse as AgentStatus, SvidEntry};
    use signet_proto::mesh::v1::{Counter, MapFill, StatusResponse as MeshStatus};

    use super::*;
    use crate::view::status::Part;

    fn view() -> StatusView {
        let agent = AgentStatus {
            version: "0.1.0".into(),
            node: "n1".into(),
            node_id: 1,
            trust_domain: "cluster.local".into(),
            ca_connected: true,
            mesh_connected: true,
            revision: 7,
            node_svid_not_before: 940,
            node_svid_not_after: 4600,
            svids: 1,
            proofs: 2,
            room: Some(ProofRoom {
                slots: 100,
                pressure: 95,
                gave_way: 7,
                turned_away: 3,
            }),
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
n1 (1)  signet-agent  up     0.1.0    not connected to keyd; 1 SVID, 0 sessions, 2 proofs; handshakes 0 ok, 0 failed; signals 0, 0 refused; packets without a proof cannot wait; no state kept
n1 (1)  signet-meshd  up     0.1.0    5 endpoints (2 here), 1 policy, epoch 0; 0 programs attached
n1 (1)  signet-keyd   down   -        cannot reach signet-keyd at /x: gone

CERTIFICATE                            NODE  STATE  VALID SINCE  EXPIRES
spiffe://cluster.local/signet/node/n1  n1    ready  1m00s ago    in 1h00m
spiffe://cluster.local/ns/a/sa/b       n1    ready  1m40s ago    in 58m20s

MAP   CAPACITY  n1
AUTH  100       96 (96%)

DROPPED        REASON  NODE  DIRECTION  PACKETS
policy denied  133     n1               3

n1: AUTH is at least 95% full: proofs that are not used give way (7 did), newcomers without room are turned away (3 times); give signet-meshd a larger --map-auth
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
