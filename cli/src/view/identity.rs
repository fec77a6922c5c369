//! Security identities.

use serde::Serialize;
use signet_proto::agent::v1::SvidEntry;
use signet_proto::mesh::v1::EndpointEntry;
use signet_proto::view::v1::Identity;

use crate::output::{Page, Table, View};

/// A node and the SVIDs that its agent holds.
#[derive(Debug)]
pub(crate) struct NodeKnowledge {
    pub(crate) node: String,
    pub(crate) svids: Vec<SvidEntry>,
}

/// All identities.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct IdentitiesView {
    identities: Vec<IdentityRow>,
}

/// One identity.
#[derive(Debug, Serialize)]
struct IdentityRow {
    identity: u32,
    spiffe_id: String,
    /// `namespace/name@node`.
    workloads: Vec<String>,
    /// Nodes whose agent holds an SVID for it.
    svid_on: Vec<String>,
}

impl IdentitiesView {
    /// Puts together who is known, where it runs and who can prove it. Workloads without a registration come last.
    pub(crate) fn new(identities: &[Identity], endpoints: &[EndpointEntry], nodes: &[NodeKnowledge]) -> Self {
        let row = |number: u32, spiffe_id: &str| IdentityRow {
            identity: number,
            spiffe_id: spiffe_id.to_owned(),
            workloads: workloads(endpoints, number),
            svid_on: nodes
                .iter()
                .filter(|node| holds(node, spiffe_id))
                .map(|node| node.node.clone())
                .collect(),
        };
        let mut rows: Vec<_> = identities
            .iter()
            .map(|known| row(known.number, &known.spiffe_id))
            .collect();
        rows.sort_by_key(|row| row.identity);
        let unmanaged = row(signet_abi::SecurityIdentity::UNMANAGED.0, "(unmanaged)");
        rows.extend(Some(unmanaged).filter(|row| !row.workloads.is_empty()));
        Self { identities: rows }
    }
}

fn workloads(endpoints: &[EndpointEntry], number: u32) -> Vec<String> {
    let of = |entry: &EndpointEntry| {
        let endpoint = entry
            .endpoint
            .as_ref()
            .filter(|endpoint| endpoint.identity == number)?;
        Some(format!("{}/{}@{}", endpoint.namespace, endpoint.name, entry.node))
    };
    endpoints.iter().filter_map(of).collect()
}

fn holds(node: &NodeKnowledge, spiffe_id: &str) -> bool {
    node.svids
        .iter()
        .any(|svid| svid.spiffe_id == spiffe_id && svid.state == "ready")
}

impl View for IdentitiesView {
    fn draw(&self, page: &mut Page) {
        let mut table = Table::new(["IDENTITY", "SPIFFE ID", "WORKLOADS", "SVID ON"]);
        let list = |names: &[String]| {
            if names.is_empty() {
                "-".to_owned()
            } else {
                names.join(", ")
            }
        };
        for row in &self.identities {
            let workloads = list(&row.workloads);
            table.row([
                row.identity.into(),
                row.spiffe_id.as_str().into(),
                workloads.into(),
                list(&row.svid_on).into(),
            ]);
        }
        page.table(
            table,
            "no identities: register a workload with `signet ca register`",
        );
    }
}

#[cfg(test)]
mod tests {
    use signet_proto::mesh::v1::LocalEndpoint;

    use super::*;

    #[test]
    fn an_identity_shows_where_it_runs_and_an_unregistered_workload_is_not_forgotten() {
        let spiffe_id = "spiffe://td/ns/a/sa/web".to_owned();
        let entry = |name: &str, identity| EndpointEntry {
            endpoint: Some(LocalEndpoint {
                namespace: "a".into(),
                name: name.into(),
                identity,
                ..LocalEndpoint::default()
            }),
            node: "n2".into(),
            ..EndpointEntry::default()
        };
        let svid = SvidEntry {
            spiffe_id: spiffe_id.clone(),
            state: "ready".into(),
            ..SvidEntry::default()
        };
        let nodes = [NodeKnowledge {
            node: "n2".into(),
            svids: vec![svid],
        }];
        let identities = [Identity {
            spiffe_id,
            number: 256,
            nodes: vec!["n2".into()],
        }];
        let view = IdentitiesView::new(&identities, &[entry("web", 256), entry("stray", 3)], &nodes);
        let mut page = Page::new(0, false);
        view.draw(&mut page);
        let expected = "\
IDENTITY  SPIFFE ID                WORKLOADS   SVID ON
256       spiffe://td/ns/a/sa/web  a/web@n2    n2
3         (unmanaged)              a/stray@n2  -
";
        assert_eq!(page.finish(), expected);
    }
}
