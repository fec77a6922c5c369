//! Why traffic passes or not.

use serde::Serialize;
use signet_proto::agent::v1::proof_entry::State;
use signet_proto::agent::v1::{ProofEntry, ProofRoom, SessionEntry, StatusResponse};
use signet_proto::mesh::v1::explain_response::step::Outcome;
use signet_proto::mesh::v1::{ExplainResponse, ProofKey};

use crate::failure::{DONE, FAILED, UNDECIDED};
use crate::output::{Page, Tone, View};

/// What each end says, and what follows.
#[derive(Debug, Serialize)]
pub(crate) struct ExplainView {
    verdict: &'static str,
    reason: u32,
    next_step: String,
    nodes: Vec<NodeExplanation>,
}

/// One node's explanation.
#[derive(Debug, Serialize)]
pub(crate) struct NodeExplanation {
    node: String,
    verdict: &'static str,
    reason: u32,
    next_step: String,
    steps: Vec<StepRow>,
}

/// One step of the judgement.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct StepRow {
    title: String,
    detail: String,
    outcome: &'static str,
}

/// From mildest to strictest: what one end refuses, the other cannot allow.
const VERDICTS: [&str; 4] = ["allowed", "unknown", "waiting", "refused"];

impl NodeExplanation {
    pub(crate) fn new(node: &str, answer: ExplainResponse) -> Self {
        let verdict = VERDICTS
            .into_iter()
            .find(|verdict| *verdict == answer.verdict)
            .unwrap_or("unknown");
        let steps = answer
            .steps
            .into_iter()
            .map(|step| {
                let outcome = match step.outcome() {
                    Outcome::Ok => "ok",
                    Outcome::Missing => "missing",
                    Outcome::Refused => "refused",
                    Outcome::Info | Outcome::Unspecified => "info",
                };
                StepRow {
                    title: step.title,
                    detail: step.detail,
                    outcome,
                }
            })
            .collect();
        Self {
            node: node.to_owned(),
            verdict,
            reason: answer.reason,
            next_step: answer.next_step,
            steps,
        }
    }

    /// With what the node's agent knows besides.
    pub(crate) fn with_agent(mut self, steps: Vec<StepRow>) -> Self {
        self.steps.extend(steps);
        self
    }

    fn strictness(&self) -> usize {
        VERDICTS
            .iter()
            .position(|verdict| *verdict == self.verdict)
            .unwrap_or(1)
    }
}

impl StepRow {
    /// The agent does not answer.
    pub(crate) fn silent_agent(why: &str) -> Self {
        Self {
            title: "signet-agent".to_owned(),
            detail: format!("proves nothing new now: {why}"),
            outcome: "missing",
        }
    }
}

/// What the agent knows of a proof that is asked for: the session that handshakes run in, the last handshake, and whether
/// it is made ahead of traffic.
pub(crate) fn agent_steps(
    key: &ProofKey,
    proofs: &[ProofEntry],
    sessions: &[SessionEntry],
    status: &StatusResponse,
) -> Vec<StepRow> {
    let step = |title: &str, detail: String, outcome| StepRow {
        title: title.to_owned(),
        detail,
        outcome,
    };
    let mut steps = Vec::new();
    if key.node_id == status.node_id {
        let detail = "both ends are on this node: none is needed".to_owned();
        steps.push(step("session", detail, "ok"));
    } else {
        let session = sessions.iter().find(|session| session.node_id == key.node_id);
        steps.push(match session {
            Some(session) if session.state == "up" => step(
                "session",
                format!("with {} at {}", session.node, session.address),
                "ok",
            ),
            Some(session) => {
                let why = match session.last_error.as_str() {
                    "" => String::new(),
                    error => format!(": {error}"),
                };
                step(
                    "session",
                    format!("none with {} ({}){why}", session.node, session.state),
                    "missing",
                )
            }
            None => {
                let detail = "none yet: it is opened when a proof is asked for".to_owned();
                step("session", detail, "info")
            }
        });
    }
    let node = sessions
        .iter()
        .find(|session| session.node_id == key.node_id)
        .map(|session| &session.node);
    let entry = proofs.iter().find(|proof| {
        proof.local_identity == key.local_identity
            && proof.remote_identity == key.remote_identity
            && node.is_none_or(|node| *node == proof.node)
    });
    steps.push(match entry {
        Some(entry) if !entry.reason.is_empty() => step(
            "handshake",
            format!("the last one failed: {}", entry.reason),
            "missing",
        ),
        Some(entry) if entry.state() == State::InFlight => {
            step("handshake", "one is under way".to_owned(), "info")
        }
        Some(entry) => {
            let counts = format!("{} made, {} failed", entry.handshakes, entry.failures);
            step("handshake", counts, "ok")
        }
        None => step("handshake", "nobody has asked for one yet".to_owned(), "info"),
    });
    steps.extend(room(&status.room.unwrap_or_default()));
    let preauth = status.preauth.clone().unwrap_or_default();
    let ahead = match preauth.mode.as_str() {
        "policy" => "proofs that rules of this node's workloads ask for are made before their first packet",
        "all" => "proofs of every pair are made before their first packet",
        _ => "off: the first packet of a pair asks for its proof",
    };
    let more = match preauth.left_out {
        0 => String::new(),
        left_out => format!("; {left_out} pairs have no room and are left to their first packets"),
    };
    steps.push(step("preauth", format!("{ahead}{more}"), "info"));
    steps
}

/// Whether there is room for another proof, where that is worth a word.
fn room(room: &ProofRoom) -> Option<StepRow> {
    (room.pressure >= 95).then(|| StepRow {
        title: "room".to_owned(),
        detail: format!(
            "AUTH, for {} proofs, is all but full: newcomers need one that is not used to give way",
            room.slots
        ),
        outcome: "info",
    })
}

impl ExplainView {
    /// The strictest of the verdicts is the whole's.
    pub(crate) fn new(nodes: Vec<NodeExplanation>) -> Self {
        let strictest = nodes.iter().max_by_key(|node| node.strictness());
        let (verdict, reason, next_step) = strictest.map_or(("unknown", 0, String::new()), |node| {
            (node.verdict, node.reason, node.next_step.clone())
        });
        Self {
            verdict,
            reason,
            next_step,
            nodes,
        }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self.verdict {
            "allowed" => DONE,
            "refused" => FAILED,
            _ => UNDECIDED,
        }
    }
}

impl View for ExplainView {
    fn draw(&self, page: &mut Page) {
        for node in &self.nodes {
            page.line(format!("on {}:", node.node));
            for step in &node.steps {
                let (mark, tone) = match step.outcome {
                    "ok" => ("+", Tone::Good),
                    "missing" => ("?", Tone::Odd),
                    "refused" => ("x", Tone::Bad),
                    _ => ("-", Tone::Plain),
                };
                let mark = page.paint(mark, tone);
                page.line(format!("  {mark} {}: {}", step.title, step.detail));
            }
        }
        let tone = match self.verdict {
            "allowed" => Tone::Good,
            "refused" => Tone::Bad,
            _ => Tone::Odd,
        };
        let reason = if self.reason == 0 {
            String::new()
        } else {
            format!(" (reason {})", self.reason)
        };
        page.toned_line(format!("{}{reason}", self.verdict), tone);
        if !self.next_step.is_empty() {
            page.line(format!("next: {}", self.next_step));
        }
    }
}

#[cfg(test)]
mod tests {
    use signet_proto::mesh::v1::explain_response::Step;

    use super::*;

    fn answer(verdict: &str, reason: u32, outcome: Outcome) -> ExplainResponse {
        let step = Step {
            title: "policy".into(),
            detail: "shop/web".into(),
            outcome: outcome.into(),
        };
        ExplainResponse {
            steps: vec![step],
            verdict: verdict.into(),
            reason,
            next_step: format!("after {verdict}"),
            ..ExplainResponse::default()
        }
    }

    fn view(verdicts: &[&str]) -> ExplainView {
        let node = |verdict: &&str| NodeExplanation::new("n1", answer(verdict, 189, Outcome::Missing));
        ExplainView::new(verdicts.iter().map(node).collect())
    }

    #[test]
    fn the_stricter_end_decides_and_the_exit_code_tells() {
        assert_eq!(view(&["allowed", "allowed"]).exit_code(), 0);
        assert_eq!(view(&["allowed", "refused"]).exit_code(), 1);
        assert_eq!(view(&["waiting", "allowed"]).exit_code(), 4);
        assert_eq!(view(&["a new word"]).exit_code(), 4);
        assert_eq!(view(&[]).exit_code(), 4);
    }

    #[test]
    fn steps_verdict_and_next_step_are_drawn() {
        let mut page = Page::new(0, false);
        view(&["waiting"]).draw(&mut page);
        assert_eq!(
            page.finish(),
            "on n1:\n  ? policy: shop/web\nwaiting (reason 189)\nnext: after waiting\n"
        );
    }

    #[test]
    fn session_last_handshake_and_what_is_done_ahead_are_told() {
        let key = ProofKey {
            local_identity: 300,
            remote_identity: 400,
            node_id: 2,
        };
        let proof = |node: &str, reason: &str| ProofEntry {
            local_identity: 300,
            remote_identity: 400,
            node: node.into(),
            reason: reason.into(),
            ..ProofEntry::default()
        };
        let session = SessionEntry {
            node: "n2".into(),
            node_id: 2,
            state: "backoff".into(),
            last_error: "refused".into(),
            ..SessionEntry::default()
        };
        let proofs = [proof("n3", "another node's"), proof("n2", "no endpoint")];
        let steps = agent_steps(&key, &proofs, &[session], &StatusResponse::default());
        let told: Vec<_> = steps
            .iter()
            .map(|step| (step.title.as_str(), step.detail.as_str(), step.outcome))
            .collect();
        assert_eq!(told[0], ("session", "none with n2 (backoff): refused", "missing"));
        assert_eq!(
            told[1],
            ("handshake", "the last one failed: no endpoint", "missing")
        );
        assert_eq!(told[2].0, "preauth");
        let here = StatusResponse {
            node_id: 2,
            ..StatusResponse::default()
        };
        assert_eq!(agent_steps(&key, &[], &[], &here)[0].outcome, "ok");
        // And that there is hardly room for another proof, where it is so.
        let told = |pressure| {
            let room = Some(ProofRoom {
                slots: 4,
                pressure,
                ..ProofRoom::default()
            });
            let status = StatusResponse {
                room,
                ..StatusResponse::default()
            };
            let steps = agent_steps(&key, &[], &[], &status);
            steps.into_iter().any(|step| step.title == "room")
        };
        assert!(told(95) && !told(80));
    }
}
