//! Policies, in force or checked.

use serde::Serialize;
use signet_proto::mesh::v1::PolicyEntry;
use signet_source::{Errors, SourceError};

use crate::output::{Cell, Page, Table, Tone, View};
use crate::text;

/// Policies in force.
#[derive(Debug, Default, Serialize)]
pub(crate) struct PoliciesView {
    pub(crate) policies: Vec<PolicyRow>,
    pub(crate) errors: Vec<ErrorRow>,
}

/// One policy on one node.
#[derive(Debug, Serialize)]
pub(crate) struct PolicyRow {
    node: String,
    namespace: String,
    name: String,
    selects: Vec<String>,
    ingress_rules: u32,
    egress_rules: u32,
    authentication: String,
    file: String,
}

/// What is wrong with a node's configuration folder.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorRow {
    pub(crate) node: String,
    pub(crate) error: String,
}

impl PolicyRow {
    pub(crate) fn new(node: &str, policy: PolicyEntry) -> Self {
        Self {
            node: node.to_owned(),
            namespace: policy.namespace,
            name: policy.name,
            selects: policy.selects,
            ingress_rules: policy.ingress_rules,
            egress_rules: policy.egress_rules,
            authentication: policy.authentication,
            file: policy.file,
        }
    }
}

impl View for PoliciesView {
    fn draw(&self, page: &mut Page) {
        let headings = [
            "NODE",
            "POLICY",
            "SELECTS HERE",
            "INGRESS",
            "EGRESS",
            "AUTHENTICATION",
            "FILE",
        ];
        let mut table = Table::new(headings);
        for policy in &self.policies {
            let tone = if policy.authentication == "required" {
                Tone::Good
            } else {
                Tone::Plain
            };
            table.row([
                policy.node.as_str().into(),
                format!("{}/{}", policy.namespace, policy.name).into(),
                text::dash(&policy.selects.join(", ")).into(),
                policy.ingress_rules.into(),
                policy.egress_rules.into(),
                Cell::toned(text::dash(&policy.authentication), tone),
                text::dash(&policy.file).into(),
            ]);
        }
        page.table(table, "no policies: all traffic between workloads is allowed");
        for error in &self.errors {
            page.toned_line(
                format!(
                    "{}: {}; the last good policies stay in force",
                    error.node, error.error
                ),
                Tone::Bad,
            );
        }
    }
}

/// A checked file.
#[derive(Debug, Serialize)]
pub(crate) struct CheckView {
    file: String,
    good: bool,
    workloads: usize,
    policies: usize,
    problems: Vec<ProblemRow>,
    #[serde(skip)]
    lines: Vec<String>,
}

/// One thing that is wrong with a file. Lines and columns count from 1; 0: no place of its own.
#[derive(Debug, Serialize)]
struct ProblemRow {
    line: u64,
    column: u64,
    field: String,
    message: String,
}

impl CheckView {
    pub(crate) fn good(file: String, workloads: usize, policies: usize) -> Self {
        Self {
            file,
            good: true,
            workloads,
            policies,
            problems: Vec::new(),
            lines: Vec::new(),
        }
    }

    pub(crate) fn bad(file: String, errors: &Errors) -> Self {
        let row = |error: &SourceError| ProblemRow {
            line: error.line,
            column: error.column,
            field: error.field.clone(),
            message: error.message.clone(),
        };
        let problems = errors.iter().map(row).collect();
        Self {
            file,
            good: false,
            workloads: 0,
            policies: 0,
            problems,
            lines: errors.lines(),
        }
    }
}

impl View for CheckView {
    fn draw(&self, page: &mut Page) {
        for line in &self.lines {
            page.toned_line(line, Tone::Bad);
        }
        if self.good {
            let policies = if self.policies == 1 {
                "1 policy".to_owned()
            } else {
                format!("{} policies", self.policies)
            };
            let workloads = text::count(self.workloads as u64, "workload");
            page.toned_line(
                format!("{}: good ({workloads}, {policies})", self.file),
                Tone::Good,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_folder_is_told_beside_the_policies_that_stay_in_force() {
        let policy = PolicyEntry {
            namespace: "shop".into(),
            name: "web".into(),
            selects: vec!["shop/web".into()],
            ingress_rules: 2,
            authentication: "required".into(),
            file: "web.yaml".into(),
            ..PolicyEntry::default()
        };
        let errors = vec![ErrorRow {
            node: "n2".into(),
            error: "bad.yaml:3: unknown field".into(),
        }];
        let mut page = Page::new(0, false);
        PoliciesView {
            policies: vec![PolicyRow::new("n2", policy)],
            errors,
        }
        .draw(&mut page);
        let expected = "\
NODE  POLICY    SELECTS HERE  INGRESS  EGRESS  AUTHENTICATION  FILE
n2    shop/web  shop/web      2        0       required        web.yaml
n2: bad.yaml:3: unknown field; the last good policies stay in force
";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn a_refused_file_shows_each_problem_with_its_place() {
        let error = SourceError {
            file: "web.yaml".into(),
            line: 3,
            column: 5,
            field: "spec.ingres".into(),
            message: "unknown field".into(),
        };
        let view = CheckView::bad("web.yaml".into(), &Errors::from(error));
        let mut page = Page::new(0, false);
        view.draw(&mut page);
        assert_eq!(page.finish(), "web.yaml:3:5: spec.ingres: unknown field\n");
        assert_eq!(serde_json::to_value(view).unwrap()["problems"][0]["line"], 3);
    }
}
