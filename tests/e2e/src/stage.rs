//! A lab with what the cases ask of it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signet_abi::{Reason, SecurityIdentity};
use signet_lab::{Claim, Lab, LabFile, NodeClient, Role, UpOptions};
use signet_proto::agent::v1::{
    ListProofsRequest, ProofEntry, ProveRequest, StatusRequest as AgentStatusRequest, WatchViewRequest,
    proof_entry,
};
use signet_proto::ca::v1::{SetEncryptionRequest, StatusRequest as CaStatusRequest};
use signet_proto::keyd::v1::StatusRequest as KeydStatusRequest;
use signet_proto::mesh::v1::{
    FlowEvent, FlowsRequest, ListEndpointsRequest, StatusRequest as MeshStatusRequest,
};
use signet_proto::view::v1::EncryptionMode;
use tokio::runtime::Runtime;

use crate::{Answer, Family};

/// Emulated machines are about fifteen times slower: every bound is stretched by `SIGNET_E2E_SLOW` (a whole factor).
fn slowness() -> u32 {
    std::env::var("SIGNET_E2E_SLOW")
        .ok()
        .and_then(|factor| factor.parse().ok())
        .unwrap_or(1)
}

/// How long something that should happen may take before the test has failed. Generous: it bounds hangs, it measures
/// nothing.
pub(crate) fn patience() -> Duration {
    Duration::from_secs(20) * slowness()
}

/// A lab, and a runtime to talk to its daemons.
pub struct Stage {
    // In the order in which they end: the claim after the lab.
    lab: Lab,
    _claim: Claim,
    runtime: Runtime,
}

impl Stage {
    /// Makes a lab from `file` (YAML) under a name of this run's own that begins with `stem`. Labs that crashed runs left
    /// are removed first.
    pub fn up(stem: &str, file: &str) -> Result<Self> {
        signet_lab::sweep().context("failed to remove the lab of an earlier run")?;
        let claim = Claim::take(stem)?;
        let name = claim.name();
        let file = LabFile::parse(file, "lab of the test")?.renamed(name);
        let runtime = Runtime::new()?;
        let options = UpOptions {
            deadline: Duration::from_mins(1) * slowness(),
            ..UpOptions::default()
        };
        let lab = runtime
            .block_on(Lab::up(&file, &options))
            .context("failed to make the lab")?;
        Ok(Self {
            lab,
            _claim: claim,
            runtime,
        })
    }

    /// The lab.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// How long something that should happen may take.
    pub fn patience(&self) -> Duration {
        patience()
    }

    /// How long to watch for something that should not happen. Longer than the first retransmission of a SYN takes (1 s):
    /// what was wrongly opened meanwhile would be answered then.
    pub fn silence(&self) -> Duration {
        Duration::from_millis(2500) * slowness().min(3)
    }

    /// Runs an asynchronous call to its end.
    pub fn block_on<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// A workload's address.
    pub fn address(&self, workload: &str, family: Family) -> Result<IpAddr> {
        let plan = self
            .lab
            .plan()
            .workloads
            .iter()
            .find(|plan| plan.name == workload);
        let plan = plan.with_context(|| format!("the lab has no workload {workload}"))?;
        Ok(match family {
            Family::V4 => plan.ipv4.into(),
            Family::V6 => plan.ipv6.into(),
        })
    }

    /// The names of the nodes.
    pub fn nodes(&self) -> Vec<String> {
        self.lab
            .plan()
            .nodes
            .iter()
            .map(|node| node.name.clone())
            .collect()
    }

    /// Waits until `look` finds something.
    pub fn eventually<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Result<Option<T>>) -> Result<T> {
        let until = Instant::now() + self.patience();
        loop {
            let found = look(self);
            match found {
                Ok(Some(found)) => return Ok(found),
                Ok(None) if Instant::now() > until => bail!("waited in vain until {what}"),
                Err(error) if Instant::now() > until => {
                    return Err(error.context(format!("waited in vain until {what}")));
                }
                Ok(None) | Err(_) => {
                    self.block_on(async { tokio::time::sleep(Duration::from_millis(100)).await });
                }
            }
        }
    }

    fn client(&self, node: &str) -> Result<NodeClient> {
        // Channels spawn tasks.
        let _in_runtime = self.runtime.enter();
        Ok(self.lab.client(node)?)
    }

    /// What a node's agent says of the proofs for pairs of these service accounts.
    pub fn proofs(&self, node: &str) -> Result<Vec<ProofEntry>> {
        let mut client = self.client(node)?;
        let listed = self.block_on(client.agent.list_proofs(ListProofsRequest {}))?;
        Ok(listed.into_inner().proofs)
    }

    /// The live proof of a pair, by service account, on a node.
    pub fn proof(&self, node: &str, local: &str, remote: &str) -> Result<Option<ProofEntry>> {
        let (local, remote) = (format!("/sa/{local}"), format!("/sa/{remote}"));
        let proven = |proof: &ProofEntry| {
            proof.local.ends_with(&local)
                && proof.remote.ends_with(&remote)
                && proof.state == i32::from(proof_entry::State::Proven)
        };
        Ok(self.proofs(node)?.into_iter().find(proven))
    }

    /// Asks a node's agent for the proof of a pair, by service account, as `signet auth prove` does.
    pub fn prove(&self, node: &str, local: &str, remote: &str, at: &str) -> Result<ProofEntry> {
        let number = |account| {
            let found = self.identity(node, account)?;
            found.with_context(|| format!("{account} has no identity"))
        };
        let node_id = self.block_on(self.clients(at)?.mesh.status(MeshStatusRequest {}))?;
        let request = ProveRequest {
            local_identity: number(local)?,
            remote_identity: number(remote)?,
            node_id: node_id.into_inner().node_id,
        };
        let mut client = self.client(node)?;
        Ok(self.block_on(client.agent.prove(request))?.into_inner())
    }

    /// The number of a service account's identity, as a node's agent knows it.
    pub fn identity(&self, node: &str, account: &str) -> Result<Option<u32>> {
        let mut client = self.client(node)?;
        let suffix = format!("/sa/{account}");
        self.block_on(async {
            let mut view = client.agent.watch_view(WatchViewRequest {}).await?.into_inner();
            let view = view.message().await?.context("the agent has no view")?;
            let found = view
                .identities
                .iter()
                .find(|identity| identity.spiffe_id.ends_with(&suffix));
            Ok(found.map(|identity| identity.number))
        })
    }

    /// Fails unless the daemons of a place answer and have found each other; at `ca`, unless it answers and every node
    /// follows it.
    pub fn is_connected(&self, place: &str) -> Result<()> {
        let nodes = match place {
            "ca" => {
                self.ca(async |mut ca| ca.status(CaStatusRequest {}).await.map(|_| ()))?;
                self.nodes()
            }
            node => vec![node.to_owned()],
        };
        for node in nodes {
            let mut client = self.client(&node)?;
            let agent = self
                .block_on(client.agent.status(AgentStatusRequest {}))?
                .into_inner();
            let mesh = self
                .block_on(client.mesh.status(MeshStatusRequest {}))?
                .into_inner();
            if !(agent.ca_connected && agent.mesh_connected && agent.keyd_connected && mesh.agent_connected) {
                bail!("the daemons of {node} have not found each other yet");
            }
        }
        Ok(())
    }

    /// Who a workload is to the kernel of a node; none if the node does not know of it.
    pub fn kernel_identity(&self, node: &str, workload: &str) -> Result<Option<SecurityIdentity>> {
        let listed = self.block_on(self.clients(node)?.mesh.list_endpoints(ListEndpointsRequest {}))?;
        let endpoints = listed.into_inner().endpoints.into_iter();
        let named = endpoints
            .filter_map(|one| one.endpoint)
            .find(|endpoint| endpoint.name == workload);
        Ok(named.map(|endpoint| SecurityIdentity(endpoint.identity)))
    }

    /// Past flow events of a node.
    pub fn flows(&self, node: &str) -> Result<Vec<FlowEvent>> {
        let mut client = self.client(node)?;
        self.block_on(async {
            let request = FlowsRequest {
                last: 8192,
                follow: false,
                dropped: false,
            };
            let mut stream = client.mesh.flows(request).await?.into_inner();
            let mut events = Vec::new();
            while let Some(event) = stream.message().await? {
                events.push(event);
            }
            Ok(events)
        })
    }

    /// Waits until a node's flow log has a drop of this conversation with this reason.
    pub fn dropped_because(&self, node: &str, answer: &Answer, reason: Reason) -> Result<()> {
        self.dropped(node, answer.source, answer.target, reason)
    }

    /// The same for a conversation that no workload of the lab began.
    pub fn dropped(&self, node: &str, from: IpAddr, to: SocketAddr, reason: Reason) -> Result<()> {
        let (source, target) = (from.to_string(), to.ip().to_string());
        let mut reasons = Vec::new();
        let found = self.eventually("the flow log names the drop", |stage| {
            let flows = stage.flows(node)?;
            let mine = flows.iter().filter(|flow| {
                flow.source == source
                    && flow.destination == target
                    && flow.destination_port == u32::from(to.port())
                    && flow.verdict == "dropped"
            });
            reasons = mine.map(|flow| (flow.reason, flow.reason_text.clone())).collect();
            Ok(reasons
                .iter()
                .any(|(number, _)| *number == u32::from(reason as u8))
                .then_some(()))
        });
        found.with_context(|| format!("expected {reason:?}; {node} has these drops: {reasons:?}"))
    }

    /// Sets the cluster-wide toggle and waits until every node sends so to every other.
    pub fn set_encryption(&self, mode: EncryptionMode) -> Result<()> {
        let mut ca = {
            let _in_runtime = self.runtime.enter();
            self.lab.ca()?
        };
        self.block_on(ca.set_encryption(SetEncryptionRequest { mode: mode.into() }))?;
        let peers = self.nodes().len() - 1;
        self.eventually("every node has switched", |stage| {
            for node in stage.nodes() {
                let mut client = stage.client(&node)?;
                let status = stage
                    .block_on(client.keyd.status(KeydStatusRequest {}))?
                    .into_inner();
                let sending = status.peers.iter().filter(|peer| peer.state == "sending").count();
                let wanted = if mode == EncryptionMode::Wireguard {
                    peers
                } else {
                    0
                };
                if sending != wanted {
                    bail!("{node} sends encrypted to {sending} of {wanted} peers");
                }
            }
            Ok(Some(()))
        })
    }

    /// Which implementation of the tunnel a node uses: `kernel` or `user space`.
    pub fn tunnel_implementation(&self, node: &str) -> Result<String> {
        let mut client = self.client(node)?;
        Ok(self
            .block_on(client.keyd.status(KeydStatusRequest {}))?
            .into_inner()
            .implementation)
    }

    /// Clients of a node's daemons, for what has no word here.
    pub fn clients(&self, node: &str) -> Result<NodeClient> {
        self.client(node)
    }

    /// The CA's operator interface.
    pub fn ca<T>(
        &self,
        call: impl AsyncFnOnce(
            signet_proto::ca::v1::operator_service_client::OperatorServiceClient<tonic::transport::Channel>,
        ) -> Result<T, tonic::Status>,
    ) -> Result<T> {
        let client = {
            let _in_runtime = self.runtime.enter();
            self.lab.ca()?
        };
        Ok(self.block_on(call(client))?)
    }

    /// The last lines of every daemon's log, for the report of a failure.
    pub(crate) fn diagnosis(&self) -> String {
        let nodes = self.nodes();
        let daemons = nodes
            .iter()
            .flat_map(|node| [Role::Agent, Role::Meshd, Role::Keyd].map(|role| (node.as_str(), role)));
        let tail = |(place, role)| {
            let log = std::fs::read_to_string(self.lab.log(place, role)).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            format!(
                "{place} {role}:\n  {}",
                lines[lines.len().saturating_sub(12)..].join("\n  ")
            )
        };
        let logs: Vec<_> = daemons.chain([("ca", Role::Ca)]).map(tail).collect();
        format!("logs of the lab:\n{}", logs.join("\n"))
    }
}
