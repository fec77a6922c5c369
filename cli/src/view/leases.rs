//! Leases.

use serde::Serialize;
use signet_proto::agent::v1::LeaseEntry;

use crate::output::{Cell, Page, Table, Tone, View};
use crate::text;

/// All leases.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct LeasesView {
    pub(crate) leases: Vec<LeaseRow>,
}

/// What one node says of one address, as another one has it, or as it says it itself.
#[derive(Debug, Serialize)]
pub(crate) struct LeaseRow {
    /// Whose list it is from.
    node: String,
    address: String,
    spiffe_id: String,
    identity: u32,
    owner: String,
    owner_id: u32,
    state: String,
    not_after: i64,
    left_ms: u64,
    reason: String,
}

impl LeaseRow {
    pub(crate) fn new(node: &str, lease: LeaseEntry) -> Self {
        Self {
            node: node.to_owned(),
            address: lease.address,
            spiffe_id: lease.spiffe_id,
            identity: lease.identity,
            owner: lease.node,
            owner_id: lease.node_id,
            state: lease.state,
            not_after: lease.not_after,
            left_ms: lease.left_ms,
            reason: lease.reason,
        }
    }

    fn cells(&self) -> [Cell; 7] {
        let tone = match self.state.as_str() {
            "held" | "granted" => Tone::Good,
            "waiting" => Tone::Odd,
            _ => Tone::Bad,
        };
        let left = match (self.state.as_str(), self.left_ms) {
            (_, 0) => "-".to_owned(),
            (_, left) => format!("{} s", left.div_ceil(1000)),
        };
        [
            self.node.as_str().into(),
            self.address.as_str().into(),
            text::short_id(&self.spiffe_id).into(),
            self.owner.as_str().into(),
            Cell::toned(self.state.as_str(), tone),
            left.into(),
            text::dash(&self.reason).into(),
        ]
    }
}

impl View for LeasesView {
    fn draw(&self, page: &mut Page) {
        let mut table = Table::new([
            "NODE", "ADDRESS", "IDENTITY", "SAID BY", "STATE", "LEFT", "REASON",
        ]);
        for lease in &self.leases {
            table.row(lease.cells());
        }
        page.table(
            table,
            "no leases: nodes tell each other of their addresses over node sessions, which open with the first proof",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_is_not_believed_shows_why() {
        let lease = |state: &str, left_ms, reason: &str| {
            let entry = LeaseEntry {
                node: "n1".into(),
                address: "10.244.1.10".into(),
                spiffe_id: "spiffe://cluster.local/ns/shop/sa/client".into(),
                state: state.into(),
                left_ms,
                reason: reason.into(),
                ..LeaseEntry::default()
            };
            LeaseRow::new("n2", entry)
        };
        let mut page = Page::new(1000, false);
        LeasesView {
            leases: vec![
                lease("held", 8_400, ""),
                lease("conflict", 8_400, "claimed by n3, too"),
            ],
        }
        .draw(&mut page);
        let expected = "\
NODE  ADDRESS      IDENTITY           SAID BY  STATE     LEFT  REASON
n2    10.244.1.10  ns/shop/sa/client  n1       held      9 s   -
n2    10.244.1.10  ns/shop/sa/client  n1       conflict  9 s   claimed by n3, too
";
        assert_eq!(page.finish(), expected);
    }
}
