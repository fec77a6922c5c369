//! The CA's numbers for Prometheus.

use signet_metrics::Page;
use signet_proto::ca::v1::lapse::Kind;
use signet_proto::ca::v1::{Lapse, OutageBudget, StatusResponse};
use signet_proto::view::v1::EncryptionMode;
use signet_spiffe::UnixTime;

use crate::clock::unix_seconds;

/// What `Status` says, as metrics of the moment `now`.
pub(crate) fn page(status: &StatusResponse, now: UnixTime) -> Page {
    let mut page = Page::new("signet_ca", &status.version);
    page.gauge("revision", "Revision of the registry", status.revision);
    page.gauge("nodes", "Nodes that have attested", status.nodes);
    page.gauge(
        "nodes_connected",
        "Nodes whose agents are connected to this CA",
        status.connected,
    );
    page.gauge("registrations", "Registered workloads", status.registrations);
    page.gauge(
        "root_expiry_timestamp_seconds",
        "When the signing certificate ends",
        status.root_not_after,
    );
    let encrypts = status
        .cluster
        .as_ref()
        .is_some_and(|cluster| cluster.encryption() != EncryptionMode::Off);
    page.gauge(
        "encryption",
        "1 while the cluster is to encrypt",
        i64::from(encrypts),
    );
    let issued = [("x509", status.issued), ("jwt", status.issued_jwt)];
    page.counters(
        "svids_issued",
        "SVIDs issued since the start, by kind",
        issued.map(|(kind, count)| (vec![("kind", kind.to_owned())], count)),
    );
    above(&mut page, status);
    outage(
        &mut page,
        &status.outage.clone().unwrap_or_default(),
        unix_seconds(now),
    );
    page
}

/// Of a CA above, if it is another Signet CA.
fn above(page: &mut Page, status: &StatusResponse) {
    page.gauge(
        "authority_waits",
        "What the authorities' lives wait for an operator, or something that is away, to do",
        status.waits.len().try_into().unwrap_or(u32::MAX),
    );
    let Some(above) = status.upstream.as_ref().filter(|above| above.kind == "signet") else {
        return;
    };
    page.gauge(
        "upstream_connected",
        "1 while the CA above is followed",
        i64::from(above.connected),
    );
    page.gauge(
        "upstream_since_timestamp_seconds",
        "Since when it is, or is not",
        above.since,
    );
    page.gauge(
        "upstream_heard_timestamp_seconds",
        "When it last told something",
        above.heard,
    );
    page.gauge(
        "upstream_until_timestamp_seconds",
        "Until when this CA goes on without it",
        above.until,
    );
}

fn outage(page: &mut Page, budget: &OutageBudget, now: i64) {
    page.gauge(
        "availability_target_seconds",
        "How long SVIDs should outlast the CA at least; 0: nobody has said",
        budget.target,
    );
    let class = |lapse: &Lapse| {
        let kind = match lapse.kind() {
            Kind::Nodes => "nodes",
            Kind::Workloads | Kind::Unspecified => "workloads",
        };
        vec![("class", kind.to_owned()), ("ttl", lapse.ttl.to_string())]
    };
    let left = |lapse: &Lapse| (class(lapse), lapse.first.saturating_sub(now).max(0));
    page.gauges(
        "outage_budget_seconds",
        "How long the CA may be gone before the first SVID of the class lapses",
        budget.classes.iter().map(left),
    );
    page.gauges(
        "outage_budget_promised_seconds",
        "What agents leave of such a life before they renew; less in the budget: something is not renewed",
        budget.classes.iter().map(|lapse| (class(lapse), lapse.promised)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_status_says_is_on_the_page() {
        let status = StatusResponse {
            connected: 2,
            issued_jwt: 8,
            upstream: Some(signet_proto::ca::v1::UpstreamStatus {
                kind: "signet".to_owned(),
                since: 7,
                ..signet_proto::ca::v1::UpstreamStatus::default()
            }),
            outage: Some(OutageBudget {
                classes: vec![Lapse {
                    kind: Kind::Nodes.into(),
                    ttl: 60,
                    first: 1_000,
                    ..Lapse::default()
                }],
                ..OutageBudget::default()
            }),
            ..StatusResponse::default()
        };
        let text = page(
            &status,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(970)),
        )
        .to_string();
        for line in [
            "signet_ca_nodes_connected 2",
            "signet_ca_encryption 0",
            "signet_ca_authority_waits 0",
            "signet_ca_upstream_connected 0",
            "signet_ca_upstream_since_timestamp_seconds 7",
            "signet_ca_outage_budget_seconds{class=\"nodes\",ttl=\"60\"} 30",
            "signet_ca_svids_issued_total{kind=\"jwt\"} 8",
        ] {
            assert!(text.lines().any(|is| is == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn every_metric_is_documented_and_every_documented_one_is_there() {
        let status = StatusResponse {
            outage: Some(OutageBudget {
                classes: vec![Lapse::default()],
                ..OutageBudget::default()
            }),
            upstream: Some(signet_proto::ca::v1::UpstreamStatus {
                kind: "signet".to_owned(),
                ..signet_proto::ca::v1::UpstreamStatus::default()
            }),
            ..StatusResponse::default()
        };
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(970));
        let text = page(&status, now).to_string();
        let exported = signet_metrics::exported(&text, "signet_ca");
        let named = |page| signet_metrics::names(page, "signet_ca");
        assert_eq!(
            named(include_str!("../../../docs/reference/metrics.md")),
            exported
        );
        let unknown = &named(include_str!("../../../docs/operations.md")) - &exported;
        assert!(unknown.is_empty(), "docs/operations.md speaks of {unknown:?}");
    }
}
