//! Envoy, unmodified, in workloads on two nodes: the real agents give it its certificates, renew them under traffic, and take
//! them back.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use signet_e2e::{Case, Family, Stage, run};
use signet_interop::{
    Language, Running, SvidEvent, Toolbox, ask, envoy_example, envoy_or_skip, tell_who_calls,
};
use signet_lab::Role;
use signet_proto::agent::v1::ListSvidsRequest;
use signet_proto::ca::v1::{ReopenRequest, RevokeRequest, revoke_request};

const CASES: &[Case] = &[
    Case {
        name: "certificates_are_renewed_under_traffic_and_no_request_fails",
        run: |stage| renewed(stage, CASES[0].name, |_| Ok(())),
    },
    Case {
        name: "a_killed_agent_fails_no_request_and_goes_on_renewing_after_its_restart",
        run: |stage| {
            renewed(stage, CASES[1].name, |stage| {
                stage.lab().kill("n1", Role::Agent)?;
                Ok(stage.lab().kill("n2", Role::Agent)?)
            })
        },
    },
    Case {
        name: "a_killed_ca_fails_no_request",
        run: |stage| {
            renewed(stage, CASES[2].name, |stage| {
                Ok(stage.lab().kill("ca", Role::Ca)?)
            })
        },
    },
    Case {
        name: "a_revoked_spiffe_id_makes_no_connection_until_it_is_reopened",
        run: |stage| revoked(stage, CASES[3].name),
    },
    Case {
        name: "a_revoked_certificate_that_nobody_gives_back_is_refused_before_it_expires",
        run: |stage| stolen(stage, CASES[4].name),
    },
];

const CLIENT: &str = "spiffe://cluster.local/ns/shop/sa/client";
const SERVER: &str = "spiffe://cluster.local/ns/shop/sa/server";

fn main() -> ExitCode {
    run("e2esds", include_str!("../labs/envoy.yaml"), CASES)
}

/// The Envoys at work.
struct Envoys {
    server: Running,
    client: Running,
    address: SocketAddr,
}

/// `None`: Envoy is missing, which was said and counted.
fn start(stage: &Stage, test: &str) -> Result<Option<Envoys>> {
    let Some(envoy) = envoy_or_skip(test)? else {
        return Ok(None);
    };
    let address = SocketAddr::new(stage.address("server", Family::V4)?, 8443);
    match stage
        .lab()
        .within("server", || TcpListener::bind("127.0.0.1:8080"))?
    {
        Ok(listener) => tell_who_calls(listener),
        // Since an earlier case.
        Err(error) if error.kind() == ErrorKind::AddrInUse => {}
        Err(error) => return Err(error).context("the service cannot listen"),
    }
    let at = format!("address: {}, port_value: 8443", address.ip());
    let place = ("address: 127.0.0.1, port_value: 8443", at.as_str());
    // Each request has a connection of its own, so that each shows certificates.
    let one_each = ("max_connection_duration: 60s", "max_requests_per_connection: 1");
    let start = |name: &str, node: &str, changes: &[(&str, &str)]| {
        let socket = stage.lab().paths().workload_socket(node).display().to_string();
        let changes = [changes, &[("/run/signet/workload.sock", socket.as_str())]].concat();
        let path = stage.lab().paths().node_run(node).join("envoy.yaml");
        fs::write(&path, envoy_example(&format!("{name}.yaml"), &changes)?)?;
        let path = path.display().to_string();
        let mut argv: Vec<&str> = envoy.iter().map(String::as_str).collect();
        argv.extend(["--config-path", &path]);
        Running::start(&mut stage.lab().command(name, &argv)?, stage.patience())
    };
    let envoys = Envoys {
        server: start("server", "n2", &[place])?,
        client: start("client", "n1", &[place, one_each])?,
        address,
    };
    envoys.until(stage, "the first request is answered", Result::is_ok)?;
    Ok(Some(envoys))
}

impl Envoys {
    /// One request by way of both Envoys.
    fn ask(stage: &Stage) -> Result<Result<String, String>> {
        let (address, patience) = (SocketAddr::from(([127, 0, 0, 1], 8081)), stage.patience());
        Ok(stage.lab().within("client", || ask(address, patience))?)
    }

    fn until(
        &self,
        stage: &Stage,
        what: &str,
        is_so: impl Fn(&Result<String, String>) -> bool,
    ) -> Result<String> {
        let mut last = Ok(String::new());
        let found = stage.eventually(what, |stage| {
            last = Self::ask(stage)?;
            Ok(is_so(&last).then_some(()))
        });
        found.with_context(|| {
            format!(
                "the last answer was {last:?}; server: {}; client: {}",
                self.server.complaints(),
                self.client.complaints()
            )
        })?;
        Ok(last.unwrap_or_default())
    }

    /// What another program sees the server's Envoy present.
    fn presented(&self, stage: &Stage) -> Result<SvidEvent> {
        let toolbox = Toolbox::new(&stage.lab().bin_dir().join("interop-rust"), "".as_ref());
        let program = toolbox.prepare(Language::Rust)?;
        let address = self.address.to_string();
        let mut argv: Vec<&str> = program.iter().map(String::as_str).collect();
        argv.extend(["dial", "--addr", &address, "--peer-id", SERVER]);
        Running::start(&mut stage.lab().command("client", &argv)?, stage.patience())?.peer()
    }
}

/// The serial number of what an agent holds for a SPIFFE ID.
fn held(stage: &Stage, node: &str, id: &str) -> Result<Option<String>> {
    let mut clients = stage.clients(node)?;
    let listed = stage.block_on(clients.agent.list_svids(ListSvidsRequest {}))?;
    let mut svids = listed.into_inner().svids.into_iter();
    let svid = svids.find(|svid| svid.spiffe_id == id && !svid.serial.is_empty());
    Ok(svid.map(|svid| svid.serial.trim_start_matches('0').to_owned()))
}

/// Asks all the time, across several renewals and whatever is done meanwhile.
fn renewed(stage: &mut Stage, test: &str, meanwhile: impl Fn(&Stage) -> Result<()>) -> Result<()> {
    let stage = &*stage;
    let Some(envoys) = start(stage, test)? else {
        return Ok(());
    };
    let stop = AtomicBool::new(false);
    let (watched, failed) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut good, mut bad) = (0_usize, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                match Envoys::ask(stage)? {
                    Ok(_) => good += 1,
                    Err(error) => bad.push(error),
                }
            }
            anyhow::Ok((good, bad))
        });
        let watched = meanwhile(stage).and_then(|()| two_renewals_arrive(stage, &envoys));
        stop.store(true, Ordering::Relaxed);
        (watched, asking.join())
    });
    watched?;
    let Ok(asked) = failed else {
        bail!("the thread that asks panicked")
    };
    let (good, bad) = asked?;
    ensure!(
        bad.is_empty(),
        "{} of {} requests failed: {bad:?}",
        bad.len(),
        bad.len() + good
    );
    ensure!(good > 20, "{good} requests are no traffic");
    Ok(())
}

/// Until both Envoys have shown two more certificates, each the one that its agent holds.
fn two_renewals_arrive(stage: &Stage, envoys: &Envoys) -> Result<()> {
    for _ in 0..2 {
        let (server, client) = (envoys.presented(stage)?, Envoys::ask(stage)?);
        stage.eventually(
            "the server presents the certificate that its agent has renewed",
            |stage| {
                let now = envoys.presented(stage)?;
                let is_held = held(stage, "n2", SERVER)? == Some(now.serial.clone());
                Ok((now != server && is_held).then_some(()))
            },
        )?;
        // In the answer stands the digest of the client's certificate.
        envoys.until(stage, "the client shows a renewed certificate", |answer| {
            answer.is_ok() && *answer != client
        })?;
    }
    Ok(())
}

fn revoke(stage: &Stage, id: &str) -> Result<()> {
    let revocation = RevokeRequest {
        subject: Some(revoke_request::Subject::SpiffeId(id.to_owned())),
        reason: "the key leaked".to_owned(),
        ..RevokeRequest::default()
    };
    stage.ca(async |mut ca| ca.revoke(revocation).await.map(|_| ()))
}

fn reopen(stage: &Stage, id: &str) -> Result<()> {
    let spiffe_id = id.to_owned();
    stage.ca(async |mut ca| ca.reopen(ReopenRequest { spiffe_id }).await.map(|_| ()))
}

fn revoked(stage: &mut Stage, test: &str) -> Result<()> {
    let stage = &*stage;
    let Some(envoys) = start(stage, test)? else {
        return Ok(());
    };
    for id in [CLIENT, SERVER] {
        revoke(stage, id)?;
        envoys.until(stage, "it is refused", Result::is_err)?;
        for _ in 0..20 {
            let answer = Envoys::ask(stage)?;
            ensure!(answer.is_err(), "{id} got through: {answer:?}");
        }
        reopen(stage, id)?;
        envoys.until(stage, "it talks again", Result::is_ok)?;
    }
    Ok(())
}

/// The client's Envoy goes on with what it has, as whoever copied its key would: its agent is down, and tells it nothing.
fn stolen(stage: &mut Stage, test: &str) -> Result<()> {
    let stage = &*stage;
    let Some(envoys) = start(stage, test)? else {
        return Ok(());
    };
    // On a machine that is busy the certificate may expire before anything is seen.
    for _ in 0..3 {
        let before = envoys.until(stage, "it talks", Result::is_ok)?;
        envoys.until(stage, "the client shows a new certificate", |answer| {
            answer.is_ok() && *answer != Ok(before.clone())
        })?;
        let mut clients = stage.clients("n1")?;
        let listed = stage.block_on(clients.agent.list_svids(ListSvidsRequest {}))?;
        let ends = listed.into_inner().svids.iter().map(|svid| svid.not_after).min();
        stage.lab().hold("n1", Role::Agent)?;
        revoke(stage, CLIENT)?;
        envoys.until(stage, "it is refused", Result::is_err)?;
        let refused = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        stage.lab().release("n1", Role::Agent)?;
        reopen(stage, CLIENT)?;
        if ends.is_some_and(|ends| i64::try_from(refused).is_ok_and(|refused| refused < ends)) {
            return envoys.until(stage, "it talks again", Result::is_ok).map(|_| ());
        }
    }
    bail!("it was refused only when its certificate had expired")
}
