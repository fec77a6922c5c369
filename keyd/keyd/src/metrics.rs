//! The key daemon's numbers for Prometheus.

use signet_metrics::{Labels, Page};
use signet_proto::keyd::v1::{PeerStatus, StatusResponse};
use signet_proto::view::v1::EncryptionMode;

/// States of a peer, as `Status` names them.
const STATES: [&str; 4] = ["receiving", "sending", "rekeying", "held"];

/// What `Status` says, as metrics.
pub(crate) fn page(status: &StatusResponse) -> Page {
    let mut page = Page::new("signet_keyd", &status.version);
    page.gauge(
        "encryption",
        "1 while the node's encryption is on",
        i64::from(status.mode() == EncryptionMode::Wireguard),
    );
    page.gauge(
        "error",
        "1 while `signet encryption status` shows an error",
        i64::from(!status.last_error.is_empty()),
    );
    page.gauges(
        "peers",
        "Nodes, by how far encryption with them is",
        STATES.map(|state| {
            let count = status.peers.iter().filter(|peer| peer.state == state).count();
            (vec![("state", state.to_owned())], count)
        }),
    );
    let live = |peer: &&PeerStatus| peer.last_handshake != 0;
    page.gauges(
        "last_handshake_timestamp_seconds",
        "When WireGuard last agreed on keys with the node; absent while it has none",
        status
            .peers
            .iter()
            .filter(live)
            .map(|peer| (node(peer), peer.last_handshake)),
    );
    page.counters(
        "received_bytes",
        "Encrypted bytes from the node",
        status.peers.iter().map(|peer| (node(peer), peer.rx_bytes)),
    );
    page.counters(
        "sent_bytes",
        "Encrypted bytes to the node",
        status.peers.iter().map(|peer| (node(peer), peer.tx_bytes)),
    );
    page
}

fn node(peer: &PeerStatus) -> Labels {
    vec![("node", peer.node.clone())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_status_says_is_on_the_page() {
        let peer = PeerStatus {
            node: "n2".to_owned(),
            state: "sending".to_owned(),
            rx_bytes: 9,
            ..PeerStatus::default()
        };
        let status = StatusResponse {
            mode: EncryptionMode::Wireguard.into(),
            peers: vec![peer],
            ..StatusResponse::default()
        };
        let text = page(&status).to_string();
        for line in [
            "signet_keyd_encryption 1",
            "signet_keyd_peers{state=\"sending\"} 1",
            "signet_keyd_peers{state=\"held\"} 0",
            "signet_keyd_received_bytes_total{node=\"n2\"} 9",
        ] {
            assert!(text.lines().any(|is| is == line), "no {line} in\n{text}");
        }
        assert!(!text.contains("signet_keyd_last_handshake_timestamp_seconds{"));
    }

    #[test]
    fn every_metric_is_documented_and_every_documented_one_is_there() {
        let peer = PeerStatus {
            last_handshake: 1,
            ..PeerStatus::default()
        };
        let status = StatusResponse {
            peers: vec![peer],
            ..StatusResponse::default()
        };
        let text = page(&status).to_string();
        let exported = signet_metrics::exported(&text, "signet_keyd");
        let named = |page| signet_metrics::names(page, "signet_keyd");
        assert_eq!(
            named(include_str!("../../../docs/reference/metrics.md")),
            exported
        );
        let unknown = &named(include_str!("../../../docs/operations.md")) - &exported;
        assert!(unknown.is_empty(), "docs/operations.md speaks of {unknown:?}");
    }
}
