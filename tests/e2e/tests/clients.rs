//! SPIFFE clients that others wrote, unmodified, in workloads on two nodes: the real agent gives them their SVIDs and pushes
//! the renewed ones, the kernel lets through what the agents have proven, and inside that the clients speak TLS by themselves.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use signet_abi::Reason;
use signet_e2e::{Ask, Case, Stage, run};
use signet_interop::{Event, Language, Running, SvidEvent, Toolbox};
use signet_proto::agent::v1::ListSvidsRequest;

/// Where clients serve; the policy asks for a proof there.
const PORT: u16 = 8443;

/// A workload, and the client that runs in it.
#[derive(Clone, Copy)]
struct Workload {
    name: &'static str,
    node: &'static str,
    language: Language,
}

const GOPHER: Workload = Workload {
    name: "gopher",
    node: "n1",
    language: Language::Go,
};
const SNAKE: Workload = Workload {
    name: "snake",
    node: "n2",
    language: Language::Python,
};
const CRAB: Workload = Workload {
    name: "crab",
    node: "n2",
    language: Language::Rust,
};

const CASES: &[Case] = &[
    Case {
        name: "spiffe_row_47_every_client_fetches_the_svid_of_its_workload_and_is_pushed_the_renewed_one",
        run: |stage| all_are_pushed_the_renewed_svid(stage, CASES[0].name),
    },
    Case {
        name: "spiffe_row_40_a_workload_without_a_registration_gets_permission_denied",
        run: |stage| a_stranger_gets_permission_denied(stage, CASES[1].name),
    },
    Case {
        name: "the_kernel_lets_nobody_unproven_to_a_client_that_serves",
        run: |stage| nobody_unproven_gets_to_a_server(stage, CASES[2].name),
    },
    Case {
        name: "clients_on_two_nodes_do_mutual_tls_before_and_after_renewal",
        run: |stage| all_do_mutual_tls(stage, CASES[3].name),
    },
    Case {
        name: "spiffe_row_50_51_and_52_a_token_fetched_on_one_node_is_checked_by_clients_on_the_other",
        run: |stage| tokens_are_checked_on_the_other_node(stage, CASES[4].name),
    },
];

fn main() -> ExitCode {
    run("e2eclnt", include_str!("../labs/clients.yaml"), CASES)
}

impl Workload {
    fn id(self) -> String {
        format!("spiffe://cluster.local/ns/shop/sa/{}", self.name)
    }

    /// What the agent of its node holds for it now.
    fn current(self, stage: &Stage) -> Result<SvidEvent> {
        let mut clients = stage.clients(self.node)?;
        let listed = stage.block_on(clients.agent.list_svids(ListSvidsRequest {}))?;
        let mut svids = listed.into_inner().svids.into_iter();
        let svid = svids
            .find(|svid| svid.spiffe_id == self.id())
            .with_context(|| format!("{} has no SVID for {}", self.node, self.name))?;
        Ok(SvidEvent {
            id: svid.spiffe_id,
            serial: svid.serial.trim_start_matches('0').to_owned(),
        })
    }

    fn is(self, event: &SvidEvent) -> Result<()> {
        ensure!(event.id == self.id(), "expected {}, got {event:?}", self.id());
        Ok(())
    }
}

/// The command line of a client; `None`: it cannot be made here, which was said and counted.
fn client(stage: &Stage, language: Language, test: &str) -> Result<Option<Vec<String>>> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    let toolbox = Toolbox::new(&stage.lab().bin_dir().join("interop-rust"), &cache);
    Ok(toolbox.prepare_or_skip(language, test)?)
}

/// Starts a client inside a workload.
fn start(stage: &Stage, place: &str, program: &[String], arguments: &[&str]) -> Result<Running> {
    let argv: Vec<_> = program
        .iter()
        .map(String::as_str)
        .chain(arguments.iter().copied())
        .collect();
    // A client may have to wait for the next renewal.
    Running::start(&mut stage.lab().command(place, &argv)?, stage.patience() * 2)
}

fn all_are_pushed_the_renewed_svid(stage: &mut Stage, test: &str) -> Result<()> {
    let mut watching = Vec::new();
    for workload in [GOPHER, SNAKE, CRAB] {
        let Some(program) = client(stage, workload.language, test)? else {
            return Ok(());
        };
        let mut fetch = start(stage, workload.name, &program, &["fetch"])?;
        workload.is(&fetch.svid()?)?;
        ensure!(fetch.end()?.success(), "{}", fetch.complaints());
        watching.push((workload, start(stage, workload.name, &program, &["watch"])?));
    }
    for (workload, watch) in &mut watching {
        let mut seen = vec![watch.svid()?];
        let renewed = watch.svid()?;
        ensure!(
            !seen.contains(&renewed),
            "an SVID was pushed twice: {renewed:?} {seen:?}"
        );
        seen.push(renewed);
        for svid in &seen {
            workload.is(svid)?;
        }
        let last = stage.eventually("the client has what its agent has", |stage| {
            let current = workload.current(stage)?;
            while seen.last() != Some(&current) {
                seen.push(watch.svid()?);
            }
            Ok(seen.last().cloned())
        })?;
        workload.is(&last)?;
    }
    Ok(())
}

fn a_stranger_gets_permission_denied(stage: &mut Stage, test: &str) -> Result<()> {
    for language in Language::ALL {
        let Some(program) = client(stage, language, test)? else {
            return Ok(());
        };
        let mut fetch = start(stage, "ghost", &program, &["fetch"])?;
        ensure!(!fetch.end()?.success(), "{language:?} got something");
        ensure!(fetch.event().is_err(), "{language:?} printed something");
        let complaints = fetch.complaints().to_lowercase().replace(['_', ' '], "");
        // The Rust crate makes one error of code and text, and only of these two together; the others show both.
        let shows_code = complaints.contains("permissiondenied") || language == Language::Rust;
        ensure!(
            shows_code && complaints.contains("noidentityissued"),
            "{language:?} was not refused as such; {}",
            fetch.complaints()
        );
    }
    Ok(())
}

/// From the CA's key over both agents to somebody else's validator, and through `ValidateJWTSVID` of the other node's agent.
fn tokens_are_checked_on_the_other_node(stage: &mut Stage, test: &str) -> Result<()> {
    let Some(program) = client(stage, GOPHER.language, test)? else {
        return Ok(());
    };
    let mut fetch = start(stage, GOPHER.name, &program, &["token", "--audience", "reports"])?;
    let token = fetch.reply()?;
    for checker in [SNAKE, CRAB] {
        let Some(program) = client(stage, checker.language, test)? else {
            return Ok(());
        };
        for (audience, good) in [("reports", true), ("invoices", false)] {
            let check = ["check", "--audience", audience, "--token", &token];
            let mut check = start(stage, checker.name, &program, &check)?;
            for by in ["its own check", "the Workload API"] {
                let event = check.event()?;
                let as_wanted = match &event {
                    Event::Reply(id) => good && *id == GOPHER.id(),
                    Event::Refused(_) => !good,
                    Event::Svid(_) | Event::Listening(_) | Event::Peer(_) => false,
                };
                ensure!(
                    as_wanted,
                    "{} for {audience}, by {by}: {event:?}; {}",
                    checker.name,
                    check.complaints()
                );
            }
        }
    }
    Ok(())
}

fn nobody_unproven_gets_to_a_server(stage: &mut Stage, test: &str) -> Result<()> {
    let Some(program) = client(stage, CRAB.language, test)? else {
        return Ok(());
    };
    let _server = serve(stage, CRAB, GOPHER, &program)?;
    // Not even TCP's first answer: TLS would be there to refuse it, and is not asked.
    Ask::tcp("ghost", CRAB.name, PORT).refused(stage, stage.silence(), CRAB.node, Reason::NotRegistered)
}

/// Starts a server and waits until it listens.
fn serve(stage: &Stage, server: Workload, client: Workload, program: &[String]) -> Result<Running> {
    let (port, peer) = (PORT.to_string(), client.id());
    let arguments = ["serve", "--port", &port, "--peer-id", &peer];
    let mut running = start(stage, server.name, program, &arguments)?;
    let port = running.port()?;
    ensure!(port == PORT, "it serves on {port}");
    Ok(running)
}

/// Connects once; the SVIDs that the client and the server showed.
fn dial(
    stage: &Stage,
    (client, program): (Workload, &[String]),
    (server, serving): (Workload, &mut Running),
) -> Result<(SvidEvent, SvidEvent)> {
    let address = format!("{}:{PORT}", stage.address(server.name, signet_e2e::Family::V4)?);
    let peer = server.id();
    let arguments = ["dial", "--addr", &address, "--peer-id", &peer];
    let mut dialing = start(stage, client.name, program, &arguments)?;
    let shown = dialing.peer()?;
    server.is(&shown)?;
    let showed = serving.peer()?;
    client.is(&showed)?;
    let reply = dialing.event()?;
    ensure!(
        reply == Event::Reply(format!("hello {}", client.id())),
        "{reply:?}"
    );
    ensure!(dialing.end()?.success(), "{}", dialing.complaints());
    Ok((showed, shown))
}

/// Go to Python, Rust to Go, Go to Rust, all at the same time: each waits for renewals most of its time.
fn all_do_mutual_tls(stage: &mut Stage, test: &str) -> Result<()> {
    let stage = &*stage;
    std::thread::scope(|scope| {
        let pairs = [(GOPHER, SNAKE), (CRAB, GOPHER), (GOPHER, CRAB)];
        let running = pairs.map(|(client, server)| {
            let pair = move || mutual_tls_across_a_renewal(stage, client, server, test);
            (client, server, scope.spawn(pair))
        });
        for (client, server, done) in running {
            let Ok(result) = done.join() else {
                bail!("the thread of {} and {} panicked", client.name, server.name)
            };
            result.with_context(|| format!("{} dialled {}", client.name, server.name))?;
        }
        Ok(())
    })
}

fn mutual_tls_across_a_renewal(stage: &Stage, client: Workload, server: Workload, test: &str) -> Result<()> {
    let (Some(client_program), Some(server_program)) = (
        self::client(stage, client.language, test)?,
        self::client(stage, server.language, test)?,
    ) else {
        return Ok(());
    };
    let mut serving = serve(stage, server, client, &server_program)?;
    let before = dial(stage, (client, &client_program), (server, &mut serving))?;
    let proof = stage
        .proof(server.node, server.name, client.name)?
        .context("the connection was let through without a proof")?;

    for (workload, old) in [(client, &before.0), (server, &before.1)] {
        stage.eventually("the SVID is renewed", |stage| {
            Ok((workload.current(stage)? != *old).then_some(()))
        })?;
    }
    // The server runs on and takes up what it is pushed. When it has done so can be seen in its certificate alone.
    let after = stage.eventually("the server shows its renewed SVID", |stage| {
        let after = dial(stage, (client, &client_program), (server, &mut serving))?;
        Ok((after.1 != before.1).then_some(after))
    })?;
    ensure!(after.0 != before.0, "the client showed its old SVID: {after:?}");
    // The kernel's proof follows the SVIDs that stand behind it. Nobody renews one that has lapsed without traffic.
    stage.eventually("the proof is renewed", |stage| {
        dial(stage, (client, &client_program), (server, &mut serving))?;
        let now = stage.proof(server.node, server.name, client.name)?;
        Ok(now.filter(|now| now.not_after > proof.not_after))
    })?;
    Ok(())
}
