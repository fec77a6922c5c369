//! The agent's numbers for Prometheus.

use std::net::SocketAddr;

use anyhow::Context as _;
use signet_metrics::{Labels, Page, serve};
use signet_proto::agent::v1::agent_service_server::AgentService as _;
use signet_proto::agent::v1::{LeaseStatus, StatusRequest, StatusResponse};
use tokio::net::TcpListener;
use tonic::Request;

use crate::service::Service;

/// Listens for scrapes, and answers them in the future that it returns, which does not end.
///
/// # Errors
/// The address cannot be used.
pub async fn listen(
    address: SocketAddr,
    service: Service,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {address} for metrics"))?;
    Ok(serve(listener, move || {
        let service = service.clone();
        async move {
            let status = service.status(Request::new(StatusRequest {})).await.ok()?;
            Some(page(status.get_ref()))
        }
    }))
}

/// What `Status` says, as metrics.
pub fn page(status: &StatusResponse) -> Page {
    let mut page = Page::new("signet_agent", &status.version);
    let parties = [
        ("signet-ca", status.ca_connected),
        ("signet-meshd", status.mesh_connected),
        ("signet-keyd", status.keyd_connected),
    ];
    page.gauges(
        "connected",
        "1 while the agent is connected to this daemon",
        parties.map(|(to, connected)| (label("to", to), i64::from(connected))),
    );
    page.gauge(
        "view_revision",
        "Revision of the registry that the agent has",
        status.revision,
    );
    page.gauge(
        "node_svid_expiry_timestamp_seconds",
        "When the node's own SVID ends; 0: it has none",
        status.node_svid_not_after,
    );
    page.gauge(
        "svids",
        "Workloads' SVIDs that are ready on this node",
        status.svids,
    );
    page.gauge("sessions", "Sessions with other nodes", status.sessions);
    page.gauge("proofs", "Pairs with a proof", status.proofs);
    let handshakes = [("ok", status.handshakes_ok), ("failed", status.handshakes_failed)];
    page.counters(
        "handshakes",
        "Pair handshakes, by result",
        handshakes.map(|(result, count)| (label("result", result), count)),
    );
    page.counter(
        "signals",
        "Pairs for which the kernel asked for a proof",
        status.signals_received,
    );
    page.counter(
        "signals_refused",
        "Of these, the ones that found no room or no pair to prove",
        status.signals_refused,
    );
    let parking = status.parking.unwrap_or_default();
    page.gauge(
        "parking_open",
        "1 while packets without a proof can wait",
        i64::from(parking.open),
    );
    page.gauge(
        "parking_pairs",
        "Pairs whose packets wait for a proof",
        parking.pairs,
    );
    page.gauge(
        "parking_packets",
        "Packets that wait for a proof",
        parking.packets,
    );
    page.gauge("parking_bytes", "Their bytes", parking.bytes);
    let ends = [
        ("released", parking.released),
        ("refused", parking.refused),
        ("expired", parking.expired),
        ("overflowed", parking.overflowed),
    ];
    page.counters(
        "parked_packets",
        "Packets that waited for a proof, by what became of them: the proof came; it cannot come; it did not come in time; no room",
        ends.map(|(end, count)| (label("end", end), count)),
    );
    let answers = [("told", parking.told), ("untold", parking.untold)];
    page.counters(
        "refused_senders",
        "Packets that there is no proof for and whose rule says onFailure: reject, by whether their sender was told; untold: too many at once",
        answers.map(|(answer, count)| (label("answer", answer), count)),
    );
    leases(&mut page, &status.leases.unwrap_or_default());
    page
}

fn leases(page: &mut Page, leases: &LeaseStatus) {
    page.gauge(
        "leases_held",
        "Addresses of other nodes that are believed while these nodes say so",
        leases.held,
    );
    page.gauge(
        "leases_granted",
        "Addresses that this node tells other nodes of",
        leases.granted,
    );
    let nodes = [("live", leases.nodes), ("lapsed", leases.lapsed_nodes)];
    page.gauges(
        "lease_nodes",
        "Nodes that have granted leases: their word counts, or they have not renewed it",
        nodes.map(|(state, count)| (label("state", state), i64::from(count))),
    );
    page.gauge(
        "lease_conflicts",
        "Addresses that several nodes claim: none is believed",
        leases.conflicts,
    );
    page.gauge(
        "leases_refused",
        "Claims of other nodes that are not believed, conflicts included",
        leases.refused,
    );
    page.gauge(
        "leases_without_room",
        "Leases that the kernel's map has no room for",
        leases.without_room,
    );
    page.counter(
        "lease_grants_received",
        "Times that other nodes have renewed their leases",
        leases.grants_received,
    );
    page.counter(
        "lease_lapses",
        "Times that a node has not renewed its leases in time",
        leases.lapses,
    );
    page.counter(
        "lease_refusals",
        "Claims of other nodes that were not believed when they came",
        leases.refusals,
    );
}

fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_status_says_is_on_the_page() {
        let status = StatusResponse {
            version: "1".to_owned(),
            ca_connected: true,
            handshakes_failed: 4,
            proofs: 2,
            ..StatusResponse::default()
        };
        let text = page(&status).to_string();
        for line in [
            "signet_agent_connected{to=\"signet-ca\"} 1",
            "signet_agent_connected{to=\"signet-keyd\"} 0",
            "signet_agent_handshakes_total{result=\"failed\"} 4",
            "signet_agent_proofs 2",
        ] {
            assert!(text.lines().any(|is| is == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn every_metric_is_documented_and_every_documented_one_is_there() {
        let text = page(&StatusResponse::default()).to_string();
        let exported = signet_metrics::exported(&text, "signet_agent");
        let named = |page| signet_metrics::names(page, "signet_agent");
        assert_eq!(
            named(include_str!("../../../docs/reference/metrics.md")),
            exported
        );
        let unknown = &named(include_str!("../../../docs/operations.md")) - &exported;
        assert!(unknown.is_empty(), "docs/operations.md speaks of {unknown:?}");
    }
}
