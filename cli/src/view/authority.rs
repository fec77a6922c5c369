//! The CA's signing authorities.

use serde::Serialize;
use signet_proto::ca::v1::{Authority, AuthorityStepResponse, ListAuthoritiesResponse};

use super::upstream::{BelowRow, draw_below};
use crate::output::{Cell, Page, Table, Tone, View};
use crate::text;

/// Most nodes that a line names.
const NAMED: usize = 4;

/// One of them.
#[derive(Debug, Serialize)]
pub(crate) struct AuthorityRow {
    kind: String,
    id: String,
    state: String,
    published: i64,
    sequence: u64,
    activated: i64,
    ceased: i64,
    not_after: i64,
    /// When it may sign.
    ripe: i64,
    /// Nodes that have not said that they have it.
    missing: Vec<String>,
    /// When all that it signed has ended.
    outlived: i64,
    /// Nodes whose SVID it signed.
    nodes: Vec<String>,
    key_manager: String,
    key_kind: String,
    /// When its successor is prepared.
    successor: i64,
    certificates: String,
}

impl From<Authority> for AuthorityRow {
    fn from(one: Authority) -> Self {
        Self {
            kind: one.kind,
            id: one.id,
            state: one.state,
            published: one.published,
            sequence: one.sequence,
            activated: one.activated,
            ceased: one.ceased,
            not_after: one.not_after,
            ripe: one.ripe,
            missing: one.missing,
            outlived: one.outlived,
            nodes: one.nodes,
            key_manager: one.key_manager,
            key_kind: one.key_kind,
            successor: one.successor,
            certificates: one.certificates,
        }
    }
}

fn some(nodes: &[String]) -> String {
    let named = nodes.get(..NAMED.min(nodes.len())).unwrap_or_default().join(", ");
    match nodes.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

impl AuthorityRow {
    fn tone(&self) -> Tone {
        match self.state.as_str() {
            "active" => Tone::Good,
            "tainted" | "revoked" => Tone::Bad,
            "prepared" => Tone::Odd,
            _ => Tone::Plain,
        }
    }

    /// What comes next.
    fn next(&self, now: i64) -> String {
        match self.state.as_str() {
            "active" if self.successor > 0 => {
                format!("successor prepared {}", text::when(self.successor.max(now), now))
            }
            "prepared" if self.ripe > now => format!("may sign {}", text::when(self.ripe, now)),
            "prepared" => "may sign".to_owned(),
            "old" | "tainted" if self.outlived > now => {
                format!("may be retired {}", text::when(self.outlived, now))
            }
            "old" | "tainted" => "may be retired".to_owned(),
            _ => "-".to_owned(),
        }
    }

    fn who(&self) -> String {
        match (self.missing.as_slice(), self.nodes.as_slice()) {
            ([], []) => "-".to_owned(),
            ([], nodes) => format!("signed for {}", some(nodes)),
            (missing, _) => format!("not at {}", some(missing)),
        }
    }
}

/// All of them.
#[derive(Debug, Serialize)]
pub(crate) struct AuthoritiesView {
    authorities: Vec<AuthorityRow>,
    sequence: u64,
    publish_interval: u64,
    automatic: bool,
    /// Signing certificates of CAs below.
    below: Vec<BelowRow>,
}

impl From<ListAuthoritiesResponse> for AuthoritiesView {
    fn from(answer: ListAuthoritiesResponse) -> Self {
        Self {
            authorities: answer.authorities.into_iter().map(AuthorityRow::from).collect(),
            sequence: answer.sequence,
            publish_interval: answer.publish_interval,
            automatic: answer.automatic,
            below: answer.below.into_iter().map(BelowRow::from).collect(),
        }
    }
}

impl View for AuthoritiesView {
    fn draw(&self, page: &mut Page) {
        let mut table = Table::new([
            "KIND",
            "ID",
            "STATE",
            "PUBLISHED",
            "SIGNS SINCE",
            "ENDS",
            "KEY",
            "NODES",
            "NEXT",
        ]);
        let now = page.now();
        for row in &self.authorities {
            let key = match row.key_manager.as_str() {
                "" => "gone".to_owned(),
                manager => format!("{} {manager}", row.key_kind),
            };
            table.row([
                row.kind.as_str().into(),
                row.id.as_str().into(),
                Cell::toned(row.state.as_str(), row.tone()),
                text::when(row.published, now).into(),
                text::when(row.activated, now).into(),
                text::when(row.not_after, now).into(),
                key.into(),
                row.who().into(),
                row.next(now).into(),
            ]);
        }
        page.table(table, "there are no authorities");
        draw_below(&self.below, page);
        if !self.automatic {
            page.line("The CA takes none of these steps by itself (--manual-rotation).");
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// `prepare`.
    Prepare,
    /// `activate`.
    Activate,
    /// `taint`.
    Taint,
    /// `retire`.
    Retire,
    /// `revoke`.
    Revoke,
}

/// What a step did, or would do.
#[derive(Debug, Serialize)]
pub(crate) struct StepView {
    #[serde(skip)]
    step: Step,
    rehearsed: bool,
    authority: AuthorityRow,
    /// Nodes that are concerned.
    nodes: Vec<String>,
    connected: u32,
}

impl StepView {
    pub(crate) fn new(step: Step, rehearsed: bool, answer: AuthorityStepResponse) -> Self {
        Self {
            step,
            rehearsed,
            authority: answer.authority.unwrap_or_default().into(),
            nodes: answer.nodes,
            connected: answer.connected,
        }
    }

    /// What happens to the authority.
    fn deed(&self) -> String {
        let name = format!("{} authority {}", self.authority.kind, self.authority.id);
        let (will, did) = match self.step {
            Step::Prepare => ("would be published", "is published, and signs nothing yet"),
            Step::Activate => ("would sign", "signs from now on"),
            Step::Taint => (
                "will be tainted: nodes replace at once what it signed",
                "is tainted: nodes replace what it signed",
            ),
            Step::Retire => (
                "will be taken out of the bundle, and its key destroyed",
                "is out of the bundle, and its key is destroyed",
            ),
            Step::Revoke => (
                "will be revoked: nothing that it signed counts any more, and its key is destroyed",
                "is revoked: nothing that it signed counts any more",
            ),
        };
        format!("{name} {}", if self.rehearsed { will } else { did })
    }

    fn concerned(&self) -> Option<String> {
        if self.nodes.is_empty() {
            return None;
        }
        let nodes = some(&self.nodes);
        Some(match self.step {
            Step::Activate => format!("These nodes have not said that they have it: {nodes}."),
            Step::Taint => format!("These nodes renew their own SVIDs: {nodes}."),
            Step::Revoke => format!(
                "These nodes lose their SVIDs, and have to attest anew with a new join token: {nodes}."
            ),
            Step::Prepare | Step::Retire => return None,
        })
    }

    /// Before it is done.
    pub(crate) fn announcement(&self) -> String {
        let hears = text::count(self.connected.into(), "connected node");
        let concerned = self
            .concerned()
            .map(|text| format!(" {text}"))
            .unwrap_or_default();
        format!("The {}.{concerned} {hears} will hear of it at once.", self.deed())
    }
}

impl View for StepView {
    fn draw(&self, page: &mut Page) {
        page.line(self.deed());
        if let Some(concerned) = self.concerned() {
            page.line(concerned);
        }
        if self.step == Step::Prepare {
            page.line(format!(
                "signet ca authority activate {}    lets it sign, {}",
                self.authority.kind,
                text::when(self.authority.ripe, page.now())
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(state: &str) -> Authority {
        Authority {
            kind: "x509".into(),
            id: "3fa9".into(),
            state: state.into(),
            published: 400,
            activated: 460,
            not_after: 87_400,
            key_manager: "sealed".into(),
            key_kind: "p256".into(),
            ..Authority::default()
        }
    }

    #[test]
    fn the_list_says_what_comes_next_and_who_is_not_there_yet() {
        let authorities = vec![
            Authority {
                outlived: 4600,
                nodes: vec!["n1".into()],
                ..authority("old")
            },
            Authority {
                successor: 44_200,
                ..authority("active")
            },
            Authority {
                activated: 0,
                ripe: 1060,
                missing: (1..=6).map(|number| format!("n{number}")).collect(),
                ..authority("prepared")
            },
            Authority {
                key_manager: String::new(),
                ..authority("retired")
            },
        ];
        let mut page = Page::new(1000, false);
        AuthoritiesView::from(ListAuthoritiesResponse {
            authorities,
            automatic: true,
            ..ListAuthoritiesResponse::default()
        })
        .draw(&mut page);
        let expected = "\
KIND  ID    STATE     PUBLISHED   SIGNS SINCE  ENDS      KEY          NODES                             NEXT
x509  3fa9  old       10m00s ago  9m00s ago    in 1d00h  p256 sealed  signed for n1                     may be retired in 1h00m
x509  3fa9  active    10m00s ago  9m00s ago    in 1d00h  p256 sealed  -                                 successor prepared in 12h00m
x509  3fa9  prepared  10m00s ago  never        in 1d00h  p256 sealed  not at n1, n2, n3, n4 and 2 more  may sign in 1m00s
x509  3fa9  retired   10m00s ago  9m00s ago    in 1d00h  gone         -                                 -
";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn the_question_says_what_is_lost() {
        let answer = AuthorityStepResponse {
            authority: Some(authority("tainted")),
            nodes: vec!["n1".into()],
            connected: 3,
        };
        let question = StepView::new(Step::Revoke, true, answer).announcement();
        assert!(question.contains("nothing that it signed counts") && question.contains("attest anew"));
        assert!(question.contains("n1") && question.contains("3 connected nodes"));
    }
}
