//! An address is believed while its owner says so, and not a moment longer than it said.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use signet_abi::{Direction, Reason, SecurityIdentity};
use signet_e2e::{Ask, Case, Family, Running, Stage, run};
use signet_lab::Role;
use signet_maps::{CounterName, LeasesMap, MetricsMap};
use signet_proto::agent::v1::{LeaseEntry, ListLeasesRequest};
use signet_proto::mesh::v1::{ExplainRequest, FlowEvent};

const CASES: &[Case] = &[
    Case {
        name: "each_node_holds_what_the_other_says_of_its_addresses",
        run: each_node_holds_what_the_other_says_of_its_addresses,
    },
    Case {
        name: "agents_that_restart_at_the_same_time_interrupt_no_live_flow",
        run: agents_that_restart_at_the_same_time_interrupt_no_live_flow,
    },
    Case {
        name: "a_rule_that_turns_to_required_under_live_flows_has_them_proven_and_they_go_on",
        run: a_rule_that_turns_to_required_under_live_flows_has_them_proven_and_they_go_on,
    },
    Case {
        name: "a_node_that_is_cut_off_is_refused_and_comes_back_without_a_handshake",
        run: a_node_that_is_cut_off_is_refused_and_comes_back_without_a_handshake,
    },
    Case {
        name: "a_signet_meshd_that_hangs_ends_its_node_s_leases_until_it_goes_on",
        run: a_signet_meshd_that_hangs_ends_its_node_s_leases_until_it_goes_on,
    },
    Case {
        name: "a_stale_address_in_other_hands_is_refused",
        run: a_stale_address_in_other_hands_is_refused,
    },
];

const PAIR: Ask = Ask::udp("client", "web", 8080);

fn main() -> ExitCode {
    run("e2elease", include_str!("../labs/leases.yaml"), CASES)
}

/// What a node's agent holds of another one's addresses.
fn held(stage: &Stage, node: &str) -> Result<Vec<LeaseEntry>> {
    let mut clients = stage.clients(node)?;
    let listed = stage.block_on(clients.agent.list_leases(ListLeasesRequest {}))?;
    Ok(listed.into_inner().held)
}

/// What the kernel of a node has of an address.
fn in_kernel(stage: &Stage, node: &str, address: IpAddr) -> Result<Option<SecurityIdentity>> {
    let leases = LeasesMap::open(&stage.lab().paths().node_bpffs(node))?;
    let lease = leases.get(&signet_abi::LeaseKey(address.into()))?;
    Ok(lease.map(|lease| lease.identity))
}

/// Packets to endpoints of n2 that were dropped for want of a lease, by the kernel's count.
fn drops(stage: &Stage) -> Result<u64> {
    let metrics = MetricsMap::open(&stage.lab().paths().node_bpffs("n2"))?;
    let lapsed = CounterName::Reason(Reason::LeaseExpired);
    Ok(metrics.get(lapsed, Direction::Ingress)?.packets)
}

fn each_node_holds_what_the_other_says_of_its_addresses(stage: &mut Stage) -> Result<()> {
    PAIR.answered(stage, stage.patience())?;
    PAIR.over(Family::V6).answered(stage, stage.patience())?;
    let client = stage
        .identity("n2", "client")?
        .context("n2 does not know the client")?;
    for family in Family::BOTH {
        let address = stage.address("client", family)?;
        let held = held(stage, "n2")?;
        let of = held.iter().find(|lease| lease.address == address.to_string());
        let of = of.with_context(|| format!("n2 holds no lease of {address}: {held:?}"))?;
        ensure!(
            of.state == "held" && of.node == "n1" && of.left_ms <= 10_000,
            "{of:?}"
        );
        ensure!(in_kernel(stage, "n2", address)? == Some(SecurityIdentity(client)));
    }
    // A pair on one node needs none.
    Ask::udp("near", "web", 8080).answered(stage, stage.patience())?;
    Ok(())
}

fn agents_that_restart_at_the_same_time_interrupt_no_live_flow(stage: &mut Stage) -> Result<()> {
    PAIR.answered(stage, stage.patience())?;
    let before = drops(stage)?;
    let duration = stage.patience() * 5;
    let transfer = Running::start(stage, "client", "web", 8080, Family::V4, "leased", duration)?;
    for node in ["n1", "n2"] {
        stage.lab().kill(node, Role::Agent)?;
    }
    for node in ["n1", "n2"] {
        stage.eventually("the agent is back", |stage| {
            stage.is_connected(node)?;
            Ok(Some(()))
        })?;
    }
    stage.eventually("leases are renewed again", |stage| {
        let held = held(stage, "n2")?;
        let fresh = held
            .iter()
            .any(|lease| lease.state == "held" && lease.left_ms > 8_000);
        Ok(fresh.then_some(()))
    })?;
    transfer.intact()?;
    ensure!(
        drops(stage)? == before,
        "packets were dropped for want of a lease"
    );
    Ok(())
}

/// A connection from another node and one from a neighbour run while the rule that they run under begins to ask for a proof.
fn a_rule_that_turns_to_required_under_live_flows_has_them_proven_and_they_go_on(
    stage: &mut Stage,
) -> Result<()> {
    const FROM: [&str; 2] = ["client", "near"];
    let refused = |stage: &Stage| -> Result<u64> {
        let metrics = MetricsMap::open(&stage.lab().paths().node_bpffs("n2"))?;
        let mut packets = 0;
        for reason in [Reason::AuthenticationRequired, Reason::LeaseExpired] {
            packets += metrics
                .get(CounterName::Reason(reason), Direction::Ingress)?
                .packets;
        }
        Ok(packets)
    };
    let mut transfers = Vec::new();
    for from in FROM {
        Ask::tcp(from, "plain", 8080).answered(stage, stage.patience())?;
        ensure!(
            stage.proof("n2", "plain", from)?.is_none(),
            "{from} was proven before anybody asked for it"
        );
        let duration = stage.patience() * 5;
        transfers.push(Running::start(
            stage,
            from,
            "plain",
            8080,
            Family::V4,
            "going on",
            duration,
        )?);
    }
    let before = refused(stage)?;
    let folder = stage.lab().paths().config();
    let file = folder.join("policy-01-plain.yaml");
    let text = fs::read_to_string(&file)?;
    ensure!(text.contains("disabled"), "{text}");
    let beside = folder.join(".plain");
    fs::write(&beside, text.replace("disabled", "required"))?;
    fs::rename(beside, file)?;
    for from in FROM {
        stage.eventually("the live flow's pair is proven", |stage| {
            stage.proof("n2", "plain", from)
        })?;
        let source = stage.address(from, Family::V4)?.to_string();
        stage.eventually("the flow log says that it waited", |stage| {
            let waited = |flow: &FlowEvent| flow.verdict == "parked" && flow.source == source;
            Ok(stage.flows("n2")?.into_iter().find(waited).map(drop))
        })?;
    }
    for transfer in transfers {
        transfer.still_running()?;
        transfer.intact()?;
    }
    ensure!(
        refused(stage)? == before,
        "packets of live flows were dropped on the way to their proof"
    );
    Ok(())
}

/// Whether the agents of the two nodes reach each other. Their workloads do all the time: packets are routed elsewhere.
fn reach(stage: &Stage, connected: bool) -> Result<()> {
    let nodes = &stage.lab().plan().nodes;
    let [one, two, ..] = nodes.as_slice() else {
        bail!("two nodes")
    };
    for (here, there) in [(one, two), (two, one)] {
        for address in [IpAddr::from(there.ipv4), there.ipv6.into()] {
            let route = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
            let action = if connected { "del" } else { "add" };
            stage
                .lab()
                .exec(&here.name, &["ip", "route", action, "blackhole", &route])?;
        }
    }
    Ok(())
}

fn a_node_that_is_cut_off_is_refused_and_comes_back_without_a_handshake(stage: &mut Stage) -> Result<()> {
    PAIR.answered(stage, stage.patience())?;
    let proof = |stage: &Stage| stage.proof("n2", "web", "client")?.context("n2 has no proof");
    let before = proof(stage)?;
    let dropped = drops(stage)?;
    reach(stage, false)?;
    // Its packets go on until its last word ends, ten seconds after it was asked for.
    stage.eventually("the cut-off node's packets are refused", |stage| {
        let _ = PAIR.run(stage, stage.silence() / 10)?;
        Ok((drops(stage)? > dropped).then_some(()))
    })?;
    PAIR.refused(stage, stage.silence(), "n2", Reason::LeaseExpired)?;
    let explained = explain(stage)?;
    ensure!(explained.0 == 221, "{explained:?}");
    ensure!(explained.1.contains("n1 has not said for"), "{explained:?}");
    // Who opens a connection is told where the rule says so, and not before the lease could have come.
    let told = SocketAddr::new(stage.address("web", Family::V4)?, 8081);
    let patience = stage.patience();
    let heard = stage.lab().within("client", || {
        TcpStream::connect_timeout(&told, patience).map_err(|error| error.kind())
    })?;
    ensure!(
        heard.err() == Some(ErrorKind::ConnectionRefused),
        "the client was not told"
    );
    // What needs no lease goes on.
    Ask::udp("near", "web", 8080).answered(stage, stage.patience())?;
    reach(stage, true)?;
    PAIR.answered(stage, stage.patience() * 2)?;
    let after = proof(stage)?;
    ensure!(
        (after.epoch, after.handshakes) == (before.epoch, before.handshakes),
        "there was another handshake: {before:?} {after:?}"
    );
    ensure!(explain(stage)?.0 == 0, "it is allowed again");
    Ok(())
}

/// A process that goes on when this is dropped, whatever has become of the test.
struct Stopped(Pid);

impl Stopped {
    fn new(stage: &Stage, place: &str, role: Role) -> Result<Self> {
        let pid = stage.lab().pid(place, role)?.context("it does not run")?;
        kill_process(pid, Signal::STOP)?;
        Ok(Self(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have gone.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

fn a_signet_meshd_that_hangs_ends_its_node_s_leases_until_it_goes_on(stage: &mut Stage) -> Result<()> {
    PAIR.answered(stage, stage.patience())?;
    let dropped = drops(stage)?;
    // It is there, its socket too, and nothing of what happens on its node reaches it.
    let stopped = Stopped::new(stage, "n1", Role::Meshd)?;
    stage.eventually("what its node has said before counts no more", |stage| {
        let _ = PAIR.run(stage, stage.silence() / 10)?;
        Ok((drops(stage)? > dropped).then_some(()))
    })?;
    PAIR.refused(stage, stage.silence(), "n2", Reason::LeaseExpired)?;
    drop(stopped);
    PAIR.answered(stage, stage.patience() * 2)?;
    Ok(())
}

/// The reason that n2 gives for the pair, and all that it says of the lease.
fn explain(stage: &Stage) -> Result<(u32, String)> {
    let mut clients = stage.clients("n2")?;
    let request = ExplainRequest {
        source: "shop/client".to_owned(),
        destination: "shop/web".to_owned(),
        port: 8080,
        protocol: "udp".to_owned(),
    };
    let answer = stage.block_on(clients.mesh.explain(request))?.into_inner();
    let lease = answer.steps.iter().find(|step| step.title == "lease");
    let lease = lease.map(|step| step.detail.clone()).unwrap_or_default();
    Ok((answer.reason, lease))
}

/// Node 2 hears nothing any more of what changes: neither the CA nor its own source of endpoints speaks to it. The client goes, and
/// its address is given to another workload of its node. To node 2's `IPCACHE` it still is the client's, and the client's
/// proof holds for an hour.
fn a_stale_address_in_other_hands_is_refused(stage: &mut Stage) -> Result<()> {
    PAIR.answered(stage, stage.patience())?;
    for (place, role) in [("ca", Role::Ca), ("n2", Role::Meshd)] {
        stage.lab().hold(place, role)?;
        stage.eventually("it is gone", |stage| {
            Ok(stage.lab().pid(place, role)?.is_none().then_some(()))
        })?;
    }
    let client = stage.address("client", Family::V4)?;
    hand_over(stage)?;
    let thief = stage
        .identity("n1", "thief")?
        .context("n1 does not know the thief")?;
    stage.eventually("node 2 has heard of it from node 1 alone", |stage| {
        Ok((in_kernel(stage, "n2", client)? == Some(SecurityIdentity(thief))).then_some(()))
    })?;
    let before = drops(stage)?;
    for ask in [Ask::tcp("thief", "web", 8080), Ask::udp("thief", "web", 8080)] {
        let answer = ask.run(stage, stage.silence())?;
        ensure!(
            !answer.report.answered,
            "the thief of the address was answered: {:?}",
            answer.report
        );
    }
    ensure!(drops(stage)? > before, "nothing was dropped for want of a lease");
    Ok(())
}

/// The client's addresses become the thief's, in the network and in the configuration.
fn hand_over(stage: &Stage) -> Result<()> {
    let lab = stage.lab();
    let workloads = &lab.plan().workloads;
    let find = |name: &str| {
        workloads
            .iter()
            .find(|plan| plan.name == name)
            .context("no such workload")
    };
    let (client, thief) = (find("client")?, find("thief")?);
    let folder = lab.paths().config();
    fs::remove_file(folder.join("workload-shop-client.yaml"))?;
    let file = folder.join("workload-shop-thief.yaml");
    let text = fs::read_to_string(&file)?
        .replace(&thief.ipv4.to_string(), &client.ipv4.to_string())
        .replace(&thief.ipv6.to_string(), &client.ipv6.to_string());
    let beside = folder.join(".thief");
    fs::write(&beside, text)?;
    fs::rename(beside, file)?;
    let (theirs, its) = (client.ipv4.to_string(), thief.ipv4.to_string());
    lab.exec(
        "client",
        &["ip", "addr", "del", &format!("{theirs}/32"), "dev", "eth0"],
    )?;
    lab.exec(
        "thief",
        &["ip", "addr", "add", &format!("{theirs}/32"), "dev", "eth0"],
    )?;
    lab.exec(
        "thief",
        &["ip", "addr", "del", &format!("{its}/32"), "dev", "eth0"],
    )?;
    lab.exec(
        "n1",
        &["ip", "route", "replace", &theirs, "dev", &thief.interface],
    )?;
    lab.exec(
        "n1",
        &[
            "ip",
            "neigh",
            "replace",
            &theirs,
            "lladdr",
            &thief.mac.clone(),
            "dev",
            &thief.interface,
            "nud",
            "permanent",
        ],
    )?;
    Ok(())
}
