//! Steps and their sum.

use signet_abi::{AuthKey, Reason};
use signet_proto::mesh::v1::explain_response::Step;
use signet_proto::mesh::v1::explain_response::step::Outcome;
use signet_proto::mesh::v1::{ExplainResponse, ProofKey};

/// What follows from a step. Ordered: the strictest of all steps is the whole's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    #[default]
    Allowed,
    Unknown,
    Waiting,
    Refused,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Unknown => "unknown",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
        }
    }
}

/// An explanation that is being written.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    steps: Vec<Step>,
    verdict: Verdict,
    reason: Option<Reason>,
    next_step: String,
    proofs: Vec<ProofKey>,
}

impl Answer {
    /// A proof is asked for.
    pub(crate) fn asks(&mut self, pair: AuthKey) {
        self.proofs.push(ProofKey {
            local_identity: pair.local.0,
            remote_identity: pair.remote.0,
            node_id: pair.node.0,
        });
    }

    pub(crate) fn ok(&mut self, title: &str, detail: String) {
        self.step(title, detail, Outcome::Ok);
    }

    pub(crate) fn info(&mut self, title: &str, detail: String) {
        self.step(title, detail, Outcome::Info);
    }

    pub(crate) fn missing(&mut self, title: &str, detail: &str) {
        self.step(title, detail.to_owned(), Outcome::Missing);
    }

    pub(crate) fn refused(&mut self, title: &str, detail: String) {
        self.step(title, detail, Outcome::Refused);
    }

    fn step(&mut self, title: &str, detail: String, outcome: Outcome) {
        self.steps.push(Step {
            title: title.to_owned(),
            detail,
            outcome: outcome.into(),
        });
    }

    /// Notes what follows so far. The strictest stands; of equally strict ones the first.
    pub(crate) fn conclude(&mut self, verdict: Verdict, reason: Option<Reason>, next_step: &str) {
        if verdict > self.verdict {
            (self.verdict, self.reason) = (verdict, reason);
            next_step.clone_into(&mut self.next_step);
        }
    }

    pub(crate) fn into_wire(self) -> ExplainResponse {
        ExplainResponse {
            steps: self.steps,
            verdict: self.verdict.name().to_owned(),
            reason: self.reason.map_or(0, |reason| (reason as u8).into()),
            next_step: self.next_step,
            proofs: self.proofs,
        }
    }
}
