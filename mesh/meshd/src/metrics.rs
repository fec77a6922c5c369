//! The mesh daemon's numbers for Prometheus.

use signet_metrics::Page;
use signet_proto::mesh::v1::{Counter, StatusResponse};

/// What `Status` says, as metrics.
pub(crate) fn page(status: &StatusResponse) -> Page {
    let mut page = Page::new("signet_meshd", &status.version);
    page.gauge(
        "agent_connected",
        "1 while signet-agent is connected",
        i64::from(status.agent_connected),
    );
    page.gauge(
        "errors",
        "Errors that `signet status` shows, of files, interfaces and maps",
        status.errors.len(),
    );
    page.gauge(
        "policy_epoch",
        "Grows with every change of what is enforced",
        status.policy_epoch,
    );
    let elsewhere = status.endpoints.saturating_sub(status.local_endpoints);
    let endpoints = [("local", status.local_endpoints), ("remote", elsewhere)];
    page.gauges(
        "endpoints",
        "Workloads, on this node and on others",
        endpoints.map(|(scope, count)| (vec![("scope", scope.to_owned())], count)),
    );
    page.gauge("policies", "Policies", status.policies);
    page.gauge(
        "programs",
        "Kernel programs that are attached",
        status.attached.len(),
    );
    let map = |name: &str| vec![("map", name.to_owned())];
    page.gauges(
        "map_entries",
        "Entries of a kernel map",
        status.maps.iter().map(|fill| (map(&fill.name), fill.entries)),
    );
    page.gauges(
        "map_capacity",
        "Most entries of a kernel map",
        status.maps.iter().map(|fill| (map(&fill.name), fill.capacity)),
    );
    let by_reason = |value: fn(&Counter) -> u64| {
        let labels = |counter: &Counter| {
            vec![
                ("reason", counter.reason.to_string()),
                ("text", counter.text.clone()),
                ("direction", counter.direction.clone()),
            ]
        };
        let counters = status.counters.iter();
        counters.map(move |counter| (labels(counter), value(counter)))
    };
    page.counters(
        "packets",
        "What the kernel programs counted, by reason",
        by_reason(|counter| counter.packets),
    );
    page.counters("bytes", "The same in bytes", by_reason(|counter| counter.bytes));
    page
}

#[cfg(test)]
mod tests {
    use signet_proto::mesh::v1::MapFill;

    use super::*;

    #[test]
    fn what_status_says_is_on_the_page() {
        let status = StatusResponse {
            endpoints: 5,
            local_endpoints: 2,
            maps: vec![MapFill {
                name: "AUTH".to_owned(),
                entries: 3,
                capacity: 64,
            }],
            counters: vec![Counter {
                reason: 189,
                text: "authentication required".to_owned(),
                direction: "ingress".to_owned(),
                packets: 7,
                bytes: 420,
            }],
            ..StatusResponse::default()
        };
        let text = page(&status).to_string();
        for line in [
            "signet_meshd_endpoints{scope=\"remote\"} 3",
            "signet_meshd_map_entries{map=\"AUTH\"} 3",
            "signet_meshd_packets_total{reason=\"189\",text=\"authentication required\",direction=\"ingress\"} 7",
            "signet_meshd_bytes_total{reason=\"189\",text=\"authentication required\",direction=\"ingress\"} 420",
        ] {
            assert!(text.lines().any(|is| is == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn every_metric_is_documented_and_every_documented_one_is_there() {
        let status = StatusResponse {
            maps: vec![MapFill::default()],
            counters: vec![Counter::default()],
            ..StatusResponse::default()
        };
        let text = page(&status).to_string();
        let exported = signet_metrics::exported(&text, "signet_meshd");
        let named = |page| signet_metrics::names(page, "signet_meshd");
        assert_eq!(
            named(include_str!("../../../docs/reference/metrics.md")),
            exported
        );
        let unknown = &named(include_str!("../../../docs/operations.md")) - &exported;
        assert!(unknown.is_empty(), "docs/operations.md speaks of {unknown:?}");
    }
}
