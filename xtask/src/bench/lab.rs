//! Labs to measure on.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use signet_lab::{Lab, LabFile, LabName, UpOptions};
use tokio::runtime::Runtime;

/// A lab that is removed when this is dropped, and a runtime to talk to its daemons.
pub(super) struct Bench {
    pub(super) lab: Lab,
    pub(super) runtime: Runtime,
}

impl Bench {
    /// Makes a lab from YAML; one of the same name that an interrupted run left is removed first. Without `daemons` it
    /// is plain networking: the same namespaces, links and routes, and none of Signet.
    pub(super) fn up(yaml: &str, daemons: bool) -> anyhow::Result<Self> {
        let file = LabFile::parse(yaml, "lab of the bench")?;
        signet_lab::down(&LabName::parse(&file.name.value)?)?;
        let runtime = Runtime::new()?;
        let options = UpOptions {
            bin_dir: bin_dir(),
            deadline: Duration::from_mins(3),
            daemons,
        };
        let lab = runtime
            .block_on(Lab::up(&file, &options))
            .context("failed to make the lab")?;
        Ok(Self { lab, runtime })
    }

    /// A workload's IPv4 address with a port.
    pub(super) fn address(&self, workload: &str, port: u16) -> anyhow::Result<std::net::SocketAddr> {
        let plan = self
            .lab
            .plan()
            .workload(workload)
            .with_context(|| format!("the lab has no {workload}"))?;
        Ok((plan.ipv4, port).into())
    }
}

/// The daemons beside this program: those of the same build.
fn bin_dir() -> Option<PathBuf> {
    std::env::current_exe().ok()?.parent().map(PathBuf::from)
}
