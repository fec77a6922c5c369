//! What rules ask for is proven before anybody sends: the first packet waits for nothing.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use signet_e2e::{Ask, Case, Family, Stage, run};
use signet_lab::Role;
use signet_maps::AuthMap;
use signet_proto::agent::v1::{Preauth, StatusRequest};

const CASES: &[Case] = &[
    Case {
        name: "a_first_packet_of_a_pair_that_was_proven_ahead_waits_for_nothing",
        run: a_first_packet_of_a_pair_that_was_proven_ahead_waits_for_nothing,
    },
    Case {
        name: "a_rule_that_comes_later_is_followed_before_the_first_packet",
        run: a_rule_that_comes_later_is_followed_before_the_first_packet,
    },
    Case {
        name: "an_agent_that_lost_its_proofs_makes_them_again_without_a_packet",
        run: an_agent_that_lost_its_proofs_makes_them_again_without_a_packet,
    },
];

fn main() -> ExitCode {
    run("e2epreauth", include_str!("../labs/preauth.yaml"), CASES)
}

/// How many packets have waited for a proof, on all nodes, and what each has done ahead.
fn parked(stage: &Stage) -> Result<(u64, Vec<Preauth>)> {
    let mut parked = 0;
    let mut ahead = Vec::new();
    for node in stage.nodes() {
        let mut clients = stage.clients(&node)?;
        let status = stage
            .block_on(clients.agent.status(StatusRequest {}))?
            .into_inner();
        let parking = status.parking.context("the agent says nothing of parking")?;
        ensure!(
            parking.open,
            "packets cannot wait on {node}: the test would prove nothing"
        );
        parked += parking.parked;
        ahead.push(
            status
                .preauth
                .context("the agent says nothing of what it proves ahead")?,
        );
    }
    Ok((parked, ahead))
}

/// Waits until the proofs of a pair are on both nodes.
fn proven(stage: &Stage, server: &str, client: (&str, &str)) -> Result<()> {
    let (name, node) = client;
    stage.eventually("the pair is proven without a packet", |stage| {
        let both = stage.proof("n2", server, name)?.is_some() && stage.proof(node, name, server)?.is_some();
        Ok(both.then_some(()))
    })
}

fn a_first_packet_of_a_pair_that_was_proven_ahead_waits_for_nothing(stage: &mut Stage) -> Result<()> {
    proven(stage, "web", ("client", "n1"))?;
    proven(stage, "web", ("near", "n2"))?;
    for from in ["client", "near"] {
        for family in Family::BOTH {
            for ask in [Ask::udp(from, "web", 8080), Ask::tcp(from, "web", 8080)] {
                ask.over(family).answered(stage, stage.patience())?;
            }
        }
    }
    let (parked, ahead) = parked(stage)?;
    ensure!(parked == 0, "{parked} packets waited for a proof");
    let [one, two] = ahead.as_slice() else {
        anyhow::bail!("two nodes")
    };
    ensure!(
        two.mode == "policy" && two.chosen == 2 && two.proven >= 2 && two.waiting == 0,
        "{two:?}"
    );
    ensure!(one.chosen == 0, "no rule of n1's workloads asks: {one:?}");
    // A first attempt may have come before the other node had an SVID. Nobody else is proven to it.
    ensure!(stage.proof("n2", "web", "late")?.is_none());
    ensure!(stage.proofs("n2")?.len() == 3, "{:?}", stage.proofs("n2")?);
    Ok(())
}

fn a_rule_that_comes_later_is_followed_before_the_first_packet(stage: &mut Stage) -> Result<()> {
    const POLICY: &str = "apiVersion: signet.io/v1alpha1
kind: Policy
metadata: {name: late, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - {from: [{workload: {serviceAccount: late}}], authentication: required}
";
    let folder = stage.lab().paths().config();
    fs::write(folder.join(".late"), POLICY)?;
    fs::rename(folder.join(".late"), folder.join("late.yaml"))?;
    proven(stage, "web", ("late", "n1"))?;
    Ask::udp("late", "web", 8080).answered(stage, stage.patience())?;
    let (parked, _) = parked(stage)?;
    ensure!(parked == 0, "{parked} packets waited for a proof");
    Ok(())
}

fn an_agent_that_lost_its_proofs_makes_them_again_without_a_packet(stage: &mut Stage) -> Result<()> {
    proven(stage, "web", ("client", "n1"))?;
    stage.lab().hold("n2", Role::Agent)?;
    stage.eventually("it is gone", |stage| {
        Ok(stage.lab().pid("n2", Role::Agent)?.is_none().then_some(()))
    })?;
    let mut auth = AuthMap::open(&stage.lab().paths().node_bpffs("n2"))?;
    for (key, _) in auth.entries()? {
        auth.remove(&key)?;
    }
    stage.lab().release("n2", Role::Agent)?;
    stage.eventually("the agent is back", |stage| {
        stage.is_connected("n2")?;
        Ok(Some(()))
    })?;
    stage.eventually("the kernel has its proofs again", |_| {
        Ok((auth.entries()?.len() >= 3).then_some(()))
    })?;
    Ask::udp("client", "web", 8080).answered(stage, stage.patience())?;
    let (parked, _) = parked(stage)?;
    ensure!(parked == 0, "{parked} packets waited for a proof");
    Ok(())
}
