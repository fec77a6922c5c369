//! Waits for a lab step by step, with a deadline, and says what was missing.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use signet_proto::ca::v1::{ListNodesRequest, SetEncryptionRequest, StatusRequest};
use signet_proto::view::v1::EncryptionMode;
use signet_proto::{agent, keyd, mesh};
use tokio::time::{sleep, timeout};

use super::ready::{self, Missing};
use super::{Progress, register};
use crate::clients::{NodeClient, ca_client, refused};
use crate::control::{Role, SupervisorState};
use crate::processes::log_file;
use crate::spec::Encryption;
use crate::{LabError, LabPaths, Plan};

/// How often a daemon is asked.
const POLL: Duration = Duration::from_millis(50);
/// How long one question may take.
const CALL: Duration = Duration::from_secs(2);
/// A process that was started again so often will not come up.
const CRASHES: u32 = 6;
/// Lines of a log that an error shows.
const TAIL: usize = 12;

/// Waits for one lab.
pub(super) struct Wait<'a> {
    plan: &'a Plan,
    paths: &'a LabPaths,
    started: Instant,
    deadline: Duration,
}

impl<'a> Wait<'a> {
    pub(super) fn new(plan: &'a Plan, paths: &'a LabPaths, deadline: Duration) -> Self {
        Self {
            plan,
            paths,
            started: Instant::now(),
            deadline,
        }
    }

    /// All steps.
    pub(super) async fn until_ready(
        &self,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), LabError> {
        let mut ca = ca_client(&self.paths.ca_socket())?;
        let call = || {
            let mut ca = ca.clone();
            async move { answer(Role::Ca, ca.status(StatusRequest {})).await }
        };
        self.poll("ca", call).await?;
        progress(Progress::Ca);
        self.until_attested(progress).await?;
        let workloads = register::register(self.plan, &mut ca).await?;
        progress(Progress::Registered { workloads });
        for (done, node) in self.plan.nodes.iter().enumerate() {
            progress(Progress::Ready {
                done,
                of: self.plan.nodes.len(),
            });
            let client = NodeClient::new(&self.paths.node_run(&node.name))?;
            self.poll(&node.name, || self.node_is_ready(&node.name, client.clone()))
                .await?;
            self.check_policies(&node.name, client).await?;
        }
        progress(Progress::Ready {
            done: self.plan.nodes.len(),
            of: self.plan.nodes.len(),
        });
        if self.plan.encryption == Encryption::Wireguard {
            let request = SetEncryptionRequest {
                mode: EncryptionMode::Wireguard.into(),
            };
            ca.set_encryption(request)
                .await
                .map_err(refused("switching encryption on"))?;
            for node in &self.plan.nodes {
                let client = NodeClient::new(&self.paths.node_run(&node.name))?;
                self.poll(&node.name, || self.node_is_encrypted(client.clone()))
                    .await?;
            }
            progress(Progress::Encrypted);
        }
        Ok(())
    }

    async fn until_attested(&self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<(), LabError> {
        let ca = ca_client(&self.paths.ca_socket())?;
        for (index, node) in self.plan.nodes.iter().enumerate() {
            let call = || {
                let mut ca = ca.clone();
                async move {
                    let nodes = answer(Role::Agent, ca.list_nodes(ListNodesRequest {}))
                        .await?
                        .nodes;
                    let named = |entry: &&signet_proto::ca::v1::list_nodes_response::Entry| {
                        entry.node.as_ref().is_some_and(|known| known.name == node.name)
                    };
                    match nodes.iter().find(named) {
                        Some(entry) if entry.connected => Ok(()),
                        Some(_) => Err(Missing::new(Role::Agent, "is not connected to the CA")),
                        None => Err(Missing::new(Role::Agent, "has not attested to the CA")),
                    }
                }
            };
            self.poll(&node.name, call).await?;
            progress(Progress::Attested {
                done: index + 1,
                of: self.plan.nodes.len(),
            });
        }
        Ok(())
    }

    async fn node_is_ready(&self, node: &str, mut client: NodeClient) -> Result<(), Missing> {
        ready::agent(&answer(Role::Agent, client.agent.status(agent::v1::StatusRequest {})).await?)?;
        answer(Role::Keyd, client.keyd.status(keyd::v1::StatusRequest {})).await?;
        ready::mesh(&answer(Role::Meshd, client.mesh.status(mesh::v1::StatusRequest {})).await?)?;
        let request = agent::v1::ListSvidsRequest {};
        ready::svids(
            self.plan,
            node,
            &answer(Role::Agent, client.agent.list_svids(request)).await?,
        )?;
        let request = mesh::v1::ListEndpointsRequest {};
        ready::endpoints(
            self.plan,
            node,
            &answer(Role::Meshd, client.mesh.list_endpoints(request)).await?,
        )
    }

    async fn node_is_encrypted(&self, mut client: NodeClient) -> Result<(), Missing> {
        let status = answer(Role::Keyd, client.keyd.status(keyd::v1::StatusRequest {})).await?;
        ready::encrypted(self.plan, &status)
    }

    /// A policy that signet-meshd refuses is an error of the lab file: waiting would not help.
    async fn check_policies(&self, node: &str, mut client: NodeClient) -> Result<(), LabError> {
        let request = mesh::v1::ListPoliciesRequest {};
        let list = client
            .mesh
            .list_policies(request)
            .await
            .map_err(refused("the list of policies"))?
            .into_inner();
        if list.errors.is_empty() {
            return Ok(());
        }
        let what = format!("a policy of the lab file ({node})");
        Err(LabError::Refused {
            what,
            message: list.errors.join("; "),
        })
    }

    /// Asks until the answer is yes.
    async fn poll<T, F>(&self, place: &str, mut ask: impl FnMut() -> F) -> Result<T, LabError>
    where
        F: Future<Output = Result<T, Missing>>,
    {
        loop {
            let missing = match ask().await {
                Ok(value) => return Ok(value),
                Err(missing) => missing,
            };
            self.check_crashes()?;
            if self.started.elapsed() >= self.deadline {
                return Err(self.not_ready(place, &missing));
            }
            sleep(POLL).await;
        }
    }

    fn check_crashes(&self) -> Result<(), LabError> {
        // The file is written by another process: one that cannot be read now can be at the next look.
        let Ok(Some(state)) = SupervisorState::read(self.paths) else {
            return Ok(());
        };
        let crashing = state.processes.iter().find(|process| process.restarts >= CRASHES);
        crashing.map_or(Ok(()), |process| {
            Err(LabError::CrashLoop {
                process: format!("{} of {}", process.role, process.place),
                exit: process.exit.clone().unwrap_or_default(),
                log: tail(&log_file(self.paths, &process.place, process.role)),
            })
        })
    }

    fn not_ready(&self, place: &str, missing: &Missing) -> LabError {
        LabError::NotReady {
            seconds: self.deadline.as_secs(),
            waiting_for: format!("{} of {place} {}", missing.role, missing.what),
            log: tail(&log_file(self.paths, place, missing.role)),
        }
    }
}

/// A daemon's answer, or that it does not answer.
async fn answer<T>(
    role: Role,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, Missing> {
    match timeout(CALL, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Missing::new(
            role,
            format!("does not answer ({})", status.message()),
        )),
        Err(_) => Err(Missing::new(role, "does not answer in time")),
    }
}

/// The end of a log, with a heading; nothing where there is no log.
fn tail(path: &Path) -> String {
    let Ok(bytes) = fs::read(path) else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL)..];
    format!("\n--- the end of {} ---\n{}", path.display(), last.join("\n"))
}
