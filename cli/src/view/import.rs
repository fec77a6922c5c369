//! What became, or would become, of imported entries.

use serde::Serialize;
use signet_proto::ca::v1::RegisterOutcome;

use crate::output::{Cell, Page, Table, Tone, View};
use crate::spire::Mapped;

/// All entries of a file.
#[derive(Debug, Serialize)]
pub(crate) struct ImportView {
    /// Whether the registrations were made.
    imported: bool,
    entries: Vec<EntryRow>,
}

#[derive(Debug, Serialize)]
struct EntryRow {
    /// SPIRE's id.
    entry: String,
    spiffe_id: String,
    /// Empty where it has no counterpart.
    node: String,
    selectors: Vec<String>,
    outcome: Outcome,
    /// Of the registration, where there is one.
    registration: String,
    /// Why not, and what is otherwise than in SPIRE.
    notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    New,
    Exists,
    Refused,
    NoCounterpart,
}

impl ImportView {
    /// Of mapped entries, and what the CA said to their registrations, in their order.
    pub(crate) fn new(mapped: &[Mapped], outcomes: Vec<RegisterOutcome>, imported: bool) -> Self {
        let mut outcomes = outcomes.into_iter();
        let mut entries = Vec::new();
        for one in mapped {
            let row = |outcome, registration: String, more: Vec<String>| EntryRow {
                entry: one.entry.clone(),
                spiffe_id: one.spiffe_id.clone(),
                node: String::new(),
                selectors: Vec::new(),
                outcome,
                registration,
                notes: [more, one.notes.clone()].concat(),
            };
            match &one.result {
                Err(against) => entries.push(row(Outcome::NoCounterpart, String::new(), against.clone())),
                Ok(requests) => entries.extend(requests.iter().map(|request| {
                    let outcome = outcomes.next().unwrap_or_default();
                    let row = match outcome {
                        RegisterOutcome { made: Some(made), .. } => row(Outcome::New, made.id, Vec::new()),
                        RegisterOutcome { exists, .. } if !exists.is_empty() => {
                            row(Outcome::Exists, exists, Vec::new())
                        }
                        RegisterOutcome { refused, .. } => {
                            row(Outcome::Refused, String::new(), vec![refused])
                        }
                    };
                    EntryRow {
                        node: request.node.clone(),
                        selectors: request.selectors.clone(),
                        ..row
                    }
                })),
            }
        }
        Self { imported, entries }
    }
}

impl View for ImportView {
    fn draw(&self, page: &mut Page) {
        let mut table = Table::new(["SPIFFE ID", "NODE", "SELECTORS", "OUTCOME", "NOTES"]);
        for row in &self.entries {
            let (outcome, tone) = match row.outcome {
                Outcome::New if self.imported => ("registered", Tone::Good),
                Outcome::New => ("would be registered", Tone::Good),
                Outcome::Exists => ("is there already", Tone::Plain),
                Outcome::Refused => ("refused", Tone::Bad),
                Outcome::NoCounterpart => ("has no counterpart", Tone::Bad),
            };
            table.row([
                row.spiffe_id.as_str().into(),
                row.node.as_str().into(),
                row.selectors.join(", ").into(),
                Cell::toned(outcome, tone),
                row.notes.join("; ").into(),
            ]);
        }
        page.table(table, "no entries in the file");
    }
}
