//! What there is of everything before and after: nothing may pile up.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use signet_e2e::Stage;
use signet_lab::Role;
use signet_maps::AuthMap;
use signet_proto::agent::v1::ListSessionsRequest;

/// File descriptors that may be there besides: those of requests that are just being answered.
const DESCRIPTORS: usize = 24;
/// Memory that a daemon may have grown by, KiB: caches that have filled, a heap that was never given back.
const MEMORY: u64 = 48 * 1024;

/// What the daemons hold.
#[derive(Debug)]
pub(crate) struct Holdings {
    daemons: Vec<Daemon>,
    /// Proofs in the kernel of each node, by the numbers of local, remote and node.
    proofs: Vec<BTreeSet<(u32, u32, u32)>>,
}

#[derive(Debug)]
struct Daemon {
    place: String,
    role: Role,
    descriptors: usize,
    /// KiB.
    memory: u64,
}

impl Holdings {
    pub(crate) fn take(stage: &Stage) -> Result<Self> {
        let nodes = stage.nodes();
        let on_nodes = nodes
            .iter()
            .flat_map(|node| [Role::Agent, Role::Meshd, Role::Keyd].map(|role| (node.clone(), role)));
        let daemons = on_nodes
            .chain([("ca".to_owned(), Role::Ca)])
            .map(|(place, role)| daemon(stage, place, role))
            .collect::<Result<_>>()?;
        let proofs = nodes
            .iter()
            .map(|node| {
                let map = AuthMap::open(&stage.lab().paths().node_bpffs(node))?;
                let entries = map.entries()?.into_iter();
                Ok(entries
                    .map(|(key, _)| (key.local.0, key.remote.0, key.node.0))
                    .collect())
            })
            .collect::<Result<_>>()?;
        Ok(Self { daemons, proofs })
    }

    /// Fails if there is more than at the start.
    pub(crate) fn no_more_than(&self, before: &Self) -> Result<()> {
        for (now, then) in self.daemons.iter().zip(&before.daemons) {
            let (place, role) = (&now.place, now.role);
            ensure!(
                now.descriptors <= then.descriptors + DESCRIPTORS,
                "{role} of {place} has {} file descriptors, had {}",
                now.descriptors,
                then.descriptors
            );
            ensure!(
                now.memory <= then.memory * 2 + MEMORY,
                "{role} of {place} has {} KiB of memory, had {} KiB",
                now.memory,
                then.memory
            );
        }
        for (index, (now, then)) in self.proofs.iter().zip(&before.proofs).enumerate() {
            ensure!(
                now.is_subset(then),
                "n{} has proofs of pairs that nobody allowed: {:?}",
                index + 1,
                now.difference(then).collect::<Vec<_>>()
            );
        }
        Ok(())
    }
}

/// Fails while a node has another number of sessions than one with each other node.
pub(crate) fn one_session_per_pair(stage: &Stage) -> Result<()> {
    let nodes = stage.nodes();
    for node in &nodes {
        let mut clients = stage.clients(node)?;
        let listed = stage.block_on(clients.agent.list_sessions(ListSessionsRequest {}))?;
        let sessions = listed.into_inner().sessions;
        let up = sessions.iter().filter(|session| session.state == "up").count();
        ensure!(
            up < nodes.len(),
            "{node} has {up} sessions with {} other nodes",
            nodes.len() - 1
        );
    }
    Ok(())
}

fn daemon(stage: &Stage, place: String, role: Role) -> Result<Daemon> {
    let pid = stage.lab().pid(&place, role)?;
    let pid = pid.with_context(|| format!("{role} of {place} does not run"))?;
    let proc = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let descriptors = fs::read_dir(proc.join("fd"))?.count();
    let status = fs::read_to_string(proc.join("status"))?;
    let memory = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .context("no VmRSS in /proc")?;
    Ok(Daemon {
        place,
        role,
        descriptors,
        memory,
    })
}
