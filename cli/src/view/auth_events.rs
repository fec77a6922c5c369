//! What happens to proofs and leases, and what was done to them.

use jiff::Timestamp;
use serde::Serialize;
use signet_proto::agent::v1::AuthEvent;

use crate::output::{Page, Table, Tone, View};
use crate::text;

/// An event at a node.
#[derive(Debug, Serialize)]
pub(crate) struct EventView {
    /// RFC 3339, UTC.
    time: String,
    node: String,
    kind: String,
    local: String,
    local_identity: u32,
    remote: String,
    remote_identity: u32,
    remote_node: String,
    not_after: i64,
    epoch: u32,
    latency_ns: u64,
    how: String,
    cause: String,
    reason: String,
    lost: u64,
}

impl EventView {
    pub(crate) fn new(node: &str, event: AuthEvent) -> Self {
        let time = Timestamp::from_nanosecond(event.at.into())
            .map_or_else(|_| "-".to_owned(), |at| format!("{at:.6}"));
        Self {
            time,
            node: node.to_owned(),
            kind: event.kind,
            local: event.local,
            local_identity: event.local_identity,
            remote: event.remote,
            remote_identity: event.remote_identity,
            remote_node: event.node,
            not_after: event.not_after,
            epoch: event.epoch,
            latency_ns: event.latency,
            how: event.how,
            cause: event.cause,
            reason: event.reason,
            lost: event.lost,
        }
    }
}

impl View for EventView {
    fn draw(&self, page: &mut Page) {
        if self.lost > 0 {
            page.toned_line(format!("({} lost)", text::count(self.lost, "event")), Tone::Odd);
        }
        let tone = match self.kind.as_str() {
            "failed" | "lease-lapsed" => Tone::Bad,
            "gone" => Tone::Odd,
            _ => Tone::Good,
        };
        let kind = page.paint(&format!("{:<13}", self.kind), tone);
        let clock = self.time.get(11..23).unwrap_or(&self.time);
        let what = if self.local_identity == 0 {
            format!("node {}", self.remote_node)
        } else {
            let name = |id: &str, number: u32| match id {
                "" => format!("identity {number}"),
                id => text::short_id(id).to_owned(),
            };
            format!(
                "{} <-> {} on {}",
                name(&self.local, self.local_identity),
                name(&self.remote, self.remote_identity),
                self.remote_node
            )
        };
        let mut more = Vec::new();
        if !self.how.is_empty() {
            more.push(self.how.clone());
        }
        if self.latency_ns > 0 {
            more.push(text::nanoseconds(self.latency_ns));
        }
        if !self.cause.is_empty() {
            more.push(format!("({})", self.cause));
        }
        if !self.reason.is_empty() {
            more.push(self.reason.clone());
        }
        let more = more.join(" ");
        let line = format!("{clock}  {:<4} {kind} {what}  {more}", self.node);
        page.line(line.trim_end());
    }
}

/// What was dropped.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct FlushedView {
    pub(crate) nodes: Vec<FlushedRow>,
}

/// What was dropped at a node.
#[derive(Debug, Serialize)]
pub(crate) struct FlushedRow {
    pub(crate) node: String,
    pub(crate) proofs: u32,
}

impl View for FlushedView {
    fn draw(&self, page: &mut Page) {
        let mut table = Table::new(["NODE", "DROPPED"]);
        for row in &self.nodes {
            table.row([row.node.as_str().into(), u64::from(row.proofs).into()]);
        }
        page.table(table, "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(event: AuthEvent) -> String {
        let mut page = Page::new(0, false);
        EventView::new("n2", event).draw(&mut page);
        page.finish()
    }

    #[test]
    fn a_line_tells_the_pair_the_way_and_the_cause() {
        let event = AuthEvent {
            at: 1_700_000_000_123_456_789,
            kind: "failed".into(),
            local: "spiffe://cluster.local/ns/shop/sa/web".into(),
            remote: "spiffe://cluster.local/ns/shop/sa/client".into(),
            local_identity: 256,
            remote_identity: 257,
            node: "n1".into(),
            how: "preauth".into(),
            cause: "peer-no-endpoint".into(),
            reason: "the other node refused".into(),
            lost: 3,
            ..AuthEvent::default()
        };
        let expected = "\
(3 events lost)
22:13:20.123  n2   failed        ns/shop/sa/web <-> ns/shop/sa/client on n1  preauth (peer-no-endpoint) the other node refused
";
        assert_eq!(draw(event), expected);
    }

    #[test]
    fn a_lease_is_of_a_node_and_an_identity_without_a_name_has_a_number() {
        let lapsed = AuthEvent {
            at: 1_700_000_000_000_000_000,
            kind: "lease-lapsed".into(),
            node: "n1".into(),
            ..AuthEvent::default()
        };
        assert_eq!(draw(lapsed), "22:13:20.000  n2   lease-lapsed  node n1\n");
        let gone = AuthEvent {
            kind: "gone".into(),
            local_identity: 256,
            remote_identity: 257,
            ..AuthEvent::default()
        };
        assert!(draw(gone).contains("identity 256 <-> identity 257 on"));
    }
}
