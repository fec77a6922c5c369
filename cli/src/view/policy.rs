//! Policies, in force or checked.

use serde::Serialize;
use signet_proto::mesh::v1::PolicyEntry;
use signet_source::{Checked, Errors, SourceError};

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
    /// Rules that let pass without any proof.
    unproven: Vec<String>,
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
            unproven: policy.unproven,
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
            "UNPROVEN",
            "FILE",
        ];
        let mut table = Table::new(headings);
        for policy in &self.policies {
            let tone = if policy.authentication == "required" {
                Tone::Good
            } else {
                Tone::Plain
            };
            let unproven = if policy.unproven.is_empty() {
                Tone::Plain
            } else {
                Tone::Odd
            };
            table.row([
                policy.node.as_str().into(),
                format!("{}/{}", policy.namespace, policy.name).into(),
                text::dash(&policy.selects.join(", ")).into(),
                policy.ingress_rules.into(),
                policy.egress_rules.into(),
                Cell::toned(text::dash(&policy.authentication), tone),
                Cell::toned(text::dash(&policy.unproven.join(", ")), unproven),
                text::dash(&policy.file).into(),
            ]);
        }
        let none = if self.errors.is_empty() {
            "no policies: all traffic between workloads is allowed"
        } else {
            "no policies are in force: nothing passes until there is a configuration that can be read"
        };
        page.table(table, none);
        for error in &self.errors {
            page.toned_line(
                format!(
                    "{}: {}; what was good before, if there was, stays in force",
                    error.node, error.error
                ),
                Tone::Bad,
            );
        }
    }
}

/// Files that were checked as one set.
#[derive(Debug, Default, Serialize)]
pub(crate) struct CheckView {
    /// Those that were read; empty where something is wrong.
    files: Vec<String>,
    good: bool,
    workloads: usize,
    policies: usize,
    /// Rules that let pass without any proof.
    unproven: Vec<UnprovenRow>,
    problems: Vec<ProblemRow>,
    /// What may be a slip of the pen.
    remarks: Vec<String>,
    #[serde(skip)]
    lines: Vec<String>,
}

/// A rule that lets pass without any proof.
#[derive(Debug, Serialize)]
struct UnprovenRow {
    file: String,
    rule: String,
}

/// One thing that is wrong. Lines and columns count from 1; 0: no place of its own.
#[derive(Debug, Serialize)]
struct ProblemRow {
    file: String,
    line: u64,
    column: u64,
    field: String,
    message: String,
}

impl CheckView {
    /// What could be read; it is good if nothing of it would be left out.
    pub(crate) fn read(checked: Checked) -> Self {
        let set = &checked.set;
        let unproven = set.policies().iter().flat_map(|policy| {
            policy.unproven().map(|rule| UnprovenRow {
                file: set.policy_file(&policy.name).unwrap_or_default().to_owned(),
                rule: format!("{} {rule}", policy.name),
            })
        });
        let conflict = |message: &String| ProblemRow {
            file: String::new(),
            line: 0,
            column: 0,
            field: String::new(),
            message: message.clone(),
        };
        Self {
            good: checked.conflicts.is_empty(),
            workloads: set.workloads().len(),
            policies: set.policies().len(),
            unproven: unproven.collect(),
            problems: checked.conflicts.iter().map(conflict).collect(),
            remarks: checked.remarks,
            lines: checked.conflicts,
            files: checked.files,
        }
    }

    /// What is refused.
    pub(crate) fn refused(errors: &Errors) -> Self {
        let row = |error: &SourceError| ProblemRow {
            file: error.file.clone(),
            line: error.line,
            column: error.column,
            field: error.field.clone(),
            message: error.message.clone(),
        };
        Self {
            problems: errors.iter().map(row).collect(),
            lines: errors.lines(),
            ..Self::default()
        }
    }
}

impl View for CheckView {
    fn draw(&self, page: &mut Page) {
        for line in &self.lines {
            page.toned_line(line, Tone::Bad);
        }
        for UnprovenRow { file, rule } in &self.unproven {
            page.toned_line(
                format!("{file}: {rule} lets pass without a proof; `authentication: required` asks for one"),
                Tone::Odd,
            );
        }
        for remark in &self.remarks {
            page.toned_line(remark, Tone::Odd);
        }
        if self.good {
            let policies = if self.policies == 1 {
                "1 policy".to_owned()
            } else {
                format!("{} policies", self.policies)
            };
            let workloads = text::count(self.workloads as u64, "workload");
            let what = match self.files.as_slice() {
                [only] => only.clone(),
                several => text::count(several.len() as u64, "file"),
            };
            page.toned_line(format!("{what}: good ({workloads}, {policies})"), Tone::Good);
        }
    }
}

#[cfg(test)]
mod tests {
    use signet_source::Input;

    use super::*;

    #[test]
    fn a_broken_folder_is_told_beside_the_policies_that_stay_in_force() {
        let policy = PolicyEntry {
            namespace: "shop".into(),
            name: "web".into(),
            selects: vec!["shop/web".into()],
            ingress_rules: 2,
            authentication: "required".into(),
            unproven: vec!["ingress[1]".into()],
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
NODE  POLICY    SELECTS HERE  INGRESS  EGRESS  AUTHENTICATION  UNPROVEN    FILE
n2    shop/web  shop/web      2        0       required        ingress[1]  web.yaml
n2: bad.yaml:3: unknown field; what was good before, if there was, stays in force
";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn a_good_file_shows_the_rules_for_which_nothing_is_proven() {
        let text = "apiVersion: signet.io/v1alpha1\nkind: Policy\nmetadata: {name: web, namespace: shop}\nspec:\n  ingress:\n  \
            - {from: [{entity: all}], authentication: required}\n  - {from: [{entity: host}]}\n";
        let input = Input::Text {
            name: "web.yaml".into(),
            text: text.into(),
        };
        let checked = signet_source::check(&[input]).unwrap();
        let mut page = Page::new(0, false);
        CheckView::read(checked).draw(&mut page);
        let shown = page.finish();
        assert!(
            shown.starts_with("web.yaml: shop/web ingress[1] lets pass without a proof; "),
            "{shown}"
        );
        assert!(
            shown.ends_with("\nweb.yaml: good (0 workloads, 1 policy)\n"),
            "{shown}"
        );
        assert_eq!(shown.lines().count(), 2);
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
        let view = CheckView::refused(&Errors::from(error));
        let mut page = Page::new(0, false);
        view.draw(&mut page);
        assert_eq!(page.finish(), "web.yaml:3:5: spec.ingres: unknown field\n");
        assert_eq!(serde_json::to_value(view).unwrap()["problems"][0]["line"], 3);
    }
}
