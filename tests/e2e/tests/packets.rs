//! What becomes of packets that are refused, and of datagrams in pieces.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::io::Errno;
use signet_abi::{Reason, SecurityIdentity};
use signet_e2e::{Ask, Case, Family, Stage, run};
use signet_proto::agent::v1::{ProofEntry, proof_entry};
use signet_proto::mesh::v1::{ExplainRequest, FlowEvent};

const CASES: &[Case] = &[
    Case {
        name: "large_datagrams_of_a_cold_pair_arrive",
        run: large_datagrams_of_a_cold_pair_arrive,
    },
    Case {
        name: "who_cannot_be_proven_is_told_where_the_rule_says_so",
        run: who_cannot_be_proven_is_told_where_the_rule_says_so,
    },
    Case {
        name: "who_cannot_be_proven_hears_nothing_where_the_rule_does_not",
        run: who_cannot_be_proven_hears_nothing_where_the_rule_does_not,
    },
    Case {
        name: "a_sender_is_told_by_its_own_node_of_its_own_rules",
        run: a_sender_is_told_by_its_own_node_of_its_own_rules,
    },
    Case {
        name: "nodes_are_proven_to_workloads_by_their_own_svids",
        run: nodes_are_proven_to_workloads_by_their_own_svids,
    },
    Case {
        name: "whom_another_node_speaks_for_is_refused_as_that_and_told",
        run: whom_another_node_speaks_for_is_refused_as_that_and_told,
    },
    Case {
        name: "nobody_can_spend_anothers_refusals",
        run: nobody_can_spend_anothers_refusals,
    },
    Case {
        name: "an_address_of_several_spiffe_ids_is_nobodys_until_one_is_left",
        run: an_address_of_several_spiffe_ids_is_nobodys_until_one_is_left,
    },
];

fn main() -> ExitCode {
    run("e2epackets", include_str!("../labs/packets.yaml"), CASES)
}

/// Waits until a node's kernel knows these workloads, registered or not.
fn known(stage: &Stage, node: &str, workloads: &[(&str, bool)]) -> Result<()> {
    stage.eventually("the node knows who they are", |stage| {
        for (workload, registered) in workloads {
            let identity = stage.kernel_identity(node, workload)?;
            let expected = |identity: SecurityIdentity| {
                identity.is_workload() == *registered
                    && (*registered || identity == SecurityIdentity::UNMANAGED)
            };
            if !identity.is_some_and(expected) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

/// What the first packet over TCP and UDP comes to.
struct Heard {
    tcp: ErrorKind,
    /// None: silence.
    udp: Option<Errno>,
}

fn knock(stage: &Stage, from: &str, target: SocketAddr, patience: Duration) -> Result<Heard> {
    let source = SocketAddr::new(
        stage.address(from, if target.is_ipv4() { Family::V4 } else { Family::V6 })?,
        0,
    );
    stage.lab().within(from, || -> Result<Heard> {
        let tcp = match TcpStream::connect_timeout(&target, patience) {
            Ok(_) => anyhow::bail!("{from} was connected to {target}"),
            Err(error) => error.kind(),
        };
        let socket = UdpSocket::bind(source)?;
        socket.connect(target)?;
        socket.set_read_timeout(Some(patience))?;
        socket.send(b"knock")?;
        let udp = match socket.recv(&mut [0; 64]) {
            Ok(_) => anyhow::bail!("{from} was answered by {target}"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => error.raw_os_error().map(Errno::from_raw_os_error),
        };
        Ok(Heard { tcp, udp })
    })?
}

/// As Linux says it: type 3 code 13, and type 1 code 1.
fn prohibited(target: SocketAddr) -> Errno {
    if target.is_ipv4() {
        Errno::HOSTUNREACH
    } else {
        Errno::ACCESS
    }
}

fn was_told(stage: &Stage, node: &str, target: SocketAddr) -> Result<()> {
    stage.eventually("the flow log says that the sender was told", |stage| {
        let told = |flow: &FlowEvent| {
            flow.reason == u32::from(Reason::Rejected as u8) && flow.source == target.ip().to_string()
        };
        Ok(stage.flows(node)?.into_iter().find(told).map(drop))
    })
}

fn who_cannot_be_proven_is_told_where_the_rule_says_so(stage: &mut Stage) -> Result<()> {
    known(stage, "n2", &[("web", true), ("ghost", false), ("shade", false)])?;
    // From another node, and from the same one.
    for from in ["ghost", "shade"] {
        for family in Family::BOTH {
            let target = SocketAddr::new(stage.address("web", family)?, 8081);
            let heard = knock(stage, from, target, stage.patience())?;
            ensure!(
                heard.tcp == ErrorKind::ConnectionRefused,
                "{from} to {target}: {:?}",
                heard.tcp
            );
            ensure!(
                heard.udp == Some(prohibited(target)),
                "{from} to {target}: {:?}",
                heard.udp
            );
            was_told(stage, "n2", target)?;
            let ask = Ask::tcp(if from == "ghost" { "ghost" } else { "shade" }, "web", 8081).over(family);
            ask.refused(stage, stage.silence(), "n2", Reason::AuthenticationRequired)?;
        }
    }
    Ok(())
}

fn who_cannot_be_proven_hears_nothing_where_the_rule_does_not(stage: &mut Stage) -> Result<()> {
    known(stage, "n2", &[("web", true), ("ghost", false)])?;
    for family in Family::BOTH {
        let target = SocketAddr::new(stage.address("web", family)?, 8080);
        let heard = knock(stage, "ghost", target, stage.silence())?;
        ensure!(heard.tcp == ErrorKind::TimedOut, "{target}: {:?}", heard.tcp);
        ensure!(heard.udp.is_none(), "{target}: {:?}", heard.udp);
    }
    Ok(())
}

fn a_sender_is_told_by_its_own_node_of_its_own_rules(stage: &mut Stage) -> Result<()> {
    known(stage, "n1", &[("caller", true), ("shade", false)])?;
    for family in Family::BOTH {
        let target = SocketAddr::new(stage.address("shade", family)?, 8080);
        let heard = knock(stage, "caller", target, stage.patience())?;
        ensure!(
            heard.tcp == ErrorKind::ConnectionRefused,
            "{target}: {:?}",
            heard.tcp
        );
        ensure!(heard.udp == Some(prohibited(target)), "{target}: {:?}", heard.udp);
        was_told(stage, "n1", target)?;
    }
    Ok(())
}

/// A process of the workload's own node. Another node's address is also that of whom it masquerades: who comes from there is nobody.
fn nodes_are_proven_to_workloads_by_their_own_svids(stage: &mut Stage) -> Result<()> {
    known(stage, "n2", &[("vault", true)])?;
    for (node, family) in [("n2", Family::V4), ("n2", Family::V6)] {
        let target = SocketAddr::new(stage.address("vault", family)?, 8080);
        let patience = stage.patience();
        let answer = stage.lab().within(node, || -> Result<String> {
            let mut stream = TcpStream::connect_timeout(&target, patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(b"from a node\n")?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line)?;
            Ok(line)
        })?;
        let answer = answer.with_context(|| format!("{node} over {family:?}"))?;
        ensure!(answer == "vault: from a node\n", "{node}: {answer:?}");
    }
    let target = SocketAddr::new(stage.address("vault", Family::V4)?, 8080);
    let silence = stage.silence();
    let elsewhere = stage
        .lab()
        .within("n1", || TcpStream::connect_timeout(&target, silence).is_ok())?;
    ensure!(!elsewhere, "n1 was let in");
    let proofs = stage.proofs("n2")?;
    let proven = |proof: &ProofEntry| {
        proof.local.ends_with("/sa/vault")
            && proof.remote.ends_with("/signet/node/n2")
            && proof.state == i32::from(proof_entry::State::Proven)
    };
    ensure!(proofs.iter().any(proven), "no proof of n2: {proofs:?}");
    // A workload is no node.
    Ask::tcp("client", "vault", 8080).refused(stage, stage.silence(), "n2", Reason::PolicyDenied)
}

/// The ghost's node refuses a source that is not the sender's before there is anything to tell: the other workload hears nothing.
fn nobody_can_spend_anothers_refusals(stage: &mut Stage) -> Result<()> {
    let (victim, web) = (
        stage.address("client", Family::V4)?,
        stage.address("web", Family::V4)?,
    );
    let owned = format!("{victim}/32");
    stage
        .lab()
        .exec("ghost", &["ip", "address", "add", &owned, "dev", "eth0"])?;
    let sent = stage.lab().within("ghost", || -> Result<()> {
        let socket = UdpSocket::bind(SocketAddr::new(victim, 0))?;
        for _ in 0..20 {
            socket.send_to(b"spoofed", SocketAddr::new(web, 8081))?;
        }
        Ok(())
    });
    stage
        .lab()
        .exec("ghost", &["ip", "address", "del", &owned, "dev", "eth0"])?;
    sent??;
    stage
        .eventually("the node of the forger has refused it", |stage| {
            let refused = |flow: &FlowEvent| {
                flow.reason == u32::from(Reason::InvalidSourceIp as u8) && flow.source == victim.to_string()
            };
            Ok(stage.flows("n1")?.into_iter().find(refused).map(drop))
        })
        .context("the forged packets were not refused as such")?;
    let told = |flow: &FlowEvent| {
        flow.reason == u32::from(Reason::Rejected as u8) && flow.destination == victim.to_string()
    };
    for node in ["n1", "n2"] {
        ensure!(!stage.flows(node)?.iter().any(told), "{node} told the victim");
    }
    Ok(())
}

/// Their fragments wait in order, and so does the answer's.
fn large_datagrams_of_a_cold_pair_arrive(stage: &mut Stage) -> Result<()> {
    const LENGTH: usize = 9_000;
    known(
        stage,
        "n2",
        &[("web", true), ("client", true), ("neighbour", true)],
    )?;
    for (from, family) in [
        ("client", Family::V4),
        ("neighbour", Family::V6),
        ("client", Family::V6),
    ] {
        let target = SocketAddr::new(stage.address("web", family)?, 8080);
        let source = SocketAddr::new(stage.address(from, family)?, 0);
        let patience = stage.patience();
        let answer = stage.lab().within(from, || -> Result<Vec<u8>> {
            let socket = UdpSocket::bind(source)?;
            socket.set_read_timeout(Some(patience))?;
            // One, and no second one.
            socket.send_to(&[7; LENGTH], target)?;
            let mut buffer = vec![0; 2 * LENGTH];
            let length = socket.recv(&mut buffer).context("nothing came back")?;
            buffer.truncate(length);
            Ok(buffer)
        })??;
        let expected = [b"web: ".as_slice(), &[7; LENGTH]].concat();
        ensure!(answer == expected, "{from} had {} bytes back", answer.len());
        // The second family of a pair finds the proof of the first.
        if from != "client" || family == Family::V4 {
            stage.eventually("the flow log says that it waited", |stage| {
                let waited =
                    |flow: &FlowEvent| flow.verdict == "parked" && flow.source == source.ip().to_string();
                Ok(stage.flows("n2")?.into_iter().find(waited).map(drop))
            })?;
        }
    }
    Ok(())
}

/// A workload reaches another node's by way of its own node, which speaks for it with its own address: what arrives is the same as
/// if that node had masqueraded it. The two nodes' agents have proven each other, which must not serve it.
fn whom_another_node_speaks_for_is_refused_as_that_and_told(stage: &mut Stage) -> Result<()> {
    known(stage, "n2", &[("vault", true)])?;
    let nodes = &stage.lab().plan().nodes;
    let own = nodes.iter().find(|node| node.name == "n1").context("n1")?;
    // The address that its agent announces.
    let own = IpAddr::from(own.ipv4);
    // 8080 drops in silence, 8081 tells.
    for (port, expected) in [(8080, ErrorKind::TimedOut), (8081, ErrorKind::ConnectionRefused)] {
        let vault = SocketAddr::new(stage.address("vault", Family::V4)?, port);
        let heard = through_its_node(stage, "ghost", own, vault)?;
        ensure!(heard == Some(expected), "{vault}: {heard:?}");
        stage.dropped("n2", own, vault, Reason::SharedNodeAddress)?;
        let (reason, words) = explain(stage, "n2", &own.to_string(), "shop/vault", port)?;
        let expected = u32::from(Reason::SharedNodeAddress as u8);
        ensure!(
            reason == expected && words.contains("lends to others"),
            "{reason}: {words}"
        );
    }
    Ok(())
}

/// A workload of n1 asks its node, and that one opens a connection for it; what that came to.
fn through_its_node(
    stage: &Stage,
    workload: &str,
    node: IpAddr,
    target: SocketAddr,
) -> Result<Option<ErrorKind>> {
    let relay = stage
        .lab()
        .within("n1", || TcpListener::bind(SocketAddr::new(node, 0)))??;
    relay.set_nonblocking(true)?;
    let near = relay.local_addr()?;
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            stage.lab().within(workload, || -> Result<()> {
                let mut stream = TcpStream::connect_timeout(&near, stage.patience())?;
                Ok(stream.write_all(b"let me in\n")?)
            })
        });
        let (mut near, _) = stage.eventually("it asks its own node", |_| Ok(relay.accept().ok()))?;
        let mut line = String::new();
        BufReader::new(&mut near).read_line(&mut line)?;
        let silence = stage.silence();
        let far = stage
            .lab()
            .within("n1", || TcpStream::connect_timeout(&target, silence))?;
        match asking.join() {
            Ok(asked) => asked??,
            Err(_) => bail!("the thread that asked panicked"),
        }
        Ok(far.err().map(|error| error.kind()))
    })
}

/// The reason, and all that is said.
fn explain(stage: &Stage, node: &str, source: &str, destination: &str, port: u16) -> Result<(u32, String)> {
    let mut clients = stage.clients(node)?;
    let request = ExplainRequest {
        source: source.to_owned(),
        destination: destination.to_owned(),
        port: port.into(),
        protocol: "tcp".to_owned(),
    };
    let answer = stage.block_on(clients.mesh.explain(request))?.into_inner();
    let details: Vec<_> = answer.steps.into_iter().map(|step| step.detail).collect();
    Ok((
        answer.reason,
        format!("{}\n{}", details.join("\n"), answer.next_step),
    ))
}

fn an_address_of_several_spiffe_ids_is_nobodys_until_one_is_left(stage: &mut Stage) -> Result<()> {
    let several = Reason::SeveralIdentities;
    known(stage, "n1", &[("client", true), ("caller", true)])?;
    Ask::tcp("client", "web", 8081).answered(stage, stage.patience())?;
    let (v4, v6) = (
        stage.address("client", Family::V4)?,
        stage.address("client", Family::V6)?,
    );
    let twin = format!(
        "apiVersion: signet.io/v1alpha1\nkind: Workload\nmetadata: {{name: twin, namespace: shop}}\nspec: {{node: n1, serviceAccount: \
         twin, addresses: [{v4}, \"{v6}\"], interface: sgv-twin}}\n"
    );
    let file = stage.lab().paths().config().join("twin.yaml");
    let beside = stage.lab().paths().config().join(".twin");
    fs::write(&beside, twin)?;
    fs::rename(beside, &file)?;
    stage.eventually("the node has seen both claims", |stage| {
        let (reason, _) = explain(stage, "n1", "shop/client", "shop/web", 8081)?;
        Ok((reason == u32::from(several as u8)).then_some(()))
    })?;
    for family in Family::BOTH {
        // From it and to it, whatever rule there is.
        Ask::tcp("client", "web", 8081)
            .over(family)
            .refused(stage, stage.silence(), "n1", several)?;
        let target = SocketAddr::new(stage.address("client", family)?, 8080);
        // The caller's own rule asks for a proof, and wants it told.
        let heard = knock(stage, "caller", target, stage.silence())?;
        ensure!(
            heard.tcp == ErrorKind::ConnectionRefused,
            "{target}: {:?}",
            heard.tcp
        );
        was_told(stage, "n1", target)?;
    }
    let (_, words) = explain(stage, "n1", "shop/client", "shop/web", 8081)?;
    for part in [
        &v4.to_string(),
        "/ns/shop/sa/client)",
        "/ns/shop/sa/twin)",
        "an address of its own",
    ] {
        ensure!(words.contains(part), "{part} is not in {words}");
    }
    stage.eventually("the agent says so to who asks for a proof", |stage| {
        let said = stage.prove("n1", "client", "web", "n2")?;
        Ok(said.reason.contains("shop/twin").then_some(()))
    })?;
    fs::remove_file(file)?;
    Ask::tcp("client", "web", 8081).answered(stage, stage.patience() * 2)?;
    Ok(())
}
