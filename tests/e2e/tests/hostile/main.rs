//! Bad input from outside: each is refused with its reason, nothing is half-applied, and nothing is let through.
//!
//! What a lab cannot do better is proven nearer to the code that refuses it:
//!
//! | bad input | here | closer |
//! | --- | --- | --- |
//! | wrong, used or expired join token | `join_tokens_work_once_and_wrong_ones_never` | `signet-ca`: `attest.rs` |
//! | expired certificate | `expired_svids_stop_traffic_and_a_node_comes_back_only_with_a_new_token` | `signet-agent`: `hostile.rs`; `signet-ca`: `strangers.rs`; `signet-handshake`; `signet-spiffe` |
//! | foreign trust domain | `a_registration_for_signets_own_names_is_refused` | `signet-agent`: `hostile.rs`; `signet-ca`: `strangers.rs`; `signet-handshake` |
//! | SVID of another node's workload: asked for | | `signet-ca`: `issue.rs`, `another_node_s_workload_is_refused` |
//! | the same: shown in a pair handshake | | `signet-agent`: `proofs.rs`, `an_svid_that_was_carried_off_to_another_node_proves_nothing_there`; `signet-handshake`, without its key; `signet-datapath`: a proof for another node |
//! | malformed frames on 4250 | `garbage_on_the_session_port_harms_nobody` | `signet-agent`: `hostile.rs`, behind the handshake; `signet-session`: `codec.rs` |
//! | stalled peer | `stalled_peers_harm_nobody` | `signet-agent`: `hostile.rs`, at each step; `signet-workload-api`: a client that does not read |
//! | full map | `a_full_map_lets_nothing_through_and_is_said` | `signet-agent`: `proofs.rs` |
//! | YAML with an unknown field | `a_bad_policy_file_changes_nothing_and_is_shown` | `signet-source` |

mod joining;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use signet_abi::{AuthKey, AuthValue, NodeId, Reason, SecurityIdentity};
use signet_e2e::{Ask, Case, Family, Running, Stage, run};
use signet_lab::Role;
use signet_maps::{AuthMap, boottime_now};
use signet_proto::agent::v1::{ProveRequest, StatusRequest as AgentStatusRequest};
use signet_proto::ca::v1::RegisterRequest;
use signet_proto::mesh::v1::ListPoliciesRequest;

use crate::joining::{join_token, join_tokens_work_once_and_wrong_ones_never};

const CASES: &[Case] = &[
    Case {
        name: "garbage_on_the_session_port_harms_nobody",
        run: garbage_on_the_session_port_harms_nobody,
    },
    Case {
        name: "stalled_peers_harm_nobody",
        run: stalled_peers_harm_nobody,
    },
    Case {
        name: "join_tokens_work_once_and_wrong_ones_never",
        run: join_tokens_work_once_and_wrong_ones_never,
    },
    Case {
        name: "a_bad_policy_file_changes_nothing_and_is_shown",
        run: a_bad_policy_file_changes_nothing_and_is_shown,
    },
    Case {
        name: "a_registration_for_signets_own_names_is_refused",
        run: a_registration_for_signets_own_names_is_refused,
    },
    Case {
        name: "a_pair_of_unknown_identities_is_not_proven",
        run: a_pair_of_unknown_identities_is_not_proven,
    },
    Case {
        name: "a_workload_cannot_reach_the_operators_sockets_over_the_network",
        run: no_operator_port_is_open,
    },
    Case {
        name: "a_full_map_lets_nothing_through_and_is_said",
        run: a_full_map_lets_nothing_through_and_is_said,
    },
    Case {
        name: "a_flood_of_refusals_does_not_fill_the_logs",
        run: a_flood_of_refusals_does_not_fill_the_logs,
    },
    Case {
        name: "each_daemon_has_the_privileges_that_it_needs_and_no_other",
        run: each_daemon_has_the_privileges_that_it_needs_and_no_other,
    },
    // The last: it leaves nodes that have attested twice.
    Case {
        name: "expired_svids_stop_traffic_and_a_node_comes_back_only_with_a_new_token",
        run: expired_svids_stop_traffic,
    },
];

fn main() -> ExitCode {
    run("e2ehost", include_str!("../../labs/hostile.yaml"), CASES)
}

fn session_port(stage: &Stage) -> Result<SocketAddr> {
    let node = stage
        .lab()
        .plan()
        .nodes
        .iter()
        .find(|node| node.name == "n2")
        .context("no n2")?;
    Ok((node.ipv4, 4250).into())
}

fn still_works(stage: &Stage) -> Result<()> {
    // A pair that is not proven yet takes the whole way: a signal, a session, a handshake, a proof.
    Ask::tcp("client", "web", 8080).answered(stage, stage.patience())?;
    Ok(())
}

fn garbage_on_the_session_port_harms_nobody(stage: &mut Stage) -> Result<()> {
    let port = session_port(stage)?;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 4096],
        &[0x16, 3, 1, 0xff, 0xff, 0xff],
        &[0xff; 9_000],
    ] {
        stage.lab().within("n1", || -> Result<()> {
            let mut stream = TcpStream::connect_timeout(&port, Duration::from_secs(5))?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            // The other side may close in the middle: that is what it should do.
            let _ = stream.write_all(garbage);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            ensure!(
                answer.len() < 512,
                "garbage was answered with {} bytes",
                answer.len()
            );
            Ok(())
        })??;
    }
    still_works(stage)
}

fn stalled_peers_harm_nobody(stage: &mut Stage) -> Result<()> {
    let port = session_port(stage)?;
    // More than the agent lets wait; all of them say nothing.
    let stalled = stage.lab().within("n1", || {
        (0..200)
            .map_while(|_| TcpStream::connect_timeout(&port, Duration::from_secs(1)).ok())
            .collect::<Vec<_>>()
    })?;
    ensure!(!stalled.is_empty(), "no connection could be made at all");
    still_works(stage)?;
    drop(stalled);
    Ok(())
}

fn a_bad_policy_file_changes_nothing_and_is_shown(stage: &mut Stage) -> Result<()> {
    let bad = stage.lab().paths().config().join("bad.yaml");
    std::fs::write(
        &bad,
        "\
apiVersion: signet.io/v1alpha1
kind: Policy
metadata: {name: open, namespace: shop}
spec:
  endpointSelector: {}
  ingress:
  - from: [{entity: all}]
---
apiVersion: signet.io/v1alpha1
kind: Policy
metadata: {name: all, namespace: shop}
spec:
  endpointSelector: {}
  ingres:
  - from: [{entity: all}]
",
    )?;
    let policies = |stage: &Stage| -> Result<_> {
        let mut clients = stage.clients("n2")?;
        Ok(stage
            .block_on(clients.mesh.list_policies(ListPoliciesRequest {}))?
            .into_inner())
    };
    let errors = stage.eventually("n2 shows the error", |stage| {
        let errors = policies(stage)?.errors;
        Ok((!errors.is_empty()).then_some(errors))
    })?;
    ensure!(
        errors
            .iter()
            .any(|error| error.contains("bad.yaml:14") && error.contains("ingres")),
        "the error does not name file, line and field: {errors:?}",
    );
    let in_force = policies(stage)?.policies;
    ensure!(
        in_force.len() == 1 && in_force[0].name == "web",
        "the good policies did not stay, or half of the bad file counts: {in_force:?}"
    );
    for command in [["policy", "list"].as_slice(), &["status"]] {
        let argv: Vec<_> = ["signet"].iter().chain(command).copied().collect();
        let shown = stage.lab().command("n2", &argv)?.output()?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        ensure!(
            shown.contains("bad.yaml:14") && shown.contains("ingres"),
            "`signet {}` does not show the error: {shown}",
            command.join(" ")
        );
    }
    let stranger = Ask::tcp("stranger", "web", 8080).run(stage, stage.silence())?;
    ensure!(!stranger.report.answered, "a bad file let somebody in");
    still_works(stage)?;
    std::fs::remove_file(&bad)?;
    stage.eventually("the error goes with the file", |stage| {
        Ok(policies(stage)?.errors.is_empty().then_some(()))
    })
}

fn a_registration_for_signets_own_names_is_refused(stage: &mut Stage) -> Result<()> {
    for spiffe_id in [
        "spiffe://cluster.local/signet/node/n1",
        "spiffe://other.domain/ns/a/sa/b",
        "spiffe://cluster.local/",
    ] {
        let asked = stage.ca(async |mut ca| {
            let request = RegisterRequest {
                spiffe_id: spiffe_id.into(),
                node: "n1".into(),
                selectors: vec!["unix:uid:0".into()],
                ttl: 0,
                ..RegisterRequest::default()
            };
            ca.register(request).await.map(|_| ())
        });
        let error = asked
            .err()
            .with_context(|| format!("{spiffe_id} was registered"))?;
        ensure!(
            !format!("{error:#}").is_empty(),
            "{spiffe_id} was refused without a word"
        );
    }
    Ok(())
}

fn a_pair_of_unknown_identities_is_not_proven(stage: &mut Stage) -> Result<()> {
    let mut clients = stage.clients("n1")?;
    let asked = stage.block_on(clients.agent.prove(ProveRequest {
        local_identity: 4_000_000,
        remote_identity: 4_000_001,
        node_id: 2,
    }));
    match asked {
        Err(_) => Ok(()),
        Ok(entry) => {
            let entry = entry.into_inner();
            ensure!(!entry.reason.is_empty(), "an unknown pair was proven: {entry:?}");
            Ok(())
        }
    }
}

/// Whether a line of `ss -Hltn` is about a socket that only its own network namespace reaches.
fn is_private(line: &str) -> bool {
    let local = line.split_whitespace().nth(3);
    local.is_some_and(|address| address.starts_with("127.0.0.1:"))
}

fn no_operator_port_is_open(stage: &mut Stage) -> Result<()> {
    // From a workload, its node offers the session port alone, and the CA its node service alone. Metrics are for the
    // place itself.
    let listening = stage.lab().exec("n2", &["ss", "-Hltn"])?;
    let foreign: Vec<_> = listening
        .lines()
        .filter(|line| !line.contains(":4250") && !is_private(line))
        .collect();
    ensure!(
        foreign.is_empty(),
        "n2 listens on more than the session port: {foreign:?}"
    );
    let listening = stage.lab().exec("ca", &["ss", "-Hltn"])?;
    let foreign: Vec<_> = listening
        .lines()
        .filter(|line| !line.contains(":4240") && !is_private(line))
        .collect();
    ensure!(
        foreign.is_empty(),
        "the CA listens on more than its port: {foreign:?}"
    );
    Ok(())
}

fn a_full_map_lets_nothing_through_and_is_said(stage: &mut Stage) -> Result<()> {
    // A change of the view makes the agent compare its map; the next comparison is then half a minute away.
    stage.ca(async |mut ca| {
        let request = RegisterRequest {
            spiffe_id: "spiffe://cluster.local/ns/shop/sa/nobody".into(),
            node: "n1".into(),
            selectors: vec!["endpoint:shop/nobody".into()],
            ttl: 0,
            ..RegisterRequest::default()
        };
        ca.register(request).await.map(|_| ())
    })?;
    stage.eventually("n2 knows the new identity", |stage| {
        let known = stage.identity("n2", "nobody")?;
        Ok(known.map(|_| ()))
    })?;
    let (web, client) = (stage.identity("n2", "web")?, stage.identity("n2", "client")?);
    let (web, client) = (
        web.context("no identity of web")?,
        client.context("no identity of client")?,
    );

    let mut auth = AuthMap::open(&stage.lab().paths().node_bpffs("n2"))?;
    for (key, _) in auth.entries()? {
        auth.remove(&key)?;
    }
    let filler = |number: u32| AuthKey {
        local: SecurityIdentity(1_000_000 + number),
        remote: SecurityIdentity(web),
        node: NodeId(1),
    };
    let value = AuthValue {
        not_after: boottime_now() + 3_600_000_000_000,
        epoch: 1,
        made: 0,
        // All of them are at work.
        used: boottime_now(),
    };
    let mut fillers = 0;
    let full = loop {
        if let Err(error) = auth.insert(&filler(fillers), &value) {
            break error;
        }
        fillers += 1;
    };
    ensure!(full.is_full(), "the map refused for another reason: {full}");

    Ask::tcp("client", "web", 8080).refused(stage, stage.silence(), "n2", Reason::AuthenticationRequired)?;
    let entry = stage.proofs("n2")?.into_iter();
    let entry = entry
        .into_iter()
        .find(|entry| entry.local_identity == web && entry.remote_identity == client)
        .context("n2 does not list the pair")?;
    ensure!(
        entry.reason.contains("AUTH is full at"),
        "the reason is not said: {entry:?}"
    );
    let shown = stage.lab().exec("n2", &["signet", "auth", "list"])?;
    ensure!(
        shown.contains("AUTH is full at"),
        "`signet auth list` hides it: {shown}"
    );
    let mut clients = stage.clients("n2")?;
    let status = stage
        .block_on(clients.agent.status(AgentStatusRequest {}))?
        .into_inner();
    ensure!(
        status.last_error.contains("AUTH is full at"),
        "the agent's status hides it: {:?}",
        status.last_error
    );
    for number in 0..fillers {
        auth.remove(&filler(number))?;
    }
    still_works(stage)
}

fn a_flood_of_refusals_does_not_fill_the_logs(stage: &mut Stage) -> Result<()> {
    const FLOOD: usize = 150;
    let doors = [
        ("n2", Role::Agent, session_port(stage)?, "refused a node session"),
        ("ca", Role::Ca, "172.30.0.2:4240".parse()?, "refused a connection"),
    ];
    for (place, role, port, refusal) in doors {
        let log = stage.lab().log(place, role);
        let told = || -> Result<usize> {
            let text = std::fs::read_to_string(&log)?;
            Ok(text.lines().filter(|line| line.contains(refusal)).count())
        };
        let before = told()?;
        stage.lab().within("n1", || -> Result<()> {
            for _ in 0..FLOOD {
                let mut stream = TcpStream::connect_timeout(&port, Duration::from_secs(5))?;
                let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
                // Until it is closed: one at a time, so that none is turned away for being one too many.
                let _ = stream.read_to_end(&mut Vec::new());
            }
            Ok(())
        })??;
        let lines = told()? - before;
        ensure!(
            lines < FLOOD / 2,
            "{FLOOD} refusals made {lines} lines in the log of {place}"
        );
        // What was left out is counted in the next line that is told.
        stage.eventually("the log says how much it left out", |stage| {
            stage.lab().within("n1", || -> Result<()> {
                let mut stream = TcpStream::connect_timeout(&port, Duration::from_secs(5))?;
                let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
                let _ = stream.read_to_end(&mut Vec::new());
                Ok(())
            })??;
            let text = std::fs::read_to_string(&log)?;
            let counts = text.lines().filter(|line| line.contains(refusal));
            let mut counts = counts.filter_map(|line| line.split_once("untold=")?.1.split(' ').next());
            Ok(counts.any(|count| count != "0").then_some(()))
        })?;
    }
    still_works(stage)
}

fn each_daemon_has_the_privileges_that_it_needs_and_no_other(stage: &mut Stage) -> Result<()> {
    // Bits of include/uapi/linux/capability.h.
    const DAC_READ_SEARCH: u64 = 1 << 2;
    const NET_ADMIN: u64 = 1 << 12;
    const SYS_PTRACE: u64 = 1 << 19;
    const PERFMON: u64 = 1 << 38;
    const BPF: u64 = 1 << 39;
    let daemons = [
        ("ca", Role::Ca, 0),
        ("n1", Role::Agent, SYS_PTRACE | DAC_READ_SEARCH),
        ("n1", Role::Meshd, BPF | PERFMON | NET_ADMIN),
        ("n1", Role::Keyd, NET_ADMIN),
    ];
    for (place, role, needed) in daemons {
        let pid = stage.lab().pid(place, role)?.context("not running")?;
        let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        let mut threads = 0;
        for thread in std::fs::read_dir(process.join("task"))? {
            let status = std::fs::read_to_string(thread?.path().join("status"))?;
            let field = |name: &str| -> Result<u64> {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                let value = line.with_context(|| format!("no {name}"))?.trim();
                Ok(u64::from_str_radix(value, 16)?)
            };
            for (set, wanted) in [
                ("CapEff:", needed),
                ("CapPrm:", needed),
                ("CapBnd:", needed),
                ("CapInh:", 0),
                ("CapAmb:", 0),
                ("NoNewPrivs:", 1),
            ] {
                let is = field(set)?;
                ensure!(is == wanted, "{place} {role}: {set} is {is:x}, not {wanted:x}");
            }
            threads += 1;
        }
        ensure!(threads > 0, "{place} {role} has no thread");
        let limits = std::fs::read_to_string(process.join("limits"))?;
        let core = limits.lines().find(|line| line.starts_with("Max core file size"));
        let core: Vec<_> = core
            .context("no limit of core files")?
            .split_whitespace()
            .collect();
        ensure!(
            core[4..6] == ["0", "0"],
            "{place} {role} may leave a core: {core:?}"
        );
    }
    Ok(())
}

fn expired_svids_stop_traffic(stage: &mut Stage) -> Result<()> {
    still_works(stage)?;
    let transfer = Running::start(
        stage,
        "client",
        "web",
        8080,
        Family::V4,
        "going on",
        stage.patience() * 2,
    )?;
    stage.lab().hold("ca", Role::Ca)?;
    stage.eventually("the proofs end with their SVIDs", |stage| {
        Ok(stage.proof("n2", "web", "client")?.is_none().then_some(()))
    })?;
    transfer.broken(stage)?;
    Ask::tcp("client", "web", 8080).refused(stage, stage.silence(), "n2", Reason::AuthenticationRequired)?;

    stage.lab().release("ca", Role::Ca)?;
    // The nodes' own SVIDs have expired, too. The tokens that they came with are used up.
    for node in ["n1", "n2"] {
        stage.eventually("the CA refuses the node", |stage| {
            let mut clients = stage.clients(node)?;
            let status = stage.block_on(clients.agent.status(AgentStatusRequest {}))?;
            let error = status.into_inner().last_error;
            Ok(error.contains("the join token was refused").then_some(()))
        })?;
    }
    for node in stage.lab().plan().nodes.clone() {
        let token = join_token(stage, &node.name, &node.pod_cidrs)?;
        std::fs::write(stage.lab().paths().node_run(&node.name).join("join-token"), token)?;
        // It would find the token by itself; this only shortens the wait for its next try.
        stage.lab().kill(&node.name, Role::Agent)?;
    }
    stage.eventually("both nodes are back", |stage| {
        for node in ["n1", "n2"] {
            let mut clients = stage.clients(node)?;
            let status = stage.block_on(clients.agent.status(AgentStatusRequest {}))?;
            ensure!(status.into_inner().ca_connected, "{node} has not come back");
        }
        Ok(Some(()))
    })?;
    still_works(stage)
}
