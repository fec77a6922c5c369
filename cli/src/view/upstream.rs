//! Who is above a CA, and below it.

use serde::Serialize;
use signet_proto::ca::v1::{Below, UpstreamStatus};

use crate::output::{Cell, Page, Table, Tone};
use crate::text;

/// Who is above a CA, and how that stands.
#[derive(Debug, Serialize)]
pub(crate) struct UpstreamView {
    kind: String,
    addresses: Vec<String>,
    /// Of a Signet CA.
    connected: bool,
    since: i64,
    failure: String,
    heard: i64,
    sequence: u64,
    /// When the certificate that signs here ends.
    until: i64,
}

impl From<UpstreamStatus> for UpstreamView {
    fn from(status: UpstreamStatus) -> Self {
        Self {
            kind: status.kind,
            addresses: status.addresses,
            connected: status.connected,
            since: status.since,
            failure: status.failure,
            heard: status.heard,
            sequence: status.sequence,
            until: status.until,
        }
    }
}

impl UpstreamView {
    /// A line, or two.
    pub(crate) fn draw(&self, page: &mut Page) {
        let now = page.now();
        let until = text::when(self.until, now);
        if self.kind != "signet" {
            page.line(format!(
                "{:<15}{}; what signs here ends {until}",
                "upstream", self.kind
            ));
            return;
        }
        let at = self.addresses.join(", ");
        let since = text::when(self.since, now);
        if self.connected {
            let sequence = self.sequence;
            page.line(format!(
                "{:<15}signet at {at}: followed since {since}, bundle {sequence}; what signs here ends {until}",
                "upstream"
            ));
            return;
        }
        page.line(format!(
            "{:<15}signet at {at}: not reached since {since}: {}",
            "upstream", self.failure
        ));
        page.line(format!(
            "{:<15}last heard {}; this CA goes on without it until {until}",
            "",
            text::when(self.heard, now)
        ));
    }
}

/// A signing certificate of a CA below.
#[derive(Debug, Serialize)]
pub(crate) struct BelowRow {
    spiffe_id: String,
    authority: String,
    serial: String,
    signer: String,
    not_after: i64,
    revoked: bool,
}

impl From<Below> for BelowRow {
    fn from(one: Below) -> Self {
        Self {
            spiffe_id: one.spiffe_id,
            authority: one.authority,
            serial: one.serial,
            signer: one.signer,
            not_after: one.not_after,
            revoked: one.revoked,
        }
    }
}

/// Draws those that there are.
pub(crate) fn draw_below(below: &[BelowRow], page: &mut Page) {
    if below.is_empty() {
        return;
    }
    let now = page.now();
    let mut table = Table::new(["CA BELOW", "AUTHORITY", "STATE", "ENDS", "SIGNED BY"]);
    for row in below {
        let (state, tone) = if row.revoked {
            ("revoked", Tone::Bad)
        } else {
            ("good", Tone::Good)
        };
        table.row([
            row.spiffe_id.as_str().into(),
            row.authority.as_str().into(),
            Cell::toned(state, tone),
            text::when(row.not_after, now).into(),
            row.signer.as_str().into(),
        ]);
    }
    page.line("");
    page.table(table, "");
}
