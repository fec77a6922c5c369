//! The CA's numbers for Prometheus.

use signet_metrics::Page;
use signet_proto::ca::v1::StatusResponse;
use signet_proto::view::v1::EncryptionMode;

/// What `Status` says, as metrics.
pub(crate) fn page(status: &StatusResponse) -> Page {
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
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_status_says_is_on_the_page() {
        let status = StatusResponse {
            connected: 2,
            issued_jwt: 8,
            ..StatusResponse::default()
        };
        let text = page(&status).to_string();
        for line in [
            "signet_ca_nodes_connected 2",
            "signet_ca_encryption 0",
            "signet_ca_svids_issued_total{kind=\"jwt\"} 8",
        ] {
            assert!(text.lines().any(|is| is == line), "no {line} in\n{text}");
        }
    }
}
