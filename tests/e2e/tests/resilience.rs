//! Any daemon can be killed at any instant: what is allowed goes on, what is not does not start, and the restart
//! reconciles the kernel's state.
//!
//! During each case a watcher compares the kernel's maps with what they held before, every few milliseconds: an entry that went and
//! came back would be one that was rebuilt.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use signet_abi::{Direction, Reason};
use signet_e2e::{Ask, Case, Family, KernelWatch, Running, Stage, run};
use signet_lab::Role;
use signet_lab::capture::Capture;
use signet_maps::{AuthMap, CounterName, MetricsMap};
use signet_proto::agent::v1::StatusRequest as AgentStatusRequest;
use signet_proto::ca::v1::ListNodesRequest;
use signet_proto::mesh::v1::StatusRequest;
use signet_proto::view::v1::EncryptionMode;

const CASES: &[Case] = &[
    Case {
        name: "a_killed_ca_interrupts_nothing",
        run: |stage| killed(stage, "ca", Role::Ca),
    },
    Case {
        name: "a_killed_agent_at_the_client_interrupts_nothing",
        run: |stage| killed(stage, "n1", Role::Agent),
    },
    Case {
        name: "a_killed_agent_at_the_server_interrupts_nothing",
        run: |stage| killed(stage, "n2", Role::Agent),
    },
    Case {
        name: "a_killed_meshd_at_the_client_interrupts_nothing",
        run: |stage| killed(stage, "n1", Role::Meshd),
    },
    Case {
        name: "a_killed_meshd_at_the_server_interrupts_nothing",
        run: |stage| killed(stage, "n2", Role::Meshd),
    },
    Case {
        name: "a_killed_keyd_interrupts_no_plain_transfer",
        run: |stage| killed(stage, "n2", Role::Keyd),
    },
    Case {
        name: "a_restarted_agent_takes_over_its_proofs",
        run: a_restarted_agent_takes_over_its_proofs,
    },
    Case {
        name: "agents_that_are_restarted_without_a_ca_prove_pairs_anew",
        run: agents_that_are_restarted_without_a_ca_prove_pairs_anew,
    },
    Case {
        name: "a_restarted_ca_knows_what_it_knew",
        run: a_restarted_ca_knows_what_it_knew,
    },
    Case {
        name: "a_killed_keyd_breaks_no_encrypted_transfer_and_lets_no_plaintext_out",
        run: |stage| encrypted(stage, Role::Keyd),
    },
    Case {
        name: "a_killed_agent_breaks_no_encrypted_transfer_and_lets_no_plaintext_out",
        run: |stage| encrypted(stage, Role::Agent),
    },
    Case {
        name: "a_killed_meshd_breaks_no_encrypted_transfer_and_lets_no_plaintext_out",
        run: |stage| encrypted(stage, Role::Meshd),
    },
];

/// What is transferred, and looked for on the wire.
const TEXT: &str = "going on";

fn main() -> ExitCode {
    run("e2ekill", include_str!("../labs/small.yaml"), CASES)
}

/// Waits until a process that was killed runs again and answers.
fn runs_again(stage: &Stage, place: &str, role: Role) -> Result<()> {
    stage.eventually("the daemon runs again", |stage| {
        Ok(stage.lab().pid(place, role)?.map(|_| ()))
    })?;
    stage.eventually("the daemon answers again, and its fellows with it", |stage| {
        stage.is_connected(place)?;
        Ok(Some(()))
    })
}

fn transfer(stage: &Stage) -> Result<Running> {
    // Much longer than anything here takes: it is ended by the test.
    let duration = stage.patience() * 5;
    Running::start(stage, "client", "web", 8080, Family::V4, TEXT, duration)
}

/// Holds one daemon down during a transfer.
fn killed(stage: &mut Stage, place: &str, role: Role) -> Result<()> {
    Ask::tcp("client", "web", 8080).answered(stage, stage.patience())?;
    let watch = KernelWatch::start(stage)?;
    let transfer = transfer(stage)?;
    stage.lab().hold(place, role)?;
    stage.eventually("the daemon is gone", |stage| {
        Ok(stage.lab().pid(place, role)?.is_none().then_some(()))
    })?;

    // The flow log may be down with its daemon: the kernel's own counters say that they came, and why they went no further.
    let dropped = |reason| drops(stage, reason);
    let before = (dropped(Reason::NotRegistered)?, dropped(Reason::PolicyDenied)?);
    let unanswered = [Ask::tcp("ghost", "web", 8080), Ask::udp("stranger", "web", 8080)];
    for answer in Ask::run_all(stage, &unanswered, stage.silence())? {
        ensure!(
            !answer.report.answered,
            "with {role} of {place} down, {} was answered",
            answer.source
        );
    }
    ensure!(
        dropped(Reason::NotRegistered)? > before.0,
        "the ghost's packets were not dropped for want of a registration"
    );
    ensure!(
        dropped(Reason::PolicyDenied)? > before.1,
        "the stranger's packets were not dropped by policy"
    );
    transfer.still_running()?;

    stage.lab().release(place, role)?;
    runs_again(stage, place, role)?;
    if role == Role::Meshd {
        let mut clients = stage.clients(place)?;
        let status = stage.block_on(clients.mesh.status(StatusRequest {}))?;
        ensure!(
            status.into_inner().adopted,
            "meshd rebuilt the kernel's state instead of taking it over"
        );
    }
    Ask::udp("client", "web", 8080).answered(stage, stage.patience())?;
    // It went on all the time, and goes on under the daemon that took over.
    transfer.intact()?;
    watch.unchanged()
}

/// Packets to endpoints of n2 that were dropped for a reason, by the kernel's count.
fn drops(stage: &Stage, reason: Reason) -> Result<u64> {
    let metrics = MetricsMap::open(&stage.lab().paths().node_bpffs("n2"))?;
    Ok(metrics
        .get(CounterName::Reason(reason), Direction::Ingress)?
        .packets)
}

fn a_restarted_agent_takes_over_its_proofs(stage: &mut Stage) -> Result<()> {
    Ask::tcp("client", "web", 8080).answered(stage, stage.patience())?;
    let before = stage.proof("n2", "web", "client")?.context("n2 has no proof")?;
    stage.lab().kill("n2", Role::Agent)?;
    let after = stage.eventually("the restarted agent lists the proof", |stage| {
        stage.proof("n2", "web", "client")
    })?;
    let drift = before.not_after.abs_diff(after.not_after);
    ensure!(
        drift <= 1 && after.epoch == before.epoch,
        "the proof was replaced: {before:?} {after:?}"
    );
    Ok(())
}

/// With the keys that they have kept: the kernel has no proof left that they could take over.
fn agents_that_are_restarted_without_a_ca_prove_pairs_anew(stage: &mut Stage) -> Result<()> {
    Ask::tcp("client", "web", 8080).answered(stage, stage.patience())?;
    stage.lab().hold("ca", Role::Ca)?;
    for node in ["n1", "n2"] {
        stage.eventually("the agent has kept its SVIDs", |stage| {
            let mut clients = stage.clients(node)?;
            let status = stage.block_on(clients.agent.status(AgentStatusRequest {}))?;
            let custody = status.into_inner().custody;
            Ok(custody.filter(|custody| custody.svids > 0).map(|_| ()))
        })?;
        stage.lab().hold(node, Role::Agent)?;
        stage.eventually("the agent is gone", |stage| {
            Ok(stage.lab().pid(node, Role::Agent)?.is_none().then_some(()))
        })?;
        let mut proofs = AuthMap::open(&stage.lab().paths().node_bpffs(node))?;
        for (key, _) in proofs.entries()? {
            proofs.remove(&key)?;
        }
    }
    for node in ["n1", "n2"] {
        stage.lab().release(node, Role::Agent)?;
    }
    Ask::tcp("client", "web", 8080).answered(stage, stage.patience())?;
    for node in ["n1", "n2"] {
        let mut clients = stage.clients(node)?;
        let status = stage.block_on(clients.agent.status(AgentStatusRequest {}))?;
        ensure!(!status.into_inner().ca_connected, "{node} has found a CA");
    }
    stage.lab().release("ca", Role::Ca)?;
    for place in ["ca", "n1", "n2"] {
        stage.eventually("all find each other again", |stage| {
            stage.is_connected(place)?;
            Ok(Some(()))
        })?;
    }
    Ok(())
}

fn a_restarted_ca_knows_what_it_knew(stage: &mut Stage) -> Result<()> {
    let nodes = |stage: &Stage| {
        stage.ca(async |mut ca| {
            let listed = ca.list_nodes(ListNodesRequest {}).await?.into_inner();
            let nodes = listed.nodes.into_iter();
            Ok(nodes
                .filter_map(|entry| entry.node.map(|node| (node.name, node.id, entry.connected)))
                .collect::<Vec<_>>())
        })
    };
    let web = stage.identity("n1", "web")?;
    let before = nodes(stage)?;
    stage.lab().kill("ca", Role::Ca)?;
    // With their numbers, and following it again without having attested anew: their tokens are used up.
    stage.eventually("all nodes follow the restarted CA", |stage| {
        Ok((nodes(stage)? == before).then_some(()))
    })?;
    ensure!(
        web.is_some() && stage.identity("n1", "web")? == web,
        "an identity has another number"
    );
    Ok(())
}

/// Kills a daemon on both nodes, one after the other, under an encrypted transfer.
fn encrypted(stage: &mut Stage, role: Role) -> Result<()> {
    stage.set_encryption(EncryptionMode::Wireguard)?;
    let underlay = stage.lab().paths().netns("net");
    for node in ["n1", "n2"] {
        let watch = KernelWatch::start(stage)?;
        let transfer = transfer(stage)?;
        let capture = Capture::start(&underlay, TEXT)?;
        stage.lab().kill(node, role)?;
        runs_again(stage, node, role)?;
        // The toggle is where it was: everybody sends encrypted again.
        stage.set_encryption(EncryptionMode::Wireguard)?;
        transfer.intact()?;
        let seen = capture.stop()?;
        ensure!(
            seen.tunnel > 0 && seen.with_text == 0 && seen.plain_pod == 0,
            "while {role} of {node} was away, something was readable: {seen:?}"
        );
        watch.unchanged()?;
    }
    stage.set_encryption(EncryptionMode::Off)
}
