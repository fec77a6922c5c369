//! The command line of everything that runs in a lab: pure.

use std::path::{Path, PathBuf};

use crate::control::Role;
use crate::exec::environment;
use crate::plan::CA_IPV4;
use crate::{LabPaths, NodePlan, Plan};

/// TCP port of the CA.
const CA_PORT: u16 = 4240;
/// TCP port of node sessions.
const SESSION_PORT: u16 = 4250;

/// A process that the supervisor keeps running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessSpec {
    /// Node, workload or `ca`: whose namespace it runs in.
    pub(crate) place: String,
    /// What it is for.
    pub(crate) role: Role,
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// Added to the environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Its output.
    pub(crate) log: PathBuf,
}

impl ProcessSpec {
    /// The name that its files share.
    pub(crate) fn file_name(&self) -> String {
        file_name(&self.place, self.role)
    }
}

/// The name that a process' files share.
pub(crate) fn file_name(place: &str, role: Role) -> String {
    if role == Role::Ca {
        "ca".to_owned()
    } else {
        format!("{place}-{role}")
    }
}

/// Where a process writes its output.
pub(crate) fn log_file(paths: &LabPaths, place: &str, role: Role) -> PathBuf {
    paths.logs().join(format!("{}.log", file_name(place, role)))
}

/// Where a node's agent finds its join token.
pub(crate) fn token_file(paths: &LabPaths, node: &str) -> PathBuf {
    paths.node_run(node).join("join-token")
}

/// Where a node's agent keeps its key and SVID.
pub(crate) fn agent_data(paths: &LabPaths, node: &str) -> PathBuf {
    paths.node_run(node).join("agent")
}

/// All processes of a lab: the CA first, then node by node, then the workloads' commands.
pub(crate) fn processes(plan: &Plan, paths: &LabPaths, bin_dir: &Path) -> Vec<ProcessSpec> {
    let daemon = |place: &str, role: Role, arguments: Vec<String>| {
        let binary = bin_dir
            .join(role.binary().unwrap_or_default())
            .display()
            .to_string();
        let argv = [vec![binary, "run".to_owned()], arguments].concat();
        let log = log_file(paths, place, role);
        ProcessSpec {
            place: place.to_owned(),
            role,
            argv,
            environment: Vec::new(),
            log,
        }
    };
    let mut all = vec![daemon("ca", Role::Ca, ca_arguments(plan, paths))];
    for node in &plan.nodes {
        all.push(daemon(
            &node.name,
            Role::Meshd,
            meshd_arguments(plan, paths, node),
        ));
        all.push(daemon(&node.name, Role::Keyd, keyd_arguments(paths, node)));
        all.push(daemon(
            &node.name,
            Role::Agent,
            agent_arguments(plan, paths, node),
        ));
    }
    for workload in plan
        .workloads
        .iter()
        .filter(|workload| !workload.command.is_empty())
    {
        all.push(ProcessSpec {
            place: workload.name.clone(),
            role: Role::Workload,
            argv: workload.command.clone(),
            environment: environment(plan, paths, bin_dir, &workload.name),
            log: log_file(paths, &workload.name, Role::Workload),
        });
    }
    all
}

fn ca_arguments(plan: &Plan, paths: &LabPaths) -> Vec<String> {
    let mut arguments = flags(&[
        ("--trust-domain", plan.trust_domain.clone()),
        ("--data-dir", paths.ca_dir().join("data").display().to_string()),
        ("--listen", format!("{CA_IPV4}:{CA_PORT}")),
        ("--socket", paths.ca_socket().display().to_string()),
        ("--metrics-listen", format!("127.0.0.1:{}", metrics_ports::CA)),
    ]);
    arguments.extend(
        plan.svid_ttl
            .iter()
            .flat_map(|ttl| ["--svid-ttl", ttl, "--node-svid-ttl", ttl].map(str::to_owned)),
    );
    arguments
}

fn agent_arguments(plan: &Plan, paths: &LabPaths, node: &NodePlan) -> Vec<String> {
    flags(&[
        ("--node", node.name.clone()),
        ("--ca", format!("{CA_IPV4}:{CA_PORT}")),
        ("--trust-bundle", paths.trust_bundle().display().to_string()),
        (
            "--join-token-file",
            token_file(paths, &node.name).display().to_string(),
        ),
        ("--data-dir", agent_data(paths, &node.name).display().to_string()),
        ("--run-dir", paths.node_run(&node.name).display().to_string()),
        ("--bpffs", paths.node_bpffs(&node.name).display().to_string()),
        ("--listen", format!("{}:{SESSION_PORT}", node.ipv4)),
        ("--preauth", plan.preauth.name().to_owned()),
        ("--metrics-listen", format!("127.0.0.1:{}", metrics_ports::AGENT)),
    ])
}

fn meshd_arguments(plan: &Plan, paths: &LabPaths, node: &NodePlan) -> Vec<String> {
    let mut arguments = flags(&[
        ("--node", node.name.clone()),
        ("--config-dir", paths.config().display().to_string()),
        ("--run-dir", paths.node_run(&node.name).display().to_string()),
        ("--bpffs", paths.node_bpffs(&node.name).display().to_string()),
        ("--uplink", "eth0".to_owned()),
        ("--metrics-listen", format!("127.0.0.1:{}", metrics_ports::MESHD)),
    ]);
    if let Some(proofs) = plan.map_auth {
        arguments.extend(["--map-auth".to_owned(), proofs.to_string()]);
    }
    arguments
}

fn keyd_arguments(paths: &LabPaths, node: &NodePlan) -> Vec<String> {
    flags(&[
        ("--run-dir", paths.node_run(&node.name).display().to_string()),
        ("--bpffs", paths.node_bpffs(&node.name).display().to_string()),
        ("--metrics-listen", format!("127.0.0.1:{}", metrics_ports::KEYD)),
    ])
}

/// Ports of the daemons' metrics, on the loopback of their place: nobody else reaches them.
pub mod metrics_ports {
    /// signet-ca.
    pub const CA: u16 = 4241;
    /// signet-agent.
    pub const AGENT: u16 = 4251;
    /// signet-keyd.
    pub const KEYD: u16 = 4252;
    /// signet-meshd.
    pub const MESHD: u16 = 4253;
}

fn flags(pairs: &[(&str, String)]) -> Vec<String> {
    pairs
        .iter()
        .flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LabFile;

    #[test]
    fn every_node_gets_its_daemons_with_folders_of_its_own() {
        let text = "name: demo\nsvidTtl: 90s\nmapAuth: 8\nnodes: [{name: n1}, {name: n2}]\n\
                    workloads: [{name: web, node: n2, command: [sleep, '9']}, {name: idle, node: n1}]\n";
        let plan = Plan::new(&LabFile::parse(text, "test").unwrap()).unwrap();
        let all = processes(&plan, &LabPaths::new(&plan.lab), Path::new("/opt/bin"));
        let names: Vec<_> = all.iter().map(ProcessSpec::file_name).collect();
        assert_eq!(
            names,
            [
                "ca",
                "n1-meshd",
                "n1-keyd",
                "n1-agent",
                "n2-meshd",
                "n2-keyd",
                "n2-agent",
                "web-workload"
            ]
        );
        assert!(
            all[0]
                .argv
                .ends_with(&["--svid-ttl", "90s", "--node-svid-ttl", "90s"].map(str::to_owned))
        );
        assert!(all[4].argv.ends_with(&["--map-auth", "8"].map(str::to_owned)));
        let agent = all[6].argv.join(" ");
        assert!(
            agent.starts_with("/opt/bin/signet-agent run --node n2 --ca 172.30.0.2:4240 "),
            "{agent}"
        );
        assert!(agent.contains("--run-dir /run/signet-lab/demo/n2 "), "{agent}");
        assert!(
            agent.contains("--bpffs /sys/fs/bpf/signet-lab/demo/n2 "),
            "{agent}"
        );
        let socket = (
            "SPIFFE_ENDPOINT_SOCKET".to_owned(),
            "unix:///run/signet-lab/demo/n2/workload.sock".to_owned(),
        );
        assert!(all[7].environment.contains(&socket));
    }
}
