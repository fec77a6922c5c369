//! The lab and what the scenes do in it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use signet_lab::traffic::{ProbeReport, StreamReport};
use signet_lab::{Lab, LabName, NodeClient};
use signet_proto::agent::v1::{StatusRequest, StatusResponse};

use super::narrator::Narrator;

/// What a program wrote, and how it ended.
#[derive(Debug)]
pub(super) struct Said {
    /// Standard output.
    pub(super) text: String,
    /// Exit code.
    pub(super) code: i32,
}

/// The lab.
#[derive(Debug)]
pub(super) struct Stage {
    lab: Lab,
}

impl Stage {
    pub(super) fn open(lab: &LabName) -> anyhow::Result<Self> {
        Ok(Self { lab: Lab::open(lab)? })
    }

    pub(super) fn lab(&self) -> &Lab {
        &self.lab
    }

    pub(super) fn name(&self) -> anyhow::Result<LabName> {
        Ok(LabName::parse(self.lab.plan().lab.as_str())?)
    }

    pub(super) fn bin_dir(&self) -> &Path {
        self.lab.bin_dir()
    }

    pub(super) fn client(&self, node: &str) -> anyhow::Result<NodeClient> {
        Ok(self.lab.client(node)?)
    }

    /// What a node's agent says of itself.
    pub(super) async fn agent(&self, node: &str) -> anyhow::Result<StatusResponse> {
        let mut client = self.client(node)?;
        Ok(client
            .agent
            .status(StatusRequest {})
            .await
            .context("signet-agent does not answer")?
            .into_inner())
    }

    /// A workload's IPv4 address with a port.
    pub(super) fn address(&self, workload: &str, port: u16) -> anyhow::Result<SocketAddr> {
        let plan = self.lab.plan();
        let workload = plan
            .workload(workload)
            .with_context(|| format!("the lab has no {workload}"))?;
        Ok((workload.ipv4, port).into())
    }

    /// Runs `signet --lab …`, whatever its exit code.
    pub(super) fn signet(&self, arguments: &[&str]) -> anyhow::Result<Said> {
        let program = self.lab.bin_dir().join("signet");
        let mut command = std::process::Command::new(&program);
        command
            .args(["--lab", self.lab.plan().lab.as_str()])
            .args(arguments);
        let output = command
            .output()
            .with_context(|| format!("failed to run {}", program.display()))?;
        let Some(code) = output.status.code() else {
            bail!("signet {} was killed", arguments.join(" "))
        };
        let text = [output.stdout, output.stderr].concat();
        Ok(Said {
            text: String::from_utf8_lossy(&text).into_owned(),
            code,
        })
    }

    /// Runs `signet --lab …` before the reader's eyes; anything but success ends the demo.
    pub(super) fn show(&self, narrator: &Narrator, arguments: &[&str]) -> anyhow::Result<String> {
        let said = self.perform(narrator, arguments)?;
        if said.code != 0 {
            bail!("signet {} ended with {}", arguments.join(" "), said.code);
        }
        Ok(said.text)
    }

    /// Runs `signet --lab …` before the reader's eyes.
    pub(super) fn perform(&self, narrator: &Narrator, arguments: &[&str]) -> anyhow::Result<Said> {
        narrator.command(&format!(
            "signet --lab {} {}",
            self.lab.plan().lab,
            arguments.join(" ")
        ));
        let said = self.signet(arguments)?;
        narrator.output(&said.text);
        Ok(said)
    }

    /// Asks a server from a workload, over a TCP connection as any program opens it.
    pub(super) fn ask(
        &self,
        from: &str,
        to: SocketAddr,
        text: &str,
        patience: Duration,
    ) -> anyhow::Result<ProbeReport> {
        let (to, patience) = (to.to_string(), patience.as_millis().to_string());
        let arguments = [
            "-o",
            "json",
            "lab",
            "probe",
            &to,
            "--text",
            text,
            "--timeout-ms",
            &patience,
        ];
        let mut command = self.lab.command(from, &[&["signet"][..], &arguments].concat())?;
        let output = command.output().context("failed to run a probe")?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("a probe failed: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Starts a transfer from a workload whose every block comes back and is checked.
    pub(super) fn transfer(
        &self,
        from: &str,
        to: SocketAddr,
        text: &str,
        plan: &TransferPlan,
    ) -> anyhow::Result<Transfer> {
        let (to, duration) = (to.to_string(), plan.duration.as_millis().to_string());
        let patience = plan.patience.as_millis().to_string();
        let arguments = [
            "signet",
            "-o",
            "json",
            "lab",
            "stream",
            &to,
            "--text",
            text,
            "--duration-ms",
            &duration,
            "--patience-ms",
            &patience,
            "--interval-us",
            "2000",
        ];
        let mut command = tokio::process::Command::from(self.lab.command(from, &arguments)?);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(Transfer {
            child: command.spawn().context("failed to start a transfer")?,
        })
    }
}

/// How a transfer runs.
#[derive(Debug)]
pub(super) struct TransferPlan {
    /// How long blocks are sent.
    pub(super) duration: Duration,
    /// Broken once nothing came back for so long.
    pub(super) patience: Duration,
}

/// A transfer that runs.
#[derive(Debug)]
pub(super) struct Transfer {
    child: tokio::process::Child,
}

impl Transfer {
    /// Whether it still runs.
    pub(super) fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its end.
    pub(super) async fn report(self) -> anyhow::Result<StreamReport> {
        let output = self
            .child
            .wait_with_output()
            .await
            .context("failed to wait for a transfer")?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("a transfer failed: {}", String::from_utf8_lossy(&output.stderr)))
    }
}
