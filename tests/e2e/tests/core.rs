//! The whole slice on one lab: what the demo says, proven. Runs on this machine and in the VM.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use signet_abi::{Reason, SecurityIdentity};
use signet_e2e::{Ask, Case, Family, Running, Stage, run};
use signet_lab::capture::Capture;
use signet_lab::metrics_ports;
use signet_proto::agent::v1::proof_entry;
use signet_proto::ca::v1::{DeregisterRequest, ListRegistrationsRequest};
use signet_proto::mesh::v1::{ExplainRequest, FlowEvent};
use signet_proto::view::v1::EncryptionMode;

const CASES: &[Case] = &[
    Case {
        name: "the_first_packets_of_a_pair_wait_and_none_is_lost",
        run: the_first_packets_of_a_pair_wait_and_none_is_lost,
    },
    Case {
        name: "an_allowed_pair_talks_once_it_is_proven",
        run: an_allowed_pair_talks_once_it_is_proven,
    },
    Case {
        name: "one_handshake_serves_both_directions",
        run: one_handshake_serves_both_directions,
    },
    Case {
        name: "a_pair_on_one_node_is_proven_too",
        run: a_pair_on_one_node_is_proven_too,
    },
    Case {
        name: "ping_is_tracked_and_proven",
        run: ping_is_tracked_and_proven,
    },
    Case {
        name: "an_endpoint_without_policy_is_open",
        run: an_endpoint_without_policy_is_open,
    },
    Case {
        name: "a_pair_without_a_rule_is_refused",
        run: a_pair_without_a_rule_is_refused,
    },
    Case {
        name: "every_daemon_shows_its_metrics_to_its_own_place",
        run: every_daemon_shows_its_metrics_to_its_own_place,
    },
    Case {
        name: "a_deny_beats_an_allow",
        run: a_deny_beats_an_allow,
    },
    Case {
        name: "always_fail_is_refused",
        run: always_fail_is_refused,
    },
    Case {
        name: "an_unregistered_workload_cannot_be_proven",
        run: an_unregistered_workload_cannot_be_proven,
    },
    Case {
        name: "a_spoofed_source_is_refused",
        run: a_spoofed_source_is_refused,
    },
    Case {
        name: "a_local_source_forged_on_the_wire_is_refused",
        run: a_local_source_forged_on_the_wire_is_refused,
    },
    Case {
        name: "encryption_switches_under_a_transfer",
        run: encryption_switches_under_a_transfer,
    },
    Case {
        name: "a_deleted_registration_stops_its_traffic",
        run: a_deleted_registration_stops_its_traffic,
    },
    Case {
        name: "one_of_two_registrations_stops_the_traffic_of_its_node",
        run: one_of_two_registrations_stops_the_traffic_of_its_node,
    },
];

fn main() -> ExitCode {
    run("e2ecore", include_str!("../labs/core.yaml"), CASES)
}

/// Pairs of their own, so that each meets no proof: from another node over both families, and from a neighbour.
fn the_first_packets_of_a_pair_wait_and_none_is_lost(stage: &mut Stage) -> Result<()> {
    const BURST: usize = 40;
    for (from, family) in [
        ("twin3", Family::V4),
        ("twin1", Family::V6),
        ("neighbour", Family::V4),
    ] {
        stage.eventually("n2 knows who they are", |stage| {
            for workload in ["web", from] {
                let identity = stage.kernel_identity("n2", workload)?;
                if !identity.is_some_and(SecurityIdentity::is_workload) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })?;
        let target = SocketAddr::new(stage.address("web", family)?, 8080);
        let source = SocketAddr::new(stage.address(from, family)?, 0);
        let patience = stage.silence();
        let answers = stage.lab().within(from, || -> Result<usize> {
            let socket = UdpSocket::bind(source)?;
            socket.set_read_timeout(Some(patience))?;
            for _ in 0..BURST {
                socket.send_to(b"first", target)?;
            }
            let mut buffer = [0; 64];
            Ok((0..BURST)
                .take_while(|_| socket.recv(&mut buffer).is_ok())
                .count())
        })??;
        ensure!(
            answers == BURST,
            "{from} sent {BURST} at once, {answers} were answered"
        );
        stage
            .eventually("the flow log says that it waited", |stage| {
                let waited =
                    |flow: &FlowEvent| flow.verdict == "parked" && flow.source == source.ip().to_string();
                Ok(stage.flows("n2")?.into_iter().find(waited).map(drop))
            })
            .with_context(|| format!("nothing of {from} has waited: the test proves nothing"))?;
    }
    Ok(())
}

fn an_allowed_pair_talks_once_it_is_proven(stage: &mut Stage) -> Result<()> {
    for family in Family::BOTH {
        Ask::tcp("client", "web", 8080)
            .over(family)
            .answered(stage, stage.patience())?;
        Ask::udp("client", "web", 8080)
            .over(family)
            .answered(stage, stage.patience())?;
    }
    stage
        .proof("n2", "web", "client")?
        .context("n2 has no proof of client for web")?;
    Ok(())
}

fn one_handshake_serves_both_directions(stage: &mut Stage) -> Result<()> {
    Ask::tcp("client", "web", 8080).answered(stage, stage.patience())?;
    let here = stage
        .proof("n1", "client", "web")?
        .context("n1 has no proof of web for client")?;
    let there = stage
        .proof("n2", "web", "client")?
        .context("n2 has no proof of client for web")?;
    ensure!(
        here.handshakes == 1 && there.handshakes == 1,
        "four conversations of one pair took {} and {} handshakes",
        here.handshakes,
        there.handshakes,
    );
    ensure!(
        here.not_after == there.not_after,
        "the two ends disagree: {here:?} {there:?}"
    );
    Ok(())
}

fn a_pair_on_one_node_is_proven_too(stage: &mut Stage) -> Result<()> {
    for family in Family::BOTH {
        Ask::tcp("neighbour", "web", 8080)
            .over(family)
            .answered(stage, stage.patience())?;
    }
    let proof = stage
        .proof("n2", "web", "neighbour")?
        .context("n2 has no proof of neighbour for web")?;
    ensure!(proof.node == "n2", "the proof names another node: {proof:?}");
    Ok(())
}

fn ping_is_tracked_and_proven(stage: &mut Stage) -> Result<()> {
    for family in Family::BOTH {
        let web = stage.address("web", family)?.to_string();
        stage.eventually("web answers pings", |stage| {
            Ok(Some(
                stage
                    .lab()
                    .exec("client", &["ping", "-n", "-c", "1", "-W", "1", &web])?,
            ))
        })?;
        let stranger = stage
            .lab()
            .exec("stranger", &["ping", "-n", "-c", "2", "-W", "1", &web]);
        ensure!(
            stranger.is_err(),
            "the stranger's ping was answered over {family:?}"
        );
    }
    Ok(())
}

fn an_endpoint_without_policy_is_open(stage: &mut Stage) -> Result<()> {
    for family in Family::BOTH {
        Ask::tcp("stranger", "open", 8080)
            .over(family)
            .answered(stage, stage.patience())?;
        Ask::udp("ghost", "open", 8080)
            .over(family)
            .answered(stage, stage.patience())?;
    }
    Ok(())
}

/// The same question in both families.
fn in_both(asks: &[Ask]) -> Vec<Ask> {
    let over = |family| asks.iter().map(move |ask| ask.over(family));
    Family::BOTH.into_iter().flat_map(over).collect()
}

fn a_pair_without_a_rule_is_refused(stage: &mut Stage) -> Result<()> {
    let asks = in_both(&[
        Ask::tcp("stranger", "web", 8080),
        Ask::udp("stranger", "web", 8080),
    ]);
    Ask::all_refused(stage, &asks, "n2", Reason::PolicyDenied)
}

fn every_daemon_shows_its_metrics_to_its_own_place(stage: &mut Stage) -> Result<()> {
    Ask::tcp("client", "web", 8080).answered(stage, stage.patience())?;
    let denied = format!(
        "signet_meshd_packets_total{{reason=\"{}\"",
        Reason::PolicyDenied as u8
    );
    for (place, port, metric) in [
        (
            "ca",
            metrics_ports::CA,
            "signet_ca_svids_issued_total{kind=\"x509\"}",
        ),
        (
            "n2",
            metrics_ports::AGENT,
            "signet_agent_handshakes_total{result=\"ok\"}",
        ),
        ("n2", metrics_ports::MESHD, denied.as_str()),
        ("n2", metrics_ports::KEYD, "signet_keyd_error"),
    ] {
        let page = stage.lab().within(place, || scrape(port))??;
        let line = page.lines().find(|line| line.starts_with(metric));
        let line = line.with_context(|| format!("{metric} is not among {place}'s metrics:\n{page}"))?;
        let zero = line.ends_with(" 0");
        ensure!(zero == (port == metrics_ports::KEYD), "{place} says {line}");
    }
    Ok(())
}

/// What the daemon at this port of the loopback answers.
fn scrape(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

fn a_deny_beats_an_allow(stage: &mut Stage) -> Result<()> {
    for ask in in_both(&[Ask::tcp("stranger", "web", 9091)]) {
        ask.answered(stage, stage.patience())?;
    }
    let asks = in_both(&[Ask::tcp("client", "web", 9091)]);
    Ask::all_refused(stage, &asks, "n2", Reason::PolicyDeny)
}

fn always_fail_is_refused(stage: &mut Stage) -> Result<()> {
    let asks = in_both(&[Ask::tcp("client", "web", 9090), Ask::udp("client", "web", 9090)]);
    Ask::all_refused(stage, &asks, "n2", Reason::AuthenticationAlwaysFails)
}

fn an_unregistered_workload_cannot_be_proven(stage: &mut Stage) -> Result<()> {
    let asks = in_both(&[Ask::tcp("ghost", "web", 8080)]);
    Ask::all_refused(stage, &asks, "n2", Reason::NotRegistered)?;
    // The words say what to do.
    let mut clients = stage.clients("n2")?;
    let request = ExplainRequest {
        source: "shop/ghost".to_owned(),
        destination: "shop/web".to_owned(),
        port: 8080,
        protocol: "tcp".to_owned(),
    };
    let explained = stage.block_on(clients.mesh.explain(request))?.into_inner();
    ensure!(
        explained.reason == u32::from(Reason::NotRegistered as u8)
            && explained.next_step.contains("signet ca register"),
        "{explained:?}"
    );
    Ok(())
}

fn a_spoofed_source_is_refused(stage: &mut Stage) -> Result<()> {
    let client = stage.address("client", Family::V4)?.to_string();
    let web = stage.address("web", Family::V4)?.to_string();
    // The leaver lives on the client's node: its routes to web are the same.
    let owned = format!("{client}/32");
    stage
        .lab()
        .exec("leaver", &["ip", "address", "add", &owned, "dev", "eth0"])?;
    let spoofed = stage.lab().exec(
        "leaver",
        &["ping", "-n", "-c", "2", "-W", "1", "-I", &client, &web],
    );
    stage
        .lab()
        .exec("leaver", &["ip", "address", "del", &owned, "dev", "eth0"])?;
    ensure!(
        spoofed.is_err(),
        "a ping with a stolen source address was answered"
    );
    let flows = stage.flows("n1")?;
    let number = u32::from(Reason::InvalidSourceIp as u8);
    ensure!(
        flows
            .iter()
            .any(|flow| flow.source == client && flow.reason == number),
        "n1 did not name the stolen address",
    );
    Ok(())
}

/// A pair on one node is proven; another node sends in the name of one of the two.
fn a_local_source_forged_on_the_wire_is_refused(stage: &mut Stage) -> Result<()> {
    for family in Family::BOTH {
        Ask::udp("neighbour", "web", 8080)
            .over(family)
            .answered(stage, stage.patience())?;
        let neighbour = stage.address("neighbour", family)?;
        let web = SocketAddr::new(stage.address("web", family)?, 8080);
        let owned = neighbour.to_string();
        stage
            .lab()
            .exec("n3", &["ip", "address", "add", &owned, "dev", "lo", "nodad"])?;
        let sent = stage.lab().within("n3", || {
            UdpSocket::bind((neighbour, 0)).and_then(|socket| socket.send_to(b"forged", web))
        });
        let prefix = if neighbour.is_ipv4() { 32 } else { 128 };
        let owned = format!("{owned}/{prefix}");
        stage
            .lab()
            .exec("n3", &["ip", "address", "del", &owned, "dev", "lo"])?;
        let _sent = sent?.context("n3 could not send in the neighbour's name")?;
        stage.eventually("n2 names the stolen address", |stage| {
            let number = u32::from(Reason::InvalidSourceIp as u8);
            let source = neighbour.to_string();
            let flows = stage.flows("n2")?;
            let named = flows.iter().any(|f| f.source == source && f.reason == number);
            Ok(named.then_some(()))
        })?;
    }
    Ok(())
}

fn encryption_switches_under_a_transfer(stage: &mut Stage) -> Result<()> {
    const SECRET: &str = "attack-at-dawn";
    let underlay = stage.lab().paths().netns("net");
    let duration = stage.patience() * 5;
    for family in Family::BOTH {
        let transfer = Running::start(stage, "client", "web", 8080, family, SECRET, duration)?;
        // The sniffer proves itself first: it sees the text while the wire is plain.
        stage.eventually("the sniffer sees the plaintext", |stage| {
            let capture = Capture::start(&underlay, SECRET)?;
            stage.block_on(async { tokio::time::sleep(Duration::from_millis(300)).await });
            Ok((capture.stop()?.with_text > 0).then_some(()))
        })?;

        stage.set_encryption(EncryptionMode::Wireguard)?;
        let capture = Capture::start(&underlay, SECRET)?;
        stage.block_on(async { tokio::time::sleep(Duration::from_secs(2)).await });
        let seen = capture.stop()?;
        transfer.still_running()?;
        ensure!(seen.with_text == 0, "the text was still on the wire: {seen:?}");
        ensure!(
            seen.plain_pod == 0,
            "packets between workloads were readable: {seen:?}"
        );
        ensure!(seen.tunnel > 0, "nothing went through the tunnel: {seen:?}");

        stage.set_encryption(EncryptionMode::Off)?;
        stage.eventually("the wire is plain again", |stage| {
            let capture = Capture::start(&underlay, SECRET)?;
            stage.block_on(async { tokio::time::sleep(Duration::from_millis(300)).await });
            Ok((capture.stop()?.with_text > 0).then_some(()))
        })?;
        transfer.still_running()?;
        transfer.intact()?;
    }
    Ok(())
}

fn a_deleted_registration_stops_its_traffic(stage: &mut Stage) -> Result<()> {
    Ask::tcp("leaver", "web", 8080).answered(stage, stage.patience())?;
    let transfer = Running::start(
        stage,
        "leaver",
        "web",
        8080,
        Family::V4,
        "going on",
        stage.patience(),
    )?;
    deregister(stage, "leaver", "n1")?;
    stage.eventually("n2 has dropped the proof", |stage| {
        Ok(stage.proof("n2", "web", "leaver")?.is_none().then_some(()))
    })?;
    transfer.broken(stage)?;
    // It is a stranger now.
    let refused = Ask::tcp("leaver", "web", 8080).run(stage, stage.silence())?;
    ensure!(
        !refused.report.answered,
        "the connection of a deleted registration was answered"
    );
    Ok(())
}

fn one_of_two_registrations_stops_the_traffic_of_its_node(stage: &mut Stage) -> Result<()> {
    for twin in ["twin1", "twin3"] {
        Ask::tcp(twin, "web", 8080).answered(stage, stage.patience())?;
    }
    let transfer = |from, stage: &Stage| {
        let text = "going on";
        Running::start(stage, from, "web", 8080, Family::V4, text, stage.patience())
    };
    let (cut, kept) = (transfer("twin1", stage)?, transfer("twin3", stage)?);
    deregister(stage, "twin", "n1")?;
    stage.eventually("n2 has dropped the proof of n1 alone", |stage| {
        let proofs = stage.proofs("n2")?.into_iter().filter(|proof| {
            proof.remote.ends_with("/sa/twin") && proof.state == i32::from(proof_entry::State::Proven)
        });
        let nodes: Vec<_> = proofs.map(|proof| proof.node).collect();
        Ok((nodes == ["n3"]).then_some(()))
    })?;
    cut.broken(stage)?;
    kept.intact()?;
    // The one that is left is a stranger to every node; the other one is who it was.
    stage.eventually("n2 takes twin1 for a stranger", |stage| {
        let gone = stage.kernel_identity("n2", "twin1")?;
        Ok((gone == Some(SecurityIdentity::UNMANAGED)).then_some(()))
    })?;
    Ask::tcp("twin1", "web", 8080).refused(stage, stage.silence(), "n2", Reason::NotRegistered)?;
    Ask::tcp("twin3", "web", 8080).answered(stage, stage.patience())?;
    let left = stage.kernel_identity("n2", "twin3")?;
    ensure!(
        left.is_some_and(SecurityIdentity::is_workload),
        "n2 takes twin3 for {left:?}",
    );
    Ok(())
}

/// Deletes the registration of a service account on a node.
fn deregister(stage: &Stage, service_account: &str, node: &str) -> Result<()> {
    let id = format!("/sa/{service_account}");
    stage.ca(async |mut ca| {
        let listed = ca.list_registrations(ListRegistrationsRequest {}).await?;
        let mut registrations = listed.into_inner().registrations.into_iter();
        let found = registrations.find(|one| one.spiffe_id.ends_with(&id) && one.node == node);
        let found =
            found.ok_or_else(|| tonic::Status::not_found(format!("{id} is not registered on {node}")))?;
        ca.deregister(DeregisterRequest { id: found.id })
            .await
            .map(|_| ())
    })
}
