//! Why traffic passes or not.

use serde::Serialize;
use signet_proto::mesh::v1::ExplainResponse;
use signet_proto::mesh::v1::explain_response::step::Outcome;

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
#[derive(Debug, Serialize)]
struct StepRow {
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

    fn strictness(&self) -> usize {
        VERDICTS
            .iter()
            .position(|verdict| *verdict == self.verdict)
            .unwrap_or(1)
    }
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
}
