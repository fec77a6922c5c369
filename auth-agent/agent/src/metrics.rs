//! The agent's numbers for Prometheus.

use std::net::SocketAddr;

use anyhow::Context as _;
use signet_metrics::{Buckets, Labels, Page, serve};
use signet_proto::agent::v1::agent_service_server::AgentService as _;
use signet_proto::agent::v1::{
    HandshakeLatency, Handshakes, LeaseStatus, Parking, Preauth, ProofRoom, StatusRequest, StatusResponse,
};
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
    room(&mut page, &status.room.unwrap_or_default());
    let by_result = [("ok", status.handshakes_ok), ("failed", status.handshakes_failed)];
    page.counters(
        "handshakes",
        "Pair handshakes, by result",
        by_result.map(|(result, count)| (label("result", result), count)),
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
    parking(&mut page, &status.parking.unwrap_or_default());
    leases(&mut page, &status.leases.unwrap_or_default());
    handshakes(&mut page, &status.handshakes.clone().unwrap_or_default());
    preauth(&mut page, &status.preauth.clone().unwrap_or_default());
    page
}

fn room(page: &mut Page, room: &ProofRoom) {
    page.gauge(
        "proof_slots",
        "Proofs that the kernel has room for; 0: not known yet",
        room.slots,
    );
    page.gauge(
        "proof_pressure_percent",
        "80 or 95 while at least so many percent of the room for proofs are taken; 0: less",
        room.pressure,
    );
    page.counter(
        "proofs_given_way",
        "Proofs that no packet had passed for 30 s or more and that gave way to others",
        room.gave_way,
    );
    page.counter(
        "proofs_turned_away",
        "Pairs that no proof was made for, since the kernel's map was full of proofs that were at work",
        room.turned_away,
    );
}

fn parking(page: &mut Page, parking: &Parking) {
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
}

fn handshakes(page: &mut Page, handshakes: &Handshakes) {
    let buckets = |latency: &HandshakeLatency| {
        let ends = handshakes.buckets.iter().map(|end| seconds(*end, 1e6));
        Buckets {
            counts: ends
                .chain([f64::INFINITY])
                .zip(latency.counts.iter().copied())
                .collect(),
            sum: seconds(latency.sum, 1e9),
        }
    };
    let latencies = handshakes.latencies.iter();
    page.histograms(
        "handshake_seconds",
        "From signal to proof: the nodes had no session, had one, are one; nobody had asked yet; the proof before was to end",
        latencies.map(|latency| (label("how", &latency.how), buckets(latency))),
    );
    let failures = handshakes.failures.iter();
    page.counters(
        "handshake_failures",
        "Handshakes of ours that gave no proof, by cause",
        failures.map(|failure| (label("cause", &failure.cause), failure.count)),
    );
    let under_way = [
        ("contact", handshakes.contacts_in_flight),
        ("renewal", handshakes.renewals_in_flight),
        ("preauth", handshakes.ahead_in_flight),
    ];
    page.gauges(
        "handshakes_in_flight",
        "Handshakes of ours that are under way: somebody waits, the proof before is to end, nobody has asked yet",
        under_way.map(|(what, count)| (label("for", what), i64::from(count))),
    );
    let ages = ["1m", "10m", "1h", "+Inf"].into_iter().zip(&handshakes.ages);
    page.gauges(
        "proofs_by_age",
        "Pairs with a proof, by how long ago it was made: less than this, and not less than the one before",
        ages.map(|(under, count)| (label("under", under), i64::from(*count))),
    );
}

fn preauth(page: &mut Page, preauth: &Preauth) {
    let missing = preauth.waiting.saturating_add(preauth.in_flight);
    let ready = preauth
        .waiting
        .saturating_sub(preauth.backing_off)
        .saturating_sub(preauth.absent);
    let pairs = [
        ("proven", i64::from(preauth.chosen.saturating_sub(missing))),
        ("in-flight", i64::from(preauth.in_flight)),
        ("waiting", i64::from(ready)),
        ("backing-off", i64::from(preauth.backing_off)),
        ("absent", i64::from(preauth.absent)),
        ("left-out", i64::try_from(preauth.left_out).unwrap_or(i64::MAX)),
    ];
    page.gauges(
        "preauth_pairs",
        "Pairs that are to be proven before their first packet, by how they stand; left-out: there is no room for them",
        pairs.map(|(state, count)| (label("state", state), count)),
    );
    let results = [("ok", preauth.proven), ("failed", preauth.failed)];
    page.counters(
        "preauth_handshakes",
        "Handshakes that were begun before anybody asked, by result",
        results.map(|(result, count)| (label("result", result), count)),
    );
}

fn seconds(number: u64, per_second: f64) -> f64 {
    // Beyond 2^53 the last digits of a sum of times are of no interest.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let number = number as f64;
    number / per_second
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
    use signet_proto::agent::v1::HandshakeFailures;

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
        let handshakes = Handshakes {
            buckets: vec![1],
            latencies: vec![HandshakeLatency {
                how: "warm".to_owned(),
                counts: vec![1, 0],
                sum: 1,
            }],
            failures: vec![HandshakeFailures {
                cause: "busy".to_owned(),
                count: 1,
            }],
            ages: vec![0; 4],
            ..Handshakes::default()
        };
        let status = StatusResponse {
            handshakes: Some(handshakes),
            ..StatusResponse::default()
        };
        let text = page(&status).to_string();
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
