//! Encryption between nodes.

use std::fmt::{self, Write as _};

use serde::Serialize;
use signet_proto::keyd::v1::{PeerStatus, StatusResponse};
use signet_proto::view::v1::EncryptionMode;

use crate::failure::Failure;
use crate::output::{Cell, Page, Table, Tone, View};
use crate::text;

/// The word for a mode.
pub(crate) const fn mode_name(mode: EncryptionMode) -> &'static str {
    match mode {
        EncryptionMode::Unspecified | EncryptionMode::Off => "off",
        EncryptionMode::Wireguard => "wireguard",
    }
}

/// Every node asked.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct EncryptionView {
    pub(crate) nodes: Vec<NodeEncryption>,
}

/// One node.
#[derive(Debug, Serialize)]
pub(crate) struct NodeEncryption {
    pub(crate) node: String,
    mode: &'static str,
    implementation: String,
    device: String,
    port: u32,
    public_key: String,
    /// Other nodes of the cluster.
    others: usize,
    peers: Vec<PeerRow>,
    last_error: String,
}

/// One tunnel.
#[derive(Debug, Serialize)]
struct PeerRow {
    node: String,
    node_id: u32,
    endpoint: String,
    state: String,
    last_handshake: i64,
    rx_bytes: u64,
    tx_bytes: u64,
    allowed_ips: Vec<String>,
}

impl NodeEncryption {
    pub(crate) fn new(node: &str, others: usize, status: StatusResponse) -> Self {
        Self {
            node: node.to_owned(),
            mode: mode_name(status.mode()),
            implementation: status.implementation,
            device: status.device,
            port: status.port,
            public_key: status.public_key,
            others,
            peers: status.peers.into_iter().map(PeerRow::from).collect(),
            last_error: status.last_error,
        }
    }
}

impl From<PeerStatus> for PeerRow {
    fn from(peer: PeerStatus) -> Self {
        Self {
            node: peer.node,
            node_id: peer.node_id,
            endpoint: peer.endpoint,
            state: peer.state,
            last_handshake: peer.last_handshake,
            rx_bytes: peer.rx_bytes,
            tx_bytes: peer.tx_bytes,
            allowed_ips: peer.allowed_ips,
        }
    }
}

/// Whether a node has taken the last step of a switch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It has.
    Yes,
    /// What it still has to do.
    Not(String),
}

/// Judges a node: on means encrypted towards every other node, off means no tunnel left.
pub(crate) fn settled(mode: EncryptionMode, node: &NodeEncryption) -> Settled {
    let wanted = mode_name(mode);
    let because = if node.last_error.is_empty() {
        String::new()
    } else {
        format!(" ({})", node.last_error)
    };
    if node.mode != wanted {
        return Settled::Not(format!("is still {}{because}", node.mode));
    }
    match mode {
        EncryptionMode::Wireguard => {
            let sending = node.peers.iter().filter(|peer| peer.state == "sending").count();
            if sending >= node.others {
                return Settled::Yes;
            }
            Settled::Not(format!(
                "sends encrypted to {sending} of {} nodes{because}",
                node.others
            ))
        }
        EncryptionMode::Off | EncryptionMode::Unspecified if node.peers.is_empty() => Settled::Yes,
        EncryptionMode::Off | EncryptionMode::Unspecified => Settled::Not(format!(
            "still has {}{because}",
            text::count(node.peers.len() as u64, "tunnel")
        )),
    }
}

/// A node that is not where it should be.
#[derive(Debug)]
pub(crate) struct Behind {
    node: String,
    what: String,
    /// It does not answer.
    pub(crate) is_silent: bool,
}

impl Behind {
    /// It has steps before it.
    pub(crate) fn waiting(node: String, what: String) -> Self {
        Self {
            node,
            what,
            is_silent: false,
        }
    }

    /// Nobody can say where it is.
    pub(crate) fn silent(node: String, failure: &Failure) -> Self {
        let what = failure.to_string();
        Self {
            node,
            what: what.lines().next().unwrap_or_default().to_owned(),
            is_silent: true,
        }
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.node, self.what)
    }
}

/// What has happened once the CA has answered.
pub(crate) fn taken(mode: EncryptionMode) -> String {
    format!("the CA has taken it: encryption is to be {}", mode_name(mode))
}

/// What took effect and what did not yet.
pub(crate) fn unfinished(mode: EncryptionMode, done: usize, behind: &[Behind], seconds: u64) -> String {
    let mut text = format!(
        "{}, and that stands. After {seconds} s {done} of {} are done; not yet:",
        taken(mode),
        text::count((done + behind.len()) as u64, "node")
    );
    for node in behind {
        // Writing to a String does not fail.
        let _ = write!(text, "\n  {node}");
    }
    text.push_str("\nThey follow by themselves once they can; `signet encryption status` shows it.");
    text
}

impl View for EncryptionView {
    fn draw(&self, page: &mut Page) {
        let mut nodes = Table::new([
            "NODE",
            "MODE",
            "IMPLEMENTATION",
            "DEVICE",
            "UDP PORT",
            "PUBLIC KEY",
            "ERROR",
        ]);
        let headings = [
            "NODE",
            "PEER",
            "ENDPOINT",
            "STATE",
            "HANDSHAKE",
            "RECEIVED",
            "SENT",
            "ALLOWED IPS",
        ];
        let mut peers = Table::new(headings);
        for node in &self.nodes {
            let tone = if node.mode == "off" { Tone::Odd } else { Tone::Good };
            nodes.row([
                node.node.as_str().into(),
                Cell::toned(node.mode, tone),
                text::dash(&node.implementation).into(),
                text::dash(&node.device).into(),
                if node.port == 0 {
                    "-".into()
                } else {
                    node.port.into()
                },
                text::dash(&node.public_key).into(),
                text::dash(&node.last_error).into(),
            ]);
            for peer in &node.peers {
                let tone = if peer.state == "sending" {
                    Tone::Good
                } else {
                    Tone::Odd
                };
                peers.row([
                    node.node.as_str().into(),
                    peer.node.as_str().into(),
                    peer.endpoint.as_str().into(),
                    Cell::toned(peer.state.as_str(), tone),
                    text::when(peer.last_handshake, page.now()).into(),
                    text::bytes(peer.rx_bytes).into(),
                    text::bytes(peer.tx_bytes).into(),
                    peer.allowed_ips.join(", ").into(),
                ]);
            }
        }
        page.table(nodes, "");
        page.gap();
        page.table(peers, "no tunnels");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(mode: EncryptionMode, states: &[&str]) -> NodeEncryption {
        let peer = |state: &&str| PeerStatus {
            node: "n2".into(),
            state: (*state).into(),
            ..PeerStatus::default()
        };
        let peers = states.iter().map(peer).collect();
        NodeEncryption::new(
            "n1",
            2,
            StatusResponse {
                mode: mode.into(),
                peers,
                ..StatusResponse::default()
            },
        )
    }

    #[test]
    fn on_means_that_every_other_node_is_sent_to_encrypted() {
        let on = EncryptionMode::Wireguard;
        assert_eq!(settled(on, &node(on, &["sending", "sending"])), Settled::Yes);
        let waiting = Settled::Not("sends encrypted to 1 of 2 nodes".into());
        assert_eq!(settled(on, &node(on, &["sending", "receiving"])), waiting);
        assert_eq!(
            settled(on, &node(EncryptionMode::Off, &[])),
            Settled::Not("is still off".into())
        );
    }

    #[test]
    fn what_took_effect_is_told_from_what_did_not_yet() {
        let silent = Failure::Failed("cannot reach signet-keyd at /x: gone\nis it running?".into());
        let behind = [
            Behind::waiting("n2".into(), "sends encrypted to 1 of 2 nodes".into()),
            Behind::silent("n3".into(), &silent),
        ];
        assert_eq!(
            unfinished(EncryptionMode::Wireguard, 1, &behind, 60),
            "the CA has taken it: encryption is to be wireguard, and that stands. After 60 s 1 of 3 nodes are done; not yet:\n  \
             n2 sends encrypted to 1 of 2 nodes\n  n3 cannot reach signet-keyd at /x: gone\n\
             They follow by themselves once they can; `signet encryption status` shows it."
        );
    }

    #[test]
    fn off_means_that_no_tunnel_is_left() {
        let off = EncryptionMode::Off;
        assert_eq!(settled(off, &node(off, &[])), Settled::Yes);
        assert_eq!(
            settled(off, &node(off, &["receiving"])),
            Settled::Not("still has 1 tunnel".into())
        );
    }

    #[test]
    fn nodes_and_tunnels_are_two_tables() {
        let mut page = Page::new(0, false);
        EncryptionView {
            nodes: vec![node(EncryptionMode::Off, &[])],
        }
        .draw(&mut page);
        let expected = "\
NODE  MODE  IMPLEMENTATION  DEVICE  UDP PORT  PUBLIC KEY  ERROR
n1    off   -               -       -         -           -

no tunnels
";
        assert_eq!(page.finish(), expected);
    }
}
