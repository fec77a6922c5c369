//! `signet lab up|down|list|status`.

use std::time::{Duration, Instant};

use signet_lab::{LabError, LabFile, LabName, LabPaths, Plan, Progress, UpOptions};
use signet_proto::ca::v1::ListRegistrationsRequest;
use signet_proto::view::v1::Registration;

use super::arguments::Up;
use super::run::parse;
use crate::args::Global;
use crate::clients::Ca;
use crate::failure::Failure;
use crate::output::Output;
use crate::view::lab::{LabsView, StatusView, words};

/// Makes a lab. What does not get ready is removed, unless it is to be looked at.
pub(super) async fn up(up: &Up, global: &Global, output: &Output) -> Result<(), Failure> {
    let mut file = LabFile::read(&up.file).map_err(LabError::from)?;
    if let Some(name) = up.name.clone().or_else(|| global.lab()) {
        file = file.renamed(&parse(&name)?);
    }
    let lab = Plan::new(&file).map_err(LabError::from)?.lab;
    if up.replace {
        signet_lab::down(&lab)?;
    }
    let options = UpOptions {
        bin_dir: up.bin_dir.clone(),
        deadline: Duration::from_secs(up.deadline),
        daemons: !up.no_daemons,
    };
    let started = Instant::now();
    let mut tell = |progress: Progress| {
        output.remark(&format!(
            "{:>6.2} s  {}",
            started.elapsed().as_secs_f64(),
            words(&progress)
        ));
    };
    let made = tokio::select! {
        made = signet_lab::up(&file, &options, &mut tell) => made.map_err(Failure::from),
        _ = tokio::signal::ctrl_c() => Err(Failure::Failed("interrupted".to_owned())),
    };
    if let Err(failure) = made {
        let theirs = matches!(
            &failure,
            Failure::Lab(LabError::Exists(_) | LabError::Locked { .. })
        );
        if !theirs && up.keep_failed {
            output.remark(&format!("left as it is; `signet lab down {lab}` removes it"));
        } else if !theirs {
            signet_lab::down(&lab)?;
        }
        return Err(failure);
    }
    show(&lab, output).await?;
    output.remark(&format!(
        "lab {lab} is up. Next: signet --lab {lab} status, signet lab exec WORKLOAD -- COMMAND, signet lab down {lab}"
    ));
    Ok(())
}

/// Removes a lab.
pub(super) fn down(lab: &LabName, output: &Output) -> Result<(), Failure> {
    if !signet_lab::down(lab)? {
        let why = format!("there is nothing of a lab {lab}; `signet lab list` names those that there are");
        return Err(Failure::Failed(why));
    }
    output.remark(&format!("lab {lab} is removed"));
    Ok(())
}

/// Removes every lab.
pub(super) fn down_all(output: &Output) -> Result<(), Failure> {
    for lab in signet_lab::labs()? {
        // One that somebody else removes meanwhile is removed as well.
        signet_lab::down(&lab)?;
        output.remark(&format!("lab {lab} is removed"));
    }
    Ok(())
}

/// Lists labs.
pub(super) fn list(output: &Output) -> Result<(), Failure> {
    let labs = signet_lab::labs()?;
    if labs.is_empty() {
        output.remark("no labs: `signet lab up FILE` makes one");
    }
    output.show(&LabsView { labs })
}

/// Shows a lab; who is registered is what the CA says now.
pub(super) async fn show(lab: &LabName, output: &Output) -> Result<(), Failure> {
    let mut view = StatusView {
        lab: signet_lab::status(lab)?,
    };
    if !view.lab.processes.is_empty() {
        match registrations(lab).await {
            Ok(registrations) => view.registered(&registrations),
            Err(failure) => output.warn(&format!(
                "whether workloads are registered is as in the lab's file: {failure}"
            )),
        }
    }
    output.show(&view)
}

async fn registrations(lab: &LabName) -> Result<Vec<Registration>, Failure> {
    let ca = Ca::new(&LabPaths::new(lab).ca_socket())?;
    let request = ListRegistrationsRequest {};
    let answer = ca
        .daemon
        .answer(ca.client.clone().list_registrations(request))
        .await?;
    Ok(answer.registrations)
}
