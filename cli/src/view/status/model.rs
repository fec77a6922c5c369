//! The answers of all daemons, put together.

use serde::Serialize;
use signet_abi::Reason;
use signet_proto::agent::v1::{
    Custody, Parking, ProofRoom, StatusResponse as AgentStatus, SvidEntry, custody,
};
use signet_proto::ca::v1::StatusResponse as CaStatus;
use signet_proto::keyd::v1::StatusResponse as KeydStatus;
use signet_proto::mesh::v1::StatusResponse as MeshStatus;

use crate::text;
use crate::view::encryption::mode_name;

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
    pub(super) node: String,
    pub(super) node_id: u32,
    pub(super) trust_domain: String,
    pub(super) encryption: &'static str,
    pub(super) daemons: Vec<DaemonRow>,
    pub(super) certificates: Vec<CertificateRow>,
    pub(super) maps: Vec<MapRow>,
    pub(super) drops: Vec<DropRow>,
    pub(super) errors: Vec<String>,
}

/// One daemon.
#[derive(Debug, Serialize)]
pub(super) struct DaemonRow {
    pub(super) daemon: &'static str,
    pub(super) up: bool,
    pub(super) version: String,
    pub(super) detail: String,
}

/// One certificate.
#[derive(Debug, Serialize)]
pub(super) struct CertificateRow {
    pub(super) spiffe_id: String,
    pub(super) state: String,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// How full a kernel map is.
#[derive(Debug, Serialize)]
pub(super) struct MapRow {
    pub(super) name: String,
    pub(super) entries: u64,
    pub(super) capacity: u64,
}

/// Packets refused for one reason.
#[derive(Debug, Serialize)]
pub(super) struct DropRow {
    pub(super) reason: u32,
    pub(super) text: String,
    pub(super) direction: String,
    pub(super) packets: u64,
}

/// The CA.
#[derive(Debug, Serialize)]
pub(crate) struct CaPart {
    pub(super) version: String,
    pub(super) trust_domain: String,
    pub(super) revision: u64,
    /// Another authority is above: what signs here is no root.
    pub(super) intermediate: bool,
    pub(super) root_not_before: i64,
    pub(super) root_not_after: i64,
    pub(super) nodes: u32,
    pub(super) connected: u32,
    pub(super) registrations: u32,
    pub(super) issued: u64,
    pub(super) key_storage: String,
}

impl From<CaStatus> for CaPart {
    fn from(status: CaStatus) -> Self {
        Self {
            version: status.version,
            trust_domain: status.trust_domain,
            revision: status.revision,
            intermediate: status.upstream.is_some(),
            root_not_before: status.root_not_before,
            root_not_after: status.root_not_after,
            nodes: status.nodes,
            connected: status.connected,
            registrations: status.registrations,
            issued: status.issued,
            key_storage: status.key_storage,
        }
    }
}

impl CaPart {
    /// What its certificate is called.
    pub(super) fn certificate(&self) -> String {
        let what = if self.intermediate { "signer" } else { "root" };
        format!("{what} of {}", self.trust_domain)
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
            not_before: status.node_svid_not_before,
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
            "{connected}; {}, {}, {}; handshakes {} ok, {} failed; signals {}, {} refused; {}; {}",
            text::count(status.svids.into(), "SVID"),
            text::count(status.sessions.into(), "session"),
            text::count(status.proofs.into(), "proof"),
            status.handshakes_ok,
            status.handshakes_failed,
            status.signals_received,
            status.signals_refused,
            parking(status.parking.unwrap_or_default()),
            custody(&status.custody.unwrap_or_default()),
        );
        self.errors.extend(pressure(status.room.unwrap_or_default()));
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

/// That the room for proofs comes to an end.
fn pressure(room: ProofRoom) -> Option<String> {
    let then = match room.pressure {
        0 => return None,
        1..95 => "nothing is proven ahead of traffic".to_owned(),
        _ => format!(
            "proofs that are not used give way ({} did), newcomers without room are turned away ({} times)",
            room.gave_way, room.turned_away
        ),
    };
    Some(format!(
        "AUTH is at least {}% full: {then}; give signet-meshd a larger --map-auth",
        room.pressure
    ))
}

/// How packets fare that come before their proof.
fn parking(parking: Parking) -> String {
    let lost = parking.refused + parking.expired + parking.overflowed;
    if parking.open {
        format!(
            "{} waited, {} wait, {lost} in vain",
            text::count(parking.parked, "packet"),
            parking.packets
        )
    } else {
        "packets without a proof cannot wait".to_owned()
    }
}

/// What the agent keeps for its next life.
fn custody(custody: &Custody) -> String {
    match custody.state() {
        custody::State::Kept => format!("{} kept for a restart", text::count(custody.svids.into(), "SVID")),
        // Also an agent of an earlier version.
        custody::State::Unspecified | custody::State::Off => "no state kept".to_owned(),
        custody::State::Empty | custody::State::Unavailable => format!("no state kept: {}", custody.reason),
    }
}

/// Whether a counter counts packets that did not go on.
fn is_drop(number: u32) -> bool {
    let reason = u8::try_from(number).ok().and_then(Reason::from_u8);
    reason.is_some_and(|reason| !reason.passed() && reason != Reason::Parked)
}
