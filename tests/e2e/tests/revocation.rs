//! Revocation under live traffic: what rests on the revoked stops and says why, everything else goes on, and neither a
//! restart without the CA nor anything older brings it back.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use signet_abi::Reason;
use signet_e2e::{Ask, Case, Family, Running, Stage, run};
use signet_lab::Role;
use signet_proto::agent::v1::{ListSessionsRequest, ListSvidsRequest, StatusRequest, SvidEntry};
use signet_proto::ca::v1::{CreateJoinTokenRequest, ReopenRequest};
use signet_proto::workload::X509svidRequest;
use signet_proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;

/// First argument of this program when it runs as a workload that follows the Workload API.
const FOLLOW: &str = "--follow-workload-api";

const CASES: &[Case] = &[
    Case {
        name: "a_revoked_certificate_is_withdrawn_replaced_and_proven_anew_and_others_keep_their_proofs",
        run: a_revoked_certificate_is_replaced,
    },
    Case {
        name: "a_revoked_spiffe_id_stops_its_live_flow_and_no_other_and_everybody_says_why",
        run: a_revoked_id_stops_its_live_flow,
    },
    Case {
        name: "agents_that_restart_without_the_ca_still_refuse",
        run: restarted_agents_still_refuse,
    },
    Case {
        name: "a_reopened_spiffe_id_talks_again",
        run: a_reopened_id_talks_again,
    },
    Case {
        name: "a_banned_node_s_flows_and_sessions_stop_and_others_go_on",
        run: a_banned_node_stops,
    },
    Case {
        name: "an_evicted_node_comes_back_with_a_new_token",
        run: an_evicted_node_comes_back,
    },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(FOLLOW) {
        return follow(&arguments.next().unwrap_or_default());
    }
    run("revoke", include_str!("../labs/revoke.yaml"), CASES)
}

/// Prints a line for each message of `FetchX509SVID`, and one for the end of the stream.
fn follow(socket: &str) -> ExitCode {
    let following = async {
        let channel = signet_uds::connect(socket.as_ref())?;
        let mut request = tonic::Request::new(X509svidRequest {});
        request
            .metadata_mut()
            .insert("workload.spiffe.io", "true".parse()?);
        let mut client = SpiffeWorkloadApiClient::new(channel);
        let opened = client.fetch_x509svid(request).await;
        let mut stream = match opened {
            Ok(stream) => stream.into_inner(),
            Err(status) => return say(&format!("refused {:?}", status.code())),
        };
        loop {
            match stream.message().await {
                Ok(Some(message)) => say(&format!("svids {}", message.svids.len()))?,
                Ok(None) => return say("end"),
                Err(status) => return say(&format!("end {:?}", status.code())),
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(following)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(_)) | Err(_) => ExitCode::FAILURE,
    }
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// A process of a workload that follows the Workload API.
struct Follower {
    child: Child,
    lines: Receiver<String>,
    patience: Duration,
}

impl Follower {
    fn start(stage: &Stage, workload: &str, node: &str) -> Result<Self> {
        let own = std::env::current_exe()?;
        let socket = stage.lab().paths().workload_socket(node);
        let argv = [
            own.to_str().context("a path in UTF-8")?,
            FOLLOW,
            socket.to_str().context("a path in UTF-8")?,
        ];
        let mut child = stage
            .lab()
            .command(workload, &argv)?
            .stdout(Stdio::piped())
            .spawn()?;
        let (sender, lines) = channel();
        let out = child.stdout.take().context("has an output")?;
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            lines,
            patience: stage.patience(),
        })
    }

    fn expect(&self, wanted: &str) -> Result<()> {
        let line = self.lines.recv_timeout(self.patience);
        let line = line.with_context(|| format!("waited in vain for {wanted:?}"))?;
        ensure!(line == wanted, "expected {wanted:?}, got {line:?}");
        Ok(())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn id(name: &str) -> String {
    format!("spiffe://cluster.local/ns/shop/sa/{name}")
}

/// `signet ca …` for the lab, which must succeed.
fn signet(stage: &Stage, arguments: &[&str]) -> Result<String> {
    let lab = stage.lab().paths().lab().to_string();
    let output = Command::new(stage.lab().bin_dir().join("signet"))
        .args(["--lab", &lab, "ca"])
        .args(arguments)
        .output()?;
    if !output.status.success() {
        bail!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn svid(stage: &Stage, node: &str, name: &str) -> Result<SvidEntry> {
    let mut clients = stage.clients(node)?;
    let listed = stage.block_on(clients.agent.list_svids(ListSvidsRequest {}))?;
    let mut svids = listed.into_inner().svids.into_iter();
    svids
        .find(|svid| svid.spiffe_id == id(name))
        .with_context(|| format!("{node} knows nothing of {name}"))
}

/// Waits until a node's list of proofs has this reason for a pair, by service account.
fn reason_is(stage: &Stage, node: &str, local: &str, remote: &str, words: &[&str]) -> Result<()> {
    let (local, remote) = (id(local), id(remote));
    let mut last = String::new();
    let found = stage.eventually("the list of proofs says why", |stage| {
        let proofs = stage.proofs(node)?;
        let mine = proofs
            .into_iter()
            .filter(|proof| proof.local == local && proof.remote == remote);
        let reasons: Vec<_> = mine.map(|proof| proof.reason).collect();
        last = reasons.join("; ");
        Ok(reasons
            .iter()
            .any(|reason| words.iter().all(|word| reason.contains(word)))
            .then_some(()))
    });
    found.with_context(|| format!("{node}: expected {words:?}, got {last:?}"))
}

fn transfer(stage: &Stage, from: &str) -> Result<Running> {
    let long = stage.patience() * 6;
    Running::start(stage, from, "web", 8080, Family::V4, from, long)
}

fn proven(stage: &Stage, remote: &str) -> Result<signet_proto::agent::v1::ProofEntry> {
    stage
        .proof("n2", "web", remote)?
        .with_context(|| format!("n2 has no proof of {remote} for web"))
}

fn a_revoked_certificate_is_replaced(stage: &mut Stage) -> Result<()> {
    let (client, other) = (transfer(stage, "client")?, transfer(stage, "other")?);
    for name in ["client", "other"] {
        Ask::udp(name, "web", 8080).answered(stage, stage.patience())?;
    }
    let follower = Follower::start(stage, "client", "n1")?;
    follower.expect("svids 1")?;
    let bystander = Follower::start(stage, "other", "n1")?;
    bystander.expect("svids 1")?;
    let before = svid(stage, "n1", "client")?;
    let (proof, others) = (proven(stage, "client")?, proven(stage, "other")?);

    let said = signet(
        stage,
        &[
            "revoke",
            "--serial",
            &before.serial,
            "--reason",
            "key-compromise",
            "--yes",
        ],
    )?;
    ensure!(
        said.contains("1 valid certificate") && said.contains(&id("client")),
        "{said}"
    );
    follower.expect("end PermissionDenied")?;
    let after = stage.eventually("it has another certificate", |stage| {
        let now = svid(stage, "n1", "client")?;
        Ok((now.state == "ready" && now.serial != before.serial).then_some(now))
    })?;
    ensure!(after.spiffe_id == before.spiffe_id, "{after:?}");
    stage.eventually("the pair is proven anew", |stage| {
        let now = stage.proof("n2", "web", "client")?;
        Ok(now.filter(|now| now.epoch != proof.epoch))
    })?;
    client.intact()?;

    other.intact()?;
    let now = proven(stage, "other")?;
    ensure!(
        (now.epoch, now.not_after) == (others.epoch, others.not_after),
        "another's proof was touched: {others:?} {now:?}"
    );
    ensure!(
        bystander.lines.try_recv().is_err(),
        "another workload was told something"
    );
    let list = signet(stage, &["crl"])?;
    ensure!(list.starts_with("-----BEGIN X509 CRL-----"), "{list}");
    Ok(())
}

fn a_revoked_id_stops_its_live_flow(stage: &mut Stage) -> Result<()> {
    let (client, other) = (transfer(stage, "client")?, transfer(stage, "other")?);
    for name in ["client", "other"] {
        Ask::udp(name, "web", 8080).answered(stage, stage.patience())?;
    }
    let follower = Follower::start(stage, "client", "n1")?;
    follower.expect("svids 1")?;
    client.still_running()?;

    signet(
        stage,
        &[
            "revoke",
            "--spiffe-id",
            &id("client"),
            "--reason",
            "image tampered with",
            "--yes",
        ],
    )?;
    follower.expect("end PermissionDenied")?;
    stage.eventually("n2 has no proof of it", |stage| {
        Ok(stage.proof("n2", "web", "client")?.is_none().then_some(()))
    })?;
    Ask::tcp("client", "web", 8080).refused(stage, stage.silence(), "n2", Reason::AuthenticationRequired)?;
    client.broken(stage)?;
    other.intact()?;

    let words = ["revoked", "image tampered with"];
    reason_is(stage, "n2", "web", "client", &words)?;
    reason_is(stage, "n1", "client", "web", &words)?;
    let entry = svid(stage, "n1", "client")?;
    ensure!(
        entry.state == "revoked" && entry.serial.is_empty() && entry.last_error.contains(words[1]),
        "{entry:?}"
    );
    Follower::start(stage, "client", "n1")?.expect("refused PermissionDenied")?;
    let listed = signet(stage, &["revocations"])?;
    ensure!(listed.contains(words[1]) && listed.contains("closed"), "{listed}");
    Ok(())
}

fn restarted_agents_still_refuse(stage: &mut Stage) -> Result<()> {
    let other = transfer(stage, "other")?;
    stage.lab().hold("ca", Role::Ca)?;
    for node in ["n1", "n2"] {
        let before = stage.lab().pid(node, Role::Agent)?;
        stage.lab().kill(node, Role::Agent)?;
        stage.eventually("the agent runs again", |stage| {
            let now = stage.lab().pid(node, Role::Agent)?;
            Ok((now.is_some() && now != before).then_some(()))
        })?;
        stage.eventually("the agent answers", |stage| {
            let mut clients = stage.clients(node)?;
            Ok(Some(stage.block_on(clients.agent.status(StatusRequest {}))?))
        })?;
    }
    let refused = Ask::udp("client", "web", 8080);
    refused.refused(stage, stage.silence(), "n2", Reason::AuthenticationRequired)?;
    // What was proven before goes on all the same.
    other.still_running()?;
    stage.lab().release("ca", Role::Ca)?;
    stage.eventually("the agents have heard from the CA", |stage| {
        for node in ["n1", "n2"] {
            let mut clients = stage.clients(node)?;
            let status = stage.block_on(clients.agent.status(StatusRequest {}))?;
            ensure!(status.into_inner().ca_connected, "{node} has not");
        }
        Ok(Some(()))
    })?;
    refused.refused(stage, stage.silence(), "n2", Reason::AuthenticationRequired)?;
    Ask::udp("other", "web", 8080).answered(stage, stage.patience())?;
    other.intact()?;
    Ok(())
}

fn a_reopened_id_talks_again(stage: &mut Stage) -> Result<()> {
    let request = ReopenRequest {
        spiffe_id: id("client"),
    };
    stage.ca(async |mut ca| ca.reopen(request).await.map(drop))?;
    Ask::tcp("client", "web", 8080).answered(stage, stage.patience())?;
    Follower::start(stage, "client", "n1")?.expect("svids 1")
}

fn a_banned_node_stops(stage: &mut Stage) -> Result<()> {
    let (far, other) = (transfer(stage, "far")?, transfer(stage, "other")?);
    for name in ["far", "other"] {
        Ask::udp(name, "web", 8080).answered(stage, stage.patience())?;
    }
    let follower = Follower::start(stage, "far", "n3")?;
    follower.expect("svids 1")?;
    // The view will not have its name any more.
    let mut clients = stage.clients("n3")?;
    let status = stage.block_on(clients.agent.status(StatusRequest {}))?;
    let number = status.into_inner().node_id;

    let said = signet(stage, &["ban", "n3", "--reason", "stolen", "--yes", "-o", "json"])?;
    ensure!(said.contains("\"banned\": true"), "{said}");
    follower.expect("end PermissionDenied")?;
    stage.eventually("n2 has no proof of it", |stage| {
        Ok(stage.proof("n2", "web", "far")?.is_none().then_some(()))
    })?;
    // The view has nobody there any more: it is a stranger's address, which no rule allows.
    Ask::tcp("far", "web", 8080).refused(stage, stage.silence(), "n2", Reason::PolicyDenied)?;
    far.broken(stage)?;
    other.intact()?;

    reason_is(stage, "n2", "web", "far", &["revoked", "stolen"])?;
    stage.eventually("no node has a session with it", |stage| {
        for node in ["n1", "n2"] {
            let mut clients = stage.clients(node)?;
            let sessions = stage.block_on(clients.agent.list_sessions(ListSessionsRequest {}))?;
            let sessions = sessions.into_inner().sessions;
            let with_it = sessions
                .iter()
                .any(|session| session.node_id == number && session.state == "up");
            ensure!(!with_it, "{node}: {sessions:?}");
        }
        Ok(Some(()))
    })?;
    stage.eventually("its agent says why", |stage| {
        let mut clients = stage.clients("n3")?;
        let status = stage
            .block_on(clients.agent.status(StatusRequest {}))?
            .into_inner();
        Ok(
            (!status.ca_connected && status.node_svid_not_after == 0 && !status.last_error.is_empty())
                .then_some(()),
        )
    })?;
    let token = CreateJoinTokenRequest {
        node: "n3".to_owned(),
        ..CreateJoinTokenRequest::default()
    };
    let refused = stage.ca(async |mut ca| ca.create_join_token(token).await);
    ensure!(refused.is_err(), "a token was made for a banned node");
    Ok(())
}

fn an_evicted_node_comes_back(stage: &mut Stage) -> Result<()> {
    signet(stage, &["evict", "n3", "--reason", "found again", "--yes"])?;
    let plan = stage.lab().plan().nodes.iter().find(|node| node.name == "n3");
    let pod_cidrs = plan.context("the lab has no n3")?.pod_cidrs.to_vec();
    let request = CreateJoinTokenRequest {
        addresses: vec![],
        node: "n3".to_owned(),
        pod_cidrs,
        ttl: 0,
    };
    let token = stage
        .ca(async |mut ca| ca.create_join_token(request).await)?
        .into_inner()
        .token;
    std::fs::write(stage.lab().paths().node_run("n3").join("join-token"), token)?;
    stage.eventually("it has attested", |stage| {
        let mut clients = stage.clients("n3")?;
        let status = stage.block_on(clients.agent.status(StatusRequest {}))?;
        Ok(status.into_inner().ca_connected.then_some(()))
    })?;
    Ask::tcp("far", "web", 8080).answered(stage, stage.patience())?;
    Ok(())
}
