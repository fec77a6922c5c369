//! Revocations, and what they do.

use serde::Serialize;
use signet_proto::ca::v1::{GetCrlResponse, ListRevocationsResponse, RevocationEntry, RevokeResponse};
use signet_proto::view::v1::revocation::Subject;

use crate::output::{Cell, Page, Table, Tone, View};
use crate::text;

/// What the operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// `revoke`.
    Revoke,
    /// `ban`.
    Ban,
    /// `evict`.
    Evict,
}

/// One revocation.
#[derive(Debug, Serialize)]
pub(crate) struct RevocationRow {
    kind: &'static str,
    subject: String,
    spiffe_id: String,
    reason: String,
    at: i64,
    by: String,
    until: i64,
    issued_until: i64,
    closed: bool,
    banned: bool,
    cause: String,
}

impl From<RevocationEntry> for RevocationRow {
    fn from(entry: RevocationEntry) -> Self {
        let revocation = entry.revocation.unwrap_or_default();
        // The name is `<kind>:<subject>`, the subject as it is typed.
        let subject = revocation
            .id
            .split_once(':')
            .map(|(_, subject)| subject.to_owned());
        let kind = match revocation.subject {
            Some(Subject::Serial(_)) => "serial",
            Some(Subject::SpiffeId(_)) => "spiffe-id",
            Some(Subject::Node(_)) => "node",
            Some(Subject::Authority(_)) => "authority",
            None => "unknown",
        };
        Self {
            kind,
            subject: subject.unwrap_or(revocation.id),
            spiffe_id: revocation.owner,
            reason: revocation.reason,
            at: revocation.at,
            by: entry.by,
            until: revocation.until,
            issued_until: revocation.not_before,
            closed: revocation.closed,
            banned: revocation.banned,
            cause: entry.cause,
        }
    }
}

impl RevocationRow {
    /// What ends it before its time. What is revoked stays so; but a ban, or that an ID gets nothing new, can be lifted.
    fn lifted_by(&self) -> String {
        match (self.banned, self.closed) {
            (true, _) => format!("signet ca evict {}", self.subject),
            (false, true) => format!("signet ca reopen {}", self.subject),
            (false, false) => "-".to_owned(),
        }
    }

    fn state(&self) -> Cell {
        match (self.banned, self.closed) {
            (true, _) => Cell::toned("banned", Tone::Bad),
            (false, true) => Cell::toned("closed", Tone::Bad),
            (false, false) => "revoked".into(),
        }
    }
}

/// All revocations.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct RevocationsView {
    revocations: Vec<RevocationRow>,
}

impl From<ListRevocationsResponse> for RevocationsView {
    fn from(answer: ListRevocationsResponse) -> Self {
        Self {
            revocations: answer.revocations.into_iter().map(RevocationRow::from).collect(),
        }
    }
}

impl View for RevocationsView {
    fn draw(&self, page: &mut Page) {
        let mut table = Table::new([
            "KIND",
            "SUBJECT",
            "OF",
            "STATE",
            "WHEN",
            "BY",
            "LAST EXPIRES",
            "LIFTED BY",
            "REASON",
        ]);
        for row in &self.revocations {
            table.row([
                row.kind.into(),
                row.subject.as_str().into(),
                text::dash(text::short_id(&row.spiffe_id)).into(),
                row.state(),
                text::when(row.at, page.now()).into(),
                row.by.as_str().into(),
                text::when(row.until, page.now()).into(),
                row.lifted_by().into(),
                row.reason.as_str().into(),
            ]);
        }
        page.table(table, "nothing is revoked");
    }
}

/// What a revocation did, or would do.
#[derive(Debug, Serialize)]
pub(crate) struct EffectView {
    #[serde(skip)]
    deed: Deed,
    revocation: RevocationRow,
    certificates: u32,
    spiffe_ids: Vec<String>,
    connected: u32,
}

impl EffectView {
    pub(crate) fn new(deed: Deed, answer: RevokeResponse) -> Self {
        Self {
            deed,
            revocation: answer.revocation.unwrap_or_default().into(),
            certificates: answer.certificates,
            spiffe_ids: answer.spiffe_ids,
            connected: answer.connected,
        }
    }

    /// What will happen, for the one who has to say yes.
    pub(crate) fn announcement(&self) -> String {
        let subject = &self.revocation.subject;
        let (first, then) = match (self.deed, self.revocation.kind) {
            (Deed::Ban, _) => (
                format!("The node {subject} will be banned."),
                "Its sessions end, its tokens are withdrawn, and it cannot come back before `signet ca evict`.",
            ),
            (Deed::Evict, _) => (
                format!("The node {subject} will be forgotten."),
                "Its sessions end and its tokens are withdrawn; it may attest anew with a new token.",
            ),
            (Deed::Revoke, "node") => (
                format!("All certificates of the node {subject} will be revoked."),
                "Its sessions end; it may attest anew with a new token.",
            ),
            (Deed::Revoke, "spiffe-id") if self.revocation.closed => (
                format!("All certificates of {subject} will be revoked."),
                "It gets no new ones before `signet ca reopen`.",
            ),
            (Deed::Revoke, "spiffe-id") => (
                format!("All certificates of {subject} will be revoked."),
                "New ones are issued at once.",
            ),
            (Deed::Revoke, "serial") => (
                format!("The certificate {subject} will be revoked."),
                "Its workload gets a new one at once.",
            ),
            (Deed::Revoke, _) => (
                format!("All that the authority {subject} has signed will be revoked."),
                "Those who hold such certificates have to get new ones.",
            ),
        };
        format!(
            "{first} {}\n{then}\nTraffic that rests on them stops; {} will hear of it at once. It cannot be undone.",
            self.extent(),
            text::count(self.connected.into(), "connected node"),
        )
    }

    fn extent(&self) -> String {
        let certificates = text::count(self.certificates.into(), "valid certificate");
        match self.spiffe_ids.as_slice() {
            [] if self.revocation.kind == "authority" => {
                "Which those are, only who sees them can tell.".to_owned()
            }
            [] => format!("The CA knows of {certificates} of it."),
            [id] => format!("That is {certificates}, of {id}."),
            [first, rest @ ..] => format!("That is {certificates}, of {first} and {} more.", rest.len()),
        }
    }
}

impl View for EffectView {
    fn draw(&self, page: &mut Page) {
        let subject = &self.revocation.subject;
        let done = match self.deed {
            Deed::Revoke => format!("revoked {} {subject}", self.revocation.kind),
            Deed::Ban => format!("banned node {subject}"),
            Deed::Evict => format!("evicted node {subject}"),
        };
        page.line(format!("{done}. {}", self.extent()));
        if self.deed == Deed::Revoke && self.revocation.closed {
            page.line(format!(
                "signet ca reopen {subject}    lets it have certificates again"
            ));
        }
    }
}

/// A SPIFFE ID that may have certificates again.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct ReopenedView {
    revocation: RevocationRow,
}

impl From<RevocationEntry> for ReopenedView {
    fn from(entry: RevocationEntry) -> Self {
        Self {
            revocation: entry.into(),
        }
    }
}

impl View for ReopenedView {
    fn draw(&self, page: &mut Page) {
        page.line(format!(
            "{} may have certificates again; what was revoked stays revoked",
            self.revocation.subject
        ));
    }
}

/// The revocation list.
#[derive(Debug, Serialize)]
pub(crate) struct CrlView {
    number: u64,
    this_update: i64,
    next_update: i64,
    certificates: u32,
    pem: String,
}

impl From<GetCrlResponse> for CrlView {
    fn from(list: GetCrlResponse) -> Self {
        Self {
            number: list.number,
            this_update: list.this_update,
            next_update: list.next_update,
            certificates: list.certificates,
            pem: list.pem,
        }
    }
}

impl View for CrlView {
    fn draw(&self, page: &mut Page) {
        page.line(format!(
            "list {} with {}, the next one is due {}",
            self.number,
            text::count(self.certificates.into(), "revoked certificate"),
            text::when(self.next_update, page.now())
        ));
    }
}

#[cfg(test)]
mod tests {
    use signet_proto::view::v1::Revocation;

    use super::*;

    fn effect(deed: Deed, id: &str, subject: Subject, closed: bool) -> EffectView {
        let revocation = Revocation {
            id: id.into(),
            subject: Some(subject),
            closed,
            ..Revocation::default()
        };
        EffectView::new(
            deed,
            RevokeResponse {
                revocation: Some(RevocationEntry {
                    revocation: Some(revocation),
                    ..RevocationEntry::default()
                }),
                certificates: 2,
                spiffe_ids: vec!["spiffe://td/a".into()],
                connected: 3,
            },
        )
    }

    #[test]
    fn the_list_says_until_when_each_matters_and_what_lifts_it() {
        let entry = |id: &str, subject, closed, banned| RevocationEntry {
            revocation: Some(Revocation {
                id: id.into(),
                subject: Some(subject),
                closed,
                banned,
                at: 940,
                until: 4600,
                reason: "why".into(),
                ..Revocation::default()
            }),
            by: "uid:0".into(),
            ..RevocationEntry::default()
        };
        let revocations = vec![
            entry("node:n3", Subject::Node("n3".into()), false, true),
            entry(
                "spiffe-id:spiffe://td/a",
                Subject::SpiffeId("spiffe://td/a".into()),
                true,
                false,
            ),
            entry("serial:ab", Subject::Serial(vec![0xab]), false, false),
        ];
        let mut page = Page::new(1000, false);
        RevocationsView::from(ListRevocationsResponse { revocations }).draw(&mut page);
        let expected = "\
KIND       SUBJECT        OF  STATE    WHEN       BY     LAST EXPIRES  LIFTED BY                       REASON
node       n3             -   banned   1m00s ago  uid:0  in 1h00m      signet ca evict n3              why
spiffe-id  spiffe://td/a  -   closed   1m00s ago  uid:0  in 1h00m      signet ca reopen spiffe://td/a  why
serial     ab             -   revoked  1m00s ago  uid:0  in 1h00m      -                               why
";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn the_question_says_what_how_much_and_what_comes_after() {
        let id = "spiffe-id:spiffe://td/a";
        let subject = || Subject::SpiffeId("spiffe://td/a".into());
        let closed = effect(Deed::Revoke, id, subject(), true).announcement();
        assert!(closed.contains("All certificates of spiffe://td/a will be revoked. That is 2 valid"));
        assert!(closed.contains("signet ca reopen") && closed.contains("3 connected nodes"));
        let open = effect(Deed::Revoke, id, subject(), false).announcement();
        assert!(open.contains("New ones are issued at once"));
        let ban = effect(Deed::Ban, "node:n1", Subject::Node("n1".into()), false).announcement();
        assert!(ban.contains("node n1 will be banned") && ban.contains("signet ca evict"));
    }
}
