//! Any daemon can be killed at any instant: what is allowed goes on, what is not does not start, and the restart
//! reconciles the kernel's state.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use signet_e2e::{Ask, Case, Family, Running, Stage, run};
use signet_lab::Role;
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
        name: "a_killed_keyd_breaks_no_encrypted_transfer",
        run: a_killed_keyd_breaks_no_encrypted_transfer,
    },
    Case {
        name: "a_killed_agent_breaks_no_encrypted_transfer",
        run: a_killed_agent_breaks_no_encrypted_transfer,
    },
];

fn main() -> ExitCode {
    run("e2ekill", include_str!("../labs/small.yaml"), CASES)
}

/// Waits until a process that was killed runs again.
fn runs_again(stage: &Stage, place: &str, role: Role) -> Result<()> {
    stage.eventually("the daemon runs again", |stage| {
        Ok(stage.lab().pid(place, role)?.map(|_| ()))
    })
}

/// Holds one daemon down during a transfer.
fn killed(stage: &mut Stage, place: &str, role: Role) -> Result<()> {
    Ask::tcp("client", "web", 8080).answered(stage, stage.patience())?;
    let transfer = Running::start(
        stage,
        "client",
        "web",
        8080,
        Family::V4,
        "going on",
        stage.patience() * 3,
    )?;
    stage.lab().hold(place, role)?;
    stage.eventually("the daemon is gone", |stage| {
        Ok(stage.lab().pid(place, role)?.is_none().then_some(()))
    })?;

    for refused in [Ask::tcp("ghost", "web", 8080), Ask::udp("stranger", "web", 8080)] {
        let answer = refused.run(stage, stage.silence())?;
        ensure!(
            !answer.report.answered,
            "with {place} {role} down, {refused:?} was answered"
        );
    }
    transfer.still_running()?;

    stage.lab().release(place, role)?;
    runs_again(stage, place, role)?;
    if role == Role::Meshd {
        let adopted = stage.eventually("meshd answers again", |stage| {
            let mut clients = stage.clients(place)?;
            let status = stage
                .block_on(clients.mesh.status(StatusRequest {}))?
                .into_inner();
            Ok(Some(status.adopted))
        })?;
        ensure!(
            adopted,
            "meshd rebuilt the kernel's state instead of taking it over"
        );
    }
    Ask::udp("client", "web", 8080).answered(stage, stage.patience())?;
    // It went on all the time, and goes on under the daemon that took over.
    transfer.intact()?;
    Ok(())
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

fn a_killed_keyd_breaks_no_encrypted_transfer(stage: &mut Stage) -> Result<()> {
    encrypted(stage, Role::Keyd)
}

fn a_killed_agent_breaks_no_encrypted_transfer(stage: &mut Stage) -> Result<()> {
    encrypted(stage, Role::Agent)
}

/// Kills a daemon on both nodes, one after the other, under an encrypted transfer.
fn encrypted(stage: &mut Stage, role: Role) -> Result<()> {
    stage.set_encryption(EncryptionMode::Wireguard)?;
    for node in ["n1", "n2"] {
        let transfer = Running::start(
            stage,
            "client",
            "web",
            8080,
            Family::V4,
            "going on",
            stage.patience() * 3,
        )?;
        stage.lab().kill(node, role)?;
        runs_again(stage, node, role)?;
        // The toggle is where it was: everybody sends encrypted again.
        stage.set_encryption(EncryptionMode::Wireguard)?;
        transfer.intact()?;
    }
    stage.set_encryption(EncryptionMode::Off)
}
