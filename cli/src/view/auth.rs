//! Proofs and node sessions.

use serde::Serialize;
use signet_proto::agent::v1::proof_entry::State;
use signet_proto::agent::v1::{ProofEntry, SessionEntry};

use crate::output::{Cell, Page, Table, Tone, View};
use crate::text;

/// All proofs.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct ProofsView {
    pub(crate) proofs: Vec<ProofRow>,
}

/// One proof, as one node holds it.
#[derive(Debug, Serialize)]
pub(crate) struct ProofRow {
    node: String,
    local: String,
    local_identity: u32,
    remote: String,
    remote_identity: u32,
    remote_node: String,
    state: &'static str,
    not_after: i64,
    epoch: u32,
    handshakes: u64,
    failures: u64,
    latency_ns: u64,
    reason: String,
}

impl ProofRow {
    pub(crate) fn new(node: &str, proof: ProofEntry) -> Self {
        let state = match proof.state() {
            State::Unspecified => "unknown",
            State::Proven => "proven",
            State::InFlight => "in-flight",
            State::Failed => "failed",
        };
        Self {
            node: node.to_owned(),
            local: proof.local,
            local_identity: proof.local_identity,
            remote: proof.remote,
            remote_identity: proof.remote_identity,
            remote_node: proof.node,
            state,
            not_after: proof.not_after,
            epoch: proof.epoch,
            handshakes: proof.handshakes,
            failures: proof.failures,
            latency_ns: proof.latency,
            reason: proof.reason,
        }
    }

    pub(crate) fn is_proven(&self) -> bool {
        self.state == "proven"
    }

    /// Why there is no proof, in words.
    pub(crate) fn refusal(&self) -> String {
        let because = if self.reason.is_empty() {
            String::new()
        } else {
            format!(": {}", self.reason)
        };
        format!(
            "{} and {} are not proven to each other ({}){because}",
            self.local, self.remote, self.state
        )
    }

    fn cells(&self, now: i64) -> [Cell; 9] {
        let tone = match self.state {
            "proven" => Tone::Good,
            "failed" => Tone::Bad,
            _ => Tone::Odd,
        };
        let expires = if self.is_proven() {
            text::when(self.not_after, now)
        } else {
            "-".to_owned()
        };
        [
            self.node.as_str().into(),
            text::short_id(&self.local).into(),
            text::short_id(&self.remote).into(),
            self.remote_node.as_str().into(),
            Cell::toned(self.state, tone),
            expires.into(),
            format!("{} ({} failed)", self.handshakes, self.failures).into(),
            text::nanoseconds(self.latency_ns).into(),
            text::dash(&self.reason).into(),
        ]
    }
}

const PROOF_HEADINGS: [&str; 9] = [
    "NODE",
    "LOCAL",
    "REMOTE",
    "ON",
    "STATE",
    "EXPIRES",
    "HANDSHAKES",
    "TOOK",
    "REASON",
];

impl View for ProofsView {
    fn draw(&self, page: &mut Page) {
        let mut table = Table::new(PROOF_HEADINGS);
        let now = page.now();
        for proof in &self.proofs {
            table.row(proof.cells(now));
        }
        page.table(
            table,
            "no proofs: no traffic has asked for one yet (a rule with `authentication: required` does)",
        );
    }
}

/// The proof that was asked for.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct ProvenView {
    pub(crate) proof: ProofRow,
}

impl View for ProvenView {
    fn draw(&self, page: &mut Page) {
        let mut table = Table::new(PROOF_HEADINGS);
        table.row(self.proof.cells(page.now()));
        page.table(table, "");
    }
}

/// All node sessions.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct SessionsView {
    pub(crate) sessions: Vec<SessionRow>,
}

/// One node session, as one of its ends sees it.
#[derive(Debug, Serialize)]
pub(crate) struct SessionRow {
    node: String,
    peer: String,
    peer_id: u32,
    address: String,
    dialed: bool,
    state: String,
    since: i64,
    key_exchange: String,
    messages_sent: u64,
    messages_received: u64,
    last_error: String,
}

impl SessionRow {
    pub(crate) fn new(node: &str, session: SessionEntry) -> Self {
        Self {
            node: node.to_owned(),
            peer: session.node,
            peer_id: session.node_id,
            address: session.address,
            dialed: session.dialed,
            state: session.state,
            since: session.since,
            key_exchange: session.key_exchange,
            messages_sent: session.messages_sent,
            messages_received: session.messages_received,
            last_error: session.last_error,
        }
    }
}

impl View for SessionsView {
    fn draw(&self, page: &mut Page) {
        let headings = [
            "NODE",
            "PEER",
            "ADDRESS",
            "DIRECTION",
            "STATE",
            "SINCE",
            "KEY EXCHANGE",
            "SENT",
            "RECEIVED",
            "ERROR",
        ];
        let mut table = Table::new(headings);
        for session in &self.sessions {
            let tone = match session.state.as_str() {
                "up" => Tone::Good,
                "backoff" => Tone::Bad,
                _ => Tone::Odd,
            };
            table.row([
                session.node.as_str().into(),
                session.peer.as_str().into(),
                text::dash(&session.address).into(),
                if session.dialed { "out" } else { "in" }.into(),
                Cell::toned(session.state.as_str(), tone),
                text::when(session.since, page.now()).into(),
                text::dash(&session.key_exchange).into(),
                session.messages_sent.into(),
                session.messages_received.into(),
                text::dash(&session.last_error).into(),
            ]);
        }
        page.table(
            table,
            "no node sessions: they open when the first proof between two nodes is asked for",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(state: State, reason: &str) -> ProofRow {
        let proof = ProofEntry {
            local: "spiffe://cluster.local/ns/shop/sa/client".into(),
            remote: "spiffe://cluster.local/ns/shop/sa/web".into(),
            node: "n2".into(),
            state: state.into(),
            not_after: 1600,
            reason: reason.into(),
            latency: 2_100_000,
            handshakes: 1,
            ..ProofEntry::default()
        };
        ProofRow::new("n1", proof)
    }

    #[test]
    fn a_failed_proof_shows_its_reason_and_no_expiry() {
        let mut page = Page::new(1000, false);
        ProofsView {
            proofs: vec![proof(State::Proven, ""), proof(State::Failed, "SVID expired")],
        }
        .draw(&mut page);
        let expected = "\
NODE  LOCAL              REMOTE          ON  STATE   EXPIRES    HANDSHAKES    TOOK    REASON
n1    ns/shop/sa/client  ns/shop/sa/web  n2  proven  in 10m00s  1 (0 failed)  2.1 ms  -
n1    ns/shop/sa/client  ns/shop/sa/web  n2  failed  -          1 (0 failed)  2.1 ms  SVID expired
";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn a_refusal_names_both_sides_and_the_reason() {
        let words = proof(State::Failed, "SVID expired").refusal();
        assert!(
            words.contains("sa/client and spiffe://cluster.local/ns/shop/sa/web"),
            "{words}"
        );
        assert!(words.ends_with("(failed): SVID expired"), "{words}");
    }
}
