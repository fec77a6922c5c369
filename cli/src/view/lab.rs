//! Labs.

use serde::Serialize;
use signet_lab::traffic::{ProbeReport, StreamReport};
use signet_lab::{LabName, LabStatus, Progress};
use signet_proto::view::v1::Registration;

use crate::output::{Cell, Page, Table, Tone, View};
use crate::text;

/// A step, in words.
pub(crate) fn words(progress: &Progress) -> String {
    match progress {
        Progress::Network { namespaces } => format!("{namespaces} namespaces are joined"),
        Progress::Ca => "the CA answers".to_owned(),
        Progress::Attested { done, of } => format!("{done} of {of} nodes have attested"),
        Progress::Registered { workloads } => {
            format!("{} registered", text::count(*workloads as u64, "workload"))
        }
        Progress::Ready { done, of } => format!("{done} of {of} nodes are ready"),
        Progress::Encrypted => "every pair of nodes sends encrypted".to_owned(),
    }
}

/// All labs.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct LabsView {
    pub(crate) labs: Vec<LabName>,
}

impl View for LabsView {
    fn draw(&self, page: &mut Page) {
        for lab in &self.labs {
            page.line(lab.as_str());
        }
    }
}

/// One lab.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct StatusView {
    pub(crate) lab: LabStatus,
}

impl StatusView {
    /// Notes whose SPIFFE ID is registered on its node.
    pub(crate) fn registered(&mut self, registrations: &[Registration]) {
        for workload in &mut self.lab.workloads {
            let path = format!("ns/{}/sa/{}", workload.namespace, workload.service_account);
            workload.registered = registrations.iter().any(|registration| {
                registration.node == workload.node && text::short_id(&registration.spiffe_id) == path
            });
        }
    }
}

impl View for StatusView {
    fn draw(&self, page: &mut Page) {
        let lab = &self.lab;
        if lab.supervisor.is_none() && !lab.processes.is_empty() {
            let what = "the supervisor is not running: nothing is started again; `signet lab down` clears up";
            page.toned_line(what, Tone::Bad);
        }
        let mut places = Table::new(["PLACE", "KIND", "ON", "IPV4", "IPV6", "REGISTERED", "COMMAND"]);
        for node in &lab.nodes {
            let (ipv4, ipv6) = (node.ipv4.into(), node.ipv6.into());
            places.row([
                node.name.as_str().into(),
                "node".into(),
                "-".into(),
                ipv4,
                ipv6,
                "-".into(),
                "-".into(),
            ]);
        }
        for workload in &lab.workloads {
            places.row([
                workload.full_name().into(),
                "workload".into(),
                workload.node.as_str().into(),
                workload.ipv4.into(),
                workload.ipv6.into(),
                if workload.registered { "yes" } else { "no" }.into(),
                text::dash(&workload.command.join(" ")).into(),
            ]);
        }
        page.table(places, "no nodes");
        page.gap();
        let mut processes = Table::new(["PLACE", "PROCESS", "STATE", "PID", "UP", "RESTARTS", "LAST EXIT"]);
        for process in &lab.processes {
            let tone = match process.state {
                "running" => Tone::Good,
                "held" | "waiting" => Tone::Odd,
                _ => Tone::Bad,
            };
            let started = i64::try_from(process.started).unwrap_or(0);
            let up = process
                .pid
                .map_or_else(|| "-".to_owned(), |_| text::span(page.now() - started));
            processes.row([
                process.place.as_str().into(),
                process.role.into(),
                Cell::toned(process.state, tone),
                process.pid.map_or_else(|| "-".into(), Cell::from),
                up.into(),
                process.restarts.into(),
                text::dash(process.exit.as_deref().unwrap_or_default()).into(),
            ]);
        }
        page.table(processes, "no processes");
    }
}

/// A probe's outcome.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct ProbeView {
    pub(crate) report: ProbeReport,
}

impl View for ProbeView {
    fn draw(&self, page: &mut Page) {
        let report = &self.report;
        let contact = text::nanoseconds(report.contact_us.saturating_mul(1000));
        match &report.error {
            None => {
                page.line(&report.answer);
                let attempts = text::count(report.attempts.into(), "attempt");
                page.toned_line(
                    format!("answered; first contact after {contact}, {attempts}"),
                    Tone::Good,
                );
            }
            Some(error) => page.toned_line(format!("not answered: {error}"), Tone::Bad),
        }
    }
}

/// A transfer's outcome.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct StreamView {
    pub(crate) report: StreamReport,
}

impl View for StreamView {
    fn draw(&self, page: &mut Page) {
        let StreamReport {
            intact,
            sent,
            received,
            longest_gap_ms,
            error,
            longest_gap_over_ms: _,
            last_block_ms: _,
        } = &self.report;
        let gap = format!("longest gap {longest_gap_ms} ms");
        if *intact {
            page.toned_line(
                format!("all {sent} blocks came back, in order and unchanged; {gap}"),
                Tone::Good,
            );
        } else {
            let why = error.as_deref().unwrap_or("blocks are missing");
            page.toned_line(format!("broken after {received} blocks: {why}; {gap}"), Tone::Bad);
        }
    }
}

#[cfg(test)]
mod tests {
    use signet_lab::{LabFile, Plan, ProcessStatus, Role};

    use super::*;

    #[test]
    fn who_is_registered_is_what_the_ca_says_and_not_the_lab_file() {
        let text = "name: x\nnodes: [{name: n1}, {name: n2}]\nworkloads:\n- {name: a, node: n1}\n- {name: b, node: n1, registered: false}\n- {name: c, node: n1}\n";
        let plan = Plan::new(&LabFile::parse(text, "x").unwrap()).unwrap();
        let lab = LabStatus {
            lab: plan.lab,
            created: 0,
            supervisor: None,
            nodes: plan.nodes,
            workloads: plan.workloads,
            processes: Vec::new(),
        };
        let mut view = StatusView { lab };
        let registration = |name: &str, node: &str| Registration {
            spiffe_id: format!("spiffe://cluster.local/ns/default/sa/{name}"),
            node: node.into(),
            ..Registration::default()
        };
        view.registered(&[registration("b", "n1"), registration("c", "n2")]);
        let registered: Vec<_> = view.lab.workloads.iter().map(|w| w.registered).collect();
        assert_eq!(registered, [false, true, false]);
    }

    #[test]
    fn a_process_that_is_not_running_shows_how_it_ended_and_no_uptime() {
        let process = |state, pid| ProcessStatus {
            place: "n1".into(),
            role: Role::Meshd,
            state,
            pid,
            started: 100,
            restarts: 2,
            exit: Some("signal: 9 (SIGKILL)".into()),
        };
        let lab = LabStatus {
            lab: LabName::parse("demo").unwrap(),
            created: 0,
            supervisor: Some(1),
            nodes: Vec::new(),
            workloads: Vec::new(),
            processes: vec![process("running", Some(7)), process("held", None)],
        };
        let mut page = Page::new(160, false);
        StatusView { lab }.draw(&mut page);
        let expected = "\
no nodes

PLACE  PROCESS  STATE    PID  UP     RESTARTS  LAST EXIT
n1     meshd    running  7    1m00s  2         signal: 9 (SIGKILL)
n1     meshd    held     -    -      2         signal: 9 (SIGKILL)
";
        assert_eq!(page.finish(), expected);
    }
}
