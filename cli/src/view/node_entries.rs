//! Nodes that may attest without a join token.

use serde::Serialize;
use signet_proto::ca::v1::{ListNodeEntriesResponse, NodeEntry};

use crate::output::{Page, Table, View};
use crate::text;

/// One of them.
#[derive(Debug, Serialize)]
pub(crate) struct EntryView {
    node: String,
    /// The way, and behind a space what is asked of it.
    ways: Vec<String>,
    pod_cidrs: Vec<String>,
    addresses: Vec<String>,
    created_at: i64,
}

impl From<NodeEntry> for EntryView {
    fn from(entry: NodeEntry) -> Self {
        Self {
            node: entry.node,
            ways: entry.ways,
            pod_cidrs: entry.pod_cidrs,
            addresses: entry.addresses,
            created_at: entry.created_at,
        }
    }
}

fn list(texts: &[String]) -> String {
    if texts.is_empty() {
        "-".to_owned()
    } else {
        texts.join(", ")
    }
}

impl View for EntryView {
    fn draw(&self, page: &mut Page) {
        for (name, value) in [
            ("node", self.node.clone()),
            ("attests with", list(&self.ways)),
            ("pod CIDRs", list(&self.pod_cidrs)),
            ("addresses", list(&self.addresses)),
            ("since", text::when(self.created_at, page.now())),
        ] {
            page.line(format!("{name:<14}{value}"));
        }
    }
}

/// All of them.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct EntriesView {
    entries: Vec<EntryView>,
}

impl From<ListNodeEntriesResponse> for EntriesView {
    fn from(answer: ListNodeEntriesResponse) -> Self {
        Self {
            entries: answer.entries.into_iter().map(EntryView::from).collect(),
        }
    }
}

impl View for EntriesView {
    fn draw(&self, page: &mut Page) {
        let mut table = Table::new(["NODE", "ATTESTS WITH", "POD CIDRS", "ADDRESSES"]);
        for entry in &self.entries {
            table.row([
                entry.node.as_str().into(),
                list(&entry.ways).into(),
                list(&entry.pod_cidrs).into(),
                list(&entry.addresses).into(),
            ]);
        }
        page.table(
            table,
            "no node may attest without a join token; signet ca node allow NODE --x509pop … or --tpm-devid …",
        );
    }
}

/// One that is no more.
#[derive(Debug, Serialize)]
pub(crate) struct DisallowedView {
    disallowed: EntryView,
}

impl From<NodeEntry> for DisallowedView {
    fn from(entry: NodeEntry) -> Self {
        Self {
            disallowed: entry.into(),
        }
    }
}

impl View for DisallowedView {
    fn draw(&self, page: &mut Page) {
        let node = &self.disallowed.node;
        page.line(format!(
            "{node} may not attest without a join token any more; if it is in, it stays until `signet ca evict {node}`"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_what_is_asked_of_whom() {
        let entry = |node: &str, ways: &[&str], pod_cidrs: &[&str]| NodeEntry {
            node: node.into(),
            ways: ways.iter().map(ToString::to_string).collect(),
            pod_cidrs: pod_cidrs.iter().map(ToString::to_string).collect(),
            ..NodeEntry::default()
        };
        let view = EntriesView::from(ListNodeEntriesResponse {
            entries: vec![
                entry(
                    "n1",
                    &["x509pop dns:n1.example", "x509pop cn:one"],
                    &["10.244.1.0/24"],
                ),
                entry("n2", &["x509pop"], &[]),
            ],
        });
        let mut page = Page::new(0, false);
        view.draw(&mut page);
        let expected = "\
NODE  ATTESTS WITH                            POD CIDRS      ADDRESSES
n1    x509pop dns:n1.example, x509pop cn:one  10.244.1.0/24  -
n2    x509pop                                 -              -
";
        assert_eq!(page.finish(), expected);
    }
}
