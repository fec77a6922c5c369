//! Flow events, one line each.

use jiff::Timestamp;
use serde::Serialize;
use signet_proto::mesh::v1::FlowEvent;

use crate::output::{Page, Tone, View};
use crate::text;

/// One event.
#[derive(Debug, Serialize)]
pub(crate) struct FlowView {
    /// RFC 3339, UTC.
    time: String,
    node: String,
    verdict: String,
    reason: u32,
    reason_text: String,
    protocol: String,
    source: String,
    source_port: u32,
    source_identity: u32,
    source_name: String,
    destination: String,
    destination_port: u32,
    destination_identity: u32,
    destination_name: String,
    rule: String,
    hook: String,
    length: u32,
    lost: u64,
    /// `opened`, `closed`; empty for a drop.
    event: String,
    /// Whether it went into the tunnel or came out of it.
    encrypted: bool,
    /// Seconds since the pair was proven; nothing where it is not, or that is not known.
    proof_age: Option<u32>,
}

impl From<FlowEvent> for FlowView {
    fn from(flow: FlowEvent) -> Self {
        let time = Timestamp::from_nanosecond(flow.at.into())
            .map_or_else(|_| "-".to_owned(), |at| format!("{at:.6}"));
        Self {
            time,
            node: flow.node,
            verdict: flow.verdict,
            reason: flow.reason,
            reason_text: flow.reason_text,
            protocol: flow.protocol,
            source: flow.source,
            source_port: flow.source_port,
            source_identity: flow.source_identity,
            source_name: flow.source_name,
            destination: flow.destination,
            destination_port: flow.destination_port,
            destination_identity: flow.destination_identity,
            destination_name: flow.destination_name,
            rule: flow.rule,
            hook: flow.hook,
            length: flow.length,
            lost: flow.lost,
            event: flow.event,
            encrypted: flow.encrypted,
            proof_age: flow.proof_age,
        }
    }
}

impl View for FlowView {
    fn draw(&self, page: &mut Page) {
        if self.lost > 0 {
            page.toned_line(format!("({} lost)", text::count(self.lost, "event")), Tone::Odd);
        }
        let tone = match self.verdict.as_str() {
            "dropped" => Tone::Bad,
            "parked" | "rejected" => Tone::Odd,
            _ => Tone::Good,
        };
        // What passed was told because of what it did to its connection.
        let verdict = match self.event.as_str() {
            "" => &self.verdict,
            event => event,
        };
        let verdict = page.paint(&format!("{verdict:<7}"), tone);
        // The date is the same for hours; the time of day to the millisecond is enough for people.
        let clock = self.time.get(11..23).unwrap_or(&self.time);
        let rule = if self.rule.is_empty() {
            String::new()
        } else {
            format!("  rule {}", self.rule)
        };
        let proof = match self.proof_age {
            Some(age) => format!("  proven {age} s ago"),
            None => String::new(),
        };
        page.line(format!(
            "{clock}  {:<4} {verdict} {:<5} {} ({}) -> {} ({})  {} ({}){rule}{proof}",
            self.node,
            self.protocol,
            text::endpoint(&self.source, self.source_port),
            text::short_id(&self.source_name),
            text::endpoint(&self.destination, self.destination_port),
            text::short_id(&self.destination_name),
            self.reason_text,
            self.reason,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_both_identities_the_verdict_and_the_reason() {
        let flow = FlowEvent {
            at: 1_700_000_000_123_456_789,
            source: "10.244.1.10".into(),
            destination: "10.244.2.10".into(),
            source_port: 40000,
            destination_port: 8080,
            protocol: "tcp".into(),
            source_name: "spiffe://cluster.local/ns/shop/sa/client".into(),
            destination_name: "world".into(),
            verdict: "dropped".into(),
            reason: 133,
            reason_text: "policy denied".into(),
            node: "n2".into(),
            lost: 2,
            ..FlowEvent::default()
        };
        let mut page = Page::new(0, false);
        FlowView::from(flow.clone()).draw(&mut page);
        let expected = "\
(2 events lost)
22:13:20.123  n2   dropped tcp   10.244.1.10:40000 (ns/shop/sa/client) -> 10.244.2.10:8080 (world)  policy denied (133)
";
        assert_eq!(page.finish(), expected);
        let opened = FlowEvent {
            verdict: "allowed".into(),
            event: "opened".into(),
            encrypted: true,
            reason: 1,
            reason_text: "encrypted".into(),
            lost: 0,
            proof_age: Some(7),
            ..flow
        };
        let mut page = Page::new(0, false);
        FlowView::from(opened).draw(&mut page);
        let line = page.finish();
        assert!(line.contains("  n2   opened  tcp  "), "{line}");
        assert!(
            line.ends_with("(world)  encrypted (1)  proven 7 s ago\n"),
            "{line}"
        );
    }
}
