//! Which crates may depend on which. The walls of ARCHITECTURE.md, checked on what cargo knows.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::repository;

/// The four daemons: separate processes with separate secrets and privileges. None links another.
const DAEMONS: [&str; 4] = ["signet-ca", "signet-agent", "signet-keyd", "signet-meshd"];

/// The one crate that can load a kernel program, and the one that may link it.
const LOADER: &str = "signet-datapath";
const LOADER_USER: &str = "signet-meshd";

/// Crates that decide and do nothing: no runtime, no files, no clock.
const PURE: &[&str] = &[
    "signet-abi",
    "signet-spiffe",
    "signet-tls",
    "signet-log",
    "signet-federation",
    "signet-rotation",
    "signet-tpm",
    "signet-node-attest",
    "signet-session",
    "signet-lease",
    "signet-handshake",
    "signet-pairs",
    "signet-parking",
    "signet-refusal",
    "signet-preauth",
    "signet-policy",
    "signet-endpoints",
    "signet-toggle",
];
const IMPURE: [&str; 6] = ["tokio", "tonic", "rtnetlink", "notify", "sqlx", "hyper-util"];

/// What each folder's crates may name, as a folder or as one crate; their own folder is always theirs to name.
const FOLDERS: [(&str, &[&str]); 10] = [
    // Examples are other people's programs: they know nothing of ours.
    ("docs", &[]),
    ("proto", &[]),
    ("runtime", &[]),
    ("identity-ca", &["proto", "runtime"]),
    ("ebpf", &[]),
    (
        "auth-agent",
        &[
            "proto",
            "runtime",
            "signet-spiffe",
            "signet-tls",
            "signet-node-attest",
            "signet-tpm",
            "signet-abi",
            "signet-maps",
        ],
    ),
    (
        "keyd",
        &["proto", "runtime", "signet-spiffe", "signet-abi", "signet-maps"],
    ),
    ("mesh", &["proto", "runtime", "signet-spiffe", "ebpf"]),
    (
        "cli",
        &[
            "proto",
            "runtime",
            "signet-spiffe",
            "signet-tls",
            "signet-log",
            "signet-abi",
            "signet-maps",
            "signet-policy",
            "signet-source",
            "signet-lab",
        ],
    ),
    // The lab starts the built daemons as processes; it links none of them. It reads policies as signet-meshd does.
    (
        "tests",
        &[
            "proto",
            "runtime",
            "signet-spiffe",
            "signet-source",
            "signet-tls",
            "signet-abi",
            "signet-maps",
            // The simulation runs what an agent decides, without an agent.
            "signet-session",
            "signet-lease",
            "signet-handshake",
            "signet-pairs",
            "signet-parking",
            "signet-preauth",
            "signet-refusal",
        ],
    ),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: String,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `None`: a normal one; else "dev" or "build".
    kind: Option<String>,
}

/// A crate as the rules see it. Development dependencies are not arrows: they are not in what is shipped.
#[derive(Debug)]
struct Crate {
    folder: String,
    dependencies: BTreeSet<String>,
}

type Workspace = BTreeMap<String, Crate>;

/// Prints each arrow that points the wrong way; fails when there is one.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let workspace = read()?;
    let wrong = check(&workspace);
    for arrow in &wrong {
        println!("{arrow}");
    }
    if wrong.is_empty() {
        println!("{} crates: every arrow points the right way", workspace.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("ARCHITECTURE.md, \"Which way arrows point\", says why; the rules are in xtask/src/arrows.rs");
    Ok(ExitCode::FAILURE)
}

fn read() -> anyhow::Result<Workspace> {
    let output = repository::cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata has another shape than expected")?;
    let root = metadata.workspace_root;
    Ok(metadata
        .packages
        .into_iter()
        .map(|package| member(&root, package))
        .collect())
}

fn member(root: &str, package: Package) -> (String, Crate) {
    let path = package
        .manifest_path
        .trim_start_matches(root)
        .trim_start_matches('/');
    let folder = path.split('/').next().unwrap_or_default().to_owned();
    let dependencies = package
        .dependencies
        .into_iter()
        .filter(|d| d.kind.as_deref() != Some("dev"))
        .map(|d| d.name)
        .collect();
    (package.name, Crate { folder, dependencies })
}

fn check(workspace: &Workspace) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, this) in workspace {
        wrong.extend(folder_arrows(workspace, name, this));
        wrong.extend(
            PURE.contains(&name.as_str())
                .then(|| impure(name, this))
                .into_iter()
                .flatten(),
        );
        let reached = reachable(workspace, name);
        if this.folder != "xtask" {
            wrong.extend(
                DAEMONS
                    .iter()
                    .filter(|daemon| reached.contains(**daemon))
                    .map(|daemon| {
                        format!("{name} links {daemon}: daemons talk over sockets, nothing links one")
                    }),
            );
        }
        if reached.contains(LOADER) && name != LOADER_USER {
            wrong.push(format!(
                "{name} links {LOADER}: only {LOADER_USER} can load a kernel program"
            ));
        }
        if this.folder == "identity-ca" {
            let kernel = reached
                .iter()
                .filter(|other| workspace.get(**other).is_some_and(|c| c.folder == "ebpf"));
            wrong.extend(kernel.map(|other| format!("{name} links {other}: the CA knows nothing of eBPF")));
        }
    }
    wrong
}

fn folder_arrows(workspace: &Workspace, name: &str, this: &Crate) -> Vec<String> {
    let Some((_, allowed)) = FOLDERS.iter().find(|(folder, _)| *folder == this.folder) else {
        // xtask may name what it needs to measure and to check; a new top-level folder must be given its rule.
        return if this.folder == "xtask" {
            Vec::new()
        } else {
            vec![format!("{name}: no rule for its folder")]
        };
    };
    let named = this
        .dependencies
        .iter()
        .filter_map(|other| Some((other, workspace.get(other)?)));
    named
        .filter(|(other, theirs)| {
            theirs.folder != this.folder
                && !allowed.contains(&theirs.folder.as_str())
                && !allowed.contains(&other.as_str())
        })
        .map(|(other, theirs)| {
            format!(
                "{name} depends on {other}: {} must not point to {}",
                this.folder, theirs.folder
            )
        })
        .collect()
}

fn impure(name: &str, this: &Crate) -> Vec<String> {
    let shells = IMPURE.iter().filter(|shell| this.dependencies.contains(**shell));
    shells
        .map(|shell| format!("{name} depends on {shell}: it is a pure crate"))
        .collect()
}

/// Every crate of ours that `name` links, itself not included.
fn reachable<'a>(workspace: &'a Workspace, name: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = vec![name];
    while let Some(this) = open.pop() {
        let Some(this) = workspace.get(this) else { continue };
        for other in &this.dependencies {
            if workspace.contains_key(other) && reached.insert(other.as_str()) {
                open.push(other);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(crates: &[(&str, &str, &[&str])]) -> Workspace {
        let member = |(name, folder, dependencies): &(&str, &str, &[&str])| {
            let dependencies = dependencies.iter().map(|d| (*d).to_owned()).collect();
            (
                (*name).to_owned(),
                Crate {
                    folder: (*folder).to_owned(),
                    dependencies,
                },
            )
        };
        crates.iter().map(member).collect()
    }

    #[test]
    fn a_daemon_that_links_another_is_found() {
        let wrong = check(&workspace(&[
            ("signet-meshd", "mesh", &["signet-source"]),
            ("signet-source", "mesh", &["signet-keyd"]),
            ("signet-keyd", "mesh", &[]),
        ]));
        assert_eq!(wrong.len(), 2, "{wrong:?}");
    }

    #[test]
    fn only_meshd_reaches_the_loader() {
        let parts: [(&str, &str, &[&str]); 3] = [
            ("signet-datapath", "ebpf", &[]),
            ("signet-meshd", "mesh", &["signet-datapath"]),
            ("signet-flows", "mesh", &["signet-datapath"]),
        ];
        assert_eq!(
            check(&workspace(&parts)),
            ["signet-flows links signet-datapath: only signet-meshd can load a kernel program"]
        );
    }

    #[test]
    fn the_ca_knows_nothing_of_the_kernel() {
        let wrong = check(&workspace(&[
            ("signet-ca", "identity-ca", &["signet-uds"]),
            ("signet-uds", "runtime", &["signet-abi"]),
            ("signet-abi", "ebpf", &[]),
        ]));
        assert!(
            wrong
                .iter()
                .any(|line| line.contains("the CA knows nothing of eBPF")),
            "{wrong:?}"
        );
    }

    #[test]
    fn a_pure_crate_with_a_runtime_is_found() {
        let wrong = check(&workspace(&[("signet-toggle", "keyd", &["tokio", "thiserror"])]));
        assert_eq!(wrong, ["signet-toggle depends on tokio: it is a pure crate"]);
    }
}
