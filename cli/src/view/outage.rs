//! How long the CA may be gone.

use serde::Serialize;
use signet_proto::ca::v1::lapse::Kind;
use signet_proto::ca::v1::{Lapse, OutageBudget};

use crate::output::{Cell, Page, Table, Tone};
use crate::text;

/// Most nodes that people are shown.
const SHOWN: usize = 10;

/// How long the CA may be gone, and what lapses then.
#[derive(Debug, Serialize)]
pub(crate) struct OutageView {
    /// When the first SVID lapses should nothing be issued any more, Unix seconds; 0: nothing is live.
    first_lapse: i64,
    /// Seconds; 0: nobody has said.
    target: u32,
    classes: Vec<LapseView>,
    nodes: Vec<LapseView>,
    /// Seconds.
    jwt_svids_promised: u32,
    /// Seconds.
    revocation_lists_promised: u32,
}

/// What lapses first of a class or of a node.
#[derive(Debug, Serialize)]
struct LapseView {
    kind: &'static str,
    ttl: u32,
    live: u32,
    first_lapse: i64,
    spiffe_id: String,
    node: String,
    promised: u32,
    meets_target: bool,
    overdue: bool,
}

impl From<OutageBudget> for OutageView {
    fn from(budget: OutageBudget) -> Self {
        let target = budget.target;
        let view = |lapse: Lapse| LapseView {
            kind: match lapse.kind() {
                Kind::Nodes => "nodes",
                Kind::Workloads => "workloads",
                Kind::Unspecified => "others",
            },
            ttl: lapse.ttl,
            live: lapse.live,
            first_lapse: lapse.first,
            meets_target: lapse.promised >= target,
            promised: lapse.promised,
            overdue: lapse.overdue,
            spiffe_id: lapse.spiffe_id,
            node: lapse.node,
        };
        Self {
            first_lapse: budget.classes.first().map_or(0, |lapse| lapse.first),
            target,
            classes: budget.classes.into_iter().map(view).collect(),
            nodes: budget.nodes.into_iter().map(view).collect(),
            jwt_svids_promised: budget.jwt_svids,
            revocation_lists_promised: budget.revocation_lists,
        }
    }
}

impl OutageView {
    /// Lines and tables below the rest of the status.
    pub(crate) fn draw(&self, page: &mut Page) {
        let target = match self.target {
            0 => String::new(),
            target => format!(", target {}", text::span(target.into())),
        };
        let Some(worst) = self.classes.first() else {
            page.line(format!("{:<15}nothing is live{target}", "outage budget"));
            return;
        };
        let budget = text::span(worst.first_lapse - page.now());
        let whose = text::short_id(&worst.spiffe_id);
        page.line(format!(
            "{:<15}{budget} until the first SVID lapses ({whose} on {}){target}",
            "outage budget", worst.node
        ));
        page.gap();
        let mut classes = Table::new([
            "SVIDS OF",
            "LIFE",
            "LIVE",
            "FIRST LAPSES IN",
            "ALWAYS LEFT",
            "FIRST",
        ]);
        for lapse in &self.classes {
            classes.row(cells(lapse, page.now(), lapse.kind, text::span(lapse.ttl.into())));
        }
        let promise = |seconds: u32| Cell::from(text::span(seconds.into()));
        for (what, promised) in [
            ("tokens in use", self.jwt_svids_promised),
            ("revocation lists", self.revocation_lists_promised),
        ] {
            let dash = || Cell::from("-");
            classes.row([
                Cell::from(what),
                dash(),
                dash(),
                dash(),
                promise(promised),
                dash(),
            ]);
        }
        page.table(classes, "");
        page.gap();
        let mut nodes = Table::new(["NODE", "LIVE", "FIRST LAPSES IN", "ALWAYS LEFT", "FIRST"]);
        for lapse in self.nodes.iter().take(SHOWN) {
            let [_, _, live, left, promised, first] = cells(lapse, page.now(), lapse.kind, String::new());
            nodes.row([Cell::from(&lapse.node), live, left, promised, first]);
        }
        page.table(nodes, "");
        if self.nodes.len() > SHOWN {
            page.line(format!("and {} more nodes", self.nodes.len() - SHOWN));
        }
        if self.classes.iter().any(|lapse| lapse.overdue) {
            page.line("overdue: less is left than agents leave; the agent is away, or `signet status` there says why");
        }
    }
}

fn cells(lapse: &LapseView, now: i64, what: &str, life: String) -> [Cell; 6] {
    let left = text::span(lapse.first_lapse - now);
    let left = if lapse.overdue {
        Cell::toned(format!("{left}, overdue"), Tone::Bad)
    } else {
        Cell::from(left)
    };
    let promised = text::span(lapse.promised.into());
    let promised = if lapse.meets_target {
        Cell::from(promised)
    } else {
        Cell::toned(format!("{promised}, below target"), Tone::Odd)
    };
    [
        Cell::from(what),
        Cell::from(life),
        Cell::from(lapse.live),
        left,
        promised,
        Cell::from(text::short_id(&lapse.spiffe_id)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lapse(kind: Kind, first: i64, promised: u32, node: &str) -> Lapse {
        Lapse {
            kind: kind.into(),
            ttl: 3_600,
            live: 2,
            first,
            spiffe_id: "spiffe://td/ns/shop/sa/web".to_owned(),
            node: node.to_owned(),
            promised,
            overdue: first < 1_000 + i64::from(promised),
        }
    }

    fn drawn(budget: OutageBudget) -> String {
        let mut page = Page::new(1_000, false);
        OutageView::from(budget).draw(&mut page);
        page.finish()
    }

    #[test]
    fn the_budget_is_that_of_what_lapses_first_and_what_misses_its_target_says_so() {
        let shown = drawn(OutageBudget {
            target: 1_800,
            classes: vec![
                lapse(Kind::Workloads, 1_090, 1_440, "n2"),
                lapse(Kind::Nodes, 9_000, 1_980, "n1"),
            ],
            nodes: vec![lapse(Kind::Workloads, 1_090, 1_440, "n2")],
            jwt_svids: 150,
            revocation_lists: 1_080,
        });
        assert!(
            shown.contains("1m30s until the first SVID lapses (ns/shop/sa/web on n2), target 30m00s"),
            "{shown}"
        );
        assert_eq!(shown.matches("overdue").count(), 3, "{shown}");
        assert_eq!(shown.matches("below target").count(), 2, "{shown}");
        assert!(
            shown.contains("tokens in use") && shown.contains("2m30s"),
            "{shown}"
        );
    }

    #[test]
    fn where_nothing_is_live_there_is_no_table() {
        assert_eq!(drawn(OutageBudget::default()), "outage budget  nothing is live\n");
    }
}
