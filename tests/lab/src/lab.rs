//! A lab in a program's hand.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use tonic::transport::Channel;

use crate::clients::{NodeClient, ca_client};
use crate::control::{Role, SupervisorState, process_is_alive};
use crate::processes::{file_name, log_file};
use crate::state::LabState;
use crate::up::{UpOptions, up};
use crate::{LabError, LabFile, LabName, LabPaths, Plan, down, exec, net};

/// A lab. One that this program made is removed when dropped, unless [`Lab::keep`] was called.
#[derive(Debug)]
pub struct Lab {
    state: LabState,
    paths: LabPaths,
    remove: bool,
}

impl Lab {
    /// Makes a lab and waits until it is ready. One that does not get ready is removed at once.
    pub async fn up(file: &LabFile, options: &UpOptions) -> Result<Self, LabError> {
        let made = up(file, options, &mut |_| {}).await;
        match made {
            Ok(state) => Ok(Self {
                paths: LabPaths::new(&state.plan.lab),
                state,
                remove: true,
            }),
            // Not ours: it was there before.
            Err(error @ (LabError::Exists(_) | LabError::Locked { .. })) => Err(error),
            Err(error) => {
                if let Ok(lab) = LabName::parse(&file.name.value) {
                    // The first error is the one to tell.
                    let _ = down(&lab);
                }
                Err(error)
            }
        }
    }

    /// A lab that is up already; it stays when this is dropped.
    pub fn open(lab: &LabName) -> Result<Self, LabError> {
        let paths = LabPaths::new(lab);
        Ok(Self {
            state: LabState::read(&paths)?,
            paths,
            remove: false,
        })
    }

    /// Leaves the lab up.
    #[must_use]
    pub fn keep(mut self) -> Self {
        self.remove = false;
        self
    }

    /// What it is made of.
    pub fn plan(&self) -> &Plan {
        &self.state.plan
    }

    /// Where it keeps its things.
    pub fn paths(&self) -> &LabPaths {
        &self.paths
    }

    /// Where its binaries are.
    pub fn bin_dir(&self) -> &Path {
        &self.state.bin_dir
    }

    /// Clients of a node's daemons.
    pub fn client(&self, node: &str) -> Result<NodeClient, LabError> {
        let node = exec::resolve(&self.state.plan, node)?;
        NodeClient::new(&self.paths.node_run(&node))
    }

    /// A client of the CA, as the operator.
    pub fn ca(&self) -> Result<OperatorServiceClient<Channel>, LabError> {
        ca_client(&self.paths.ca_socket())
    }

    /// A command that runs in the namespace of a node, a workload, `ca` or `net`.
    pub fn command(&self, place: &str, argv: &[&str]) -> Result<Command, LabError> {
        let argv: Vec<_> = argv.iter().map(|&argument| argument.to_owned()).collect();
        exec::nsenter(&self.state.plan, &self.paths, &self.state.bin_dir, place, &argv)
    }

    /// Runs a command in a namespace to its end; its standard output when it succeeded.
    pub fn exec(&self, place: &str, argv: &[&str]) -> Result<String, LabError> {
        let failed = |output| LabError::Command {
            command: format!("{place}: {}", argv.join(" ")),
            output,
        };
        let output = self
            .command(place, argv)?
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let text = [output.stdout, output.stderr].concat();
        Err(failed(format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&text).trim()
        )))
    }

    /// Runs a function in a place's namespace; sockets that it makes stay there.
    pub fn within<T: Send>(&self, place: &str, run: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let place = exec::resolve(&self.state.plan, place)?;
        let netns = self.paths.netns(&place);
        net::within(&netns, run).map_err(LabError::io("enter", netns))
    }

    /// The log of a process.
    pub fn log(&self, place: &str, role: Role) -> PathBuf {
        log_file(&self.paths, place, role)
    }

    /// The process id of a supervised process, if it runs now.
    pub fn pid(&self, place: &str, role: Role) -> Result<Option<Pid>, LabError> {
        let none = || LabError::NoProcess {
            place: place.to_owned(),
            role,
        };
        let state = SupervisorState::read(&self.paths)?.ok_or_else(none)?;
        let process = state.find(place, role).ok_or_else(none)?;
        Ok(process
            .pid
            .filter(|pid| process_is_alive(*pid))
            .and_then(Pid::from_raw))
    }

    /// Ends a process with SIGKILL. The supervisor starts it again, unless it is on hold.
    pub fn kill(&self, place: &str, role: Role) -> Result<(), LabError> {
        let pid = self.pid(place, role)?.ok_or_else(|| LabError::NoProcess {
            place: place.to_owned(),
            role,
        })?;
        kill_process(pid, Signal::KILL)
            .map_err(|errno| LabError::io("kill", format!("{place}-{role}"))(errno.into()))
    }

    /// Ends a process with SIGKILL and keeps it down until [`Lab::release`].
    pub fn hold(&self, place: &str, role: Role) -> Result<(), LabError> {
        let running = self.pid(place, role)?;
        let hold = self.paths.holds().join(file_name(place, role));
        fs::write(&hold, "").map_err(LabError::io("write", hold))?;
        if running.is_some() {
            self.kill(place, role)
        } else {
            Ok(())
        }
    }

    /// Lets a process on hold run again.
    pub fn release(&self, place: &str, role: Role) -> Result<(), LabError> {
        let hold = self.paths.holds().join(file_name(place, role));
        match fs::remove_file(&hold) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LabError::io("remove", hold)(error)),
            _ => Ok(()),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.remove {
            // Nobody is left to tell; `signet lab list` shows what stayed.
            let _ = down(self.paths.lab());
        }
    }
}
