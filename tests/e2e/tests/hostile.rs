//! Bad input from outside: each is refused with its reason, nothing is half-applied, and nothing is let through.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use signet_e2e::{Ask, Case, Stage, run};
use signet_proto::agent::v1::ProveRequest;
use signet_proto::ca::v1::{CreateJoinTokenRequest, RegisterRequest};
use signet_proto::mesh::v1::ListPoliciesRequest;

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
        name: "a_join_token_works_once",
        run: a_join_token_works_once,
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
];

fn main() -> ExitCode {
    run("e2ehost", include_str!("../labs/small.yaml"), CASES)
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

fn a_join_token_works_once(stage: &mut Stage) -> Result<()> {
    let token = stage.ca(async |mut ca| {
        let request = CreateJoinTokenRequest {
            node: "n9".into(),
            pod_cidrs: vec!["10.244.9.0/24".into()],
            ttl: 600,
        };
        Ok(ca.create_join_token(request).await?.into_inner().token)
    })?;
    let dir = stage.lab().paths().run_dir().join("hostile");
    std::fs::create_dir_all(&dir)?;
    let bundle = stage.ca(async |mut ca| {
        Ok(ca
            .status(signet_proto::ca::v1::StatusRequest {})
            .await?
            .into_inner()
            .bundle_pem)
    })?;
    std::fs::write(dir.join("bundle.pem"), bundle)?;
    let attest = |name: &str, token: &str| -> Result<String> {
        let home = dir.join(name);
        std::fs::create_dir_all(home.join("bpf"))?;
        std::fs::write(home.join("token"), token)?;
        let text = |path: std::path::PathBuf| path.display().to_string();
        let agent = text(stage.lab().bin_dir().join("signet-agent"));
        let (home_text, run, bpf) = (
            text(home.join("data")),
            text(home.join("run")),
            text(home.join("bpf")),
        );
        let (bundle, token) = (text(dir.join("bundle.pem")), text(home.join("token")));
        let mut command = stage.lab().command(
            "n1",
            &[
                "timeout",
                "8",
                &agent,
                "run",
                "--node",
                "n9",
                "--ca",
                "172.30.0.2:4240",
                "--trust-bundle",
                &bundle,
                "--join-token-file",
                &token,
                "--data-dir",
                &home_text,
                "--run-dir",
                &run,
                "--bpffs",
                &bpf,
                "--listen",
                "127.0.0.1:4299",
            ],
        )?;
        let output = command.output()?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let first = attest("first", &token)?;
    ensure!(
        !first.contains("token") || !first.contains("refused"),
        "the first use was refused: {first}"
    );
    let second = attest("second", &token)?;
    ensure!(
        second.to_lowercase().contains("token"),
        "the second use was not refused as such: {second}"
    );
    let wrong = attest("wrong", "not-a-token-at-all")?;
    ensure!(
        wrong.to_lowercase().contains("token"),
        "a wrong token was not refused as such: {wrong}"
    );
    Ok(())
}

fn a_bad_policy_file_changes_nothing_and_is_shown(stage: &mut Stage) -> Result<()> {
    let bad = stage.lab().paths().config().join("bad.yaml");
    std::fs::write(
        &bad,
        "apiVersion: signet.io/v1alpha1\nkind: Policy\nmetadata: {name: all, namespace: shop}\nspec:\n  endpointSelector: {}\n  ingres:\n  - from: [{entity: all}]\n",
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
            .any(|error| error.contains("bad.yaml:6") && error.contains("ingres")),
        "the error does not name file, line and field: {errors:?}",
    );
    ensure!(
        policies(stage)?.policies.len() == 1,
        "the good policies did not stay"
    );
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

fn no_operator_port_is_open(stage: &mut Stage) -> Result<()> {
    // From a workload, its node offers the session port alone, and the CA its node service alone.
    let listening = stage.lab().exec("n2", &["ss", "-Hltn"])?;
    let foreign: Vec<_> = listening.lines().filter(|line| !line.contains(":4250")).collect();
    ensure!(
        foreign.is_empty(),
        "n2 listens on more than the session port: {foreign:?}"
    );
    let listening = stage.lab().exec("ca", &["ss", "-Hltn"])?;
    let foreign: Vec<_> = listening.lines().filter(|line| !line.contains(":4240")).collect();
    ensure!(
        foreign.is_empty(),
        "the CA listens on more than its port: {foreign:?}"
    );
    Ok(())
}
