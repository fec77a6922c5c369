//! Does to a lab what a fault says, and undoes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use signet_abi::{SecurityIdentity, Verdict};
use signet_e2e::{Ask, Family, Stage};
use signet_lab::Role;
use signet_maps::{IpcacheMap, IpcachePrefix, PolicyMap};
use signet_proto::agent::v1::ListSvidsRequest;
use signet_proto::ca::v1::authority_service_client::AuthorityServiceClient;
use signet_proto::ca::v1::revoke_request::Subject;
use signet_proto::ca::v1::{
    ActivateAuthorityRequest, ListAuthoritiesRequest, PrepareAuthorityRequest, RevokeRequest,
};
use signet_proto::view::v1::EncryptionMode;

use crate::fault::Fault;

/// How long the system may take to do what it was told, while other things go wrong around it.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(250);

/// A rule that refuses what the lab's policy allows.
const FORBIDDEN: &str = r"apiVersion: signet.io/v1alpha1
kind: Policy
metadata: {name: forbidden, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{workload: {serviceAccount: client}}]
    ports: [{protocol: TCP, port: 8081}]
    action: Deny
";

/// Does it; what lasts for a time is over when this returns.
pub(crate) fn apply(stage: &Stage, fault: Fault) -> Result<()> {
    match fault {
        Fault::Kill(place, role) => kill(stage, place, role),
        Fault::Hold(place, role, time) => hold(stage, place, role, time),
        Fault::Cut(one, other, time) => cut(stage, one, other, time),
        Fault::Isolate(place, time) => isolate(stage, place, time),
        Fault::Encrypt(on) => encrypt(stage, on),
        Fault::Rotate(kind) => rotate(stage, kind),
        Fault::Revoke(workload) => revoke(stage, workload),
        Fault::Forbid => forbid(stage),
        Fault::Swap => swap(stage),
    }
}

/// Tries until it is done. Whatever it needs may be away for a moment.
pub(crate) fn persist<T>(what: &str, mut step: impl FnMut() -> Result<T>) -> Result<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        match step() {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() > until => return Err(error.context(what.to_owned())),
            Err(_) => std::thread::park_timeout(AGAIN),
        }
    }
}

fn kill(stage: &Stage, place: &str, role: Role) -> Result<()> {
    // It may just have been started again, and have no process yet.
    persist("kill", || Ok(stage.lab().kill(place, role)?))
}

fn hold(stage: &Stage, place: &str, role: Role, time: Duration) -> Result<()> {
    stage.lab().hold(place, role)?;
    rest(time);
    stage.lab().release(place, role)?;
    Ok(())
}

fn cut(stage: &Stage, one: &str, other: &str, time: Duration) -> Result<()> {
    // Isolated ports of a bridge reach all but one another.
    let both = [port(stage, one)?, port(stage, other)?];
    for port in &both {
        bridge(stage, port, &["isolated", "on"])?;
    }
    rest(time);
    for port in &both {
        bridge(stage, port, &["isolated", "off"])?;
    }
    Ok(())
}

fn isolate(stage: &Stage, place: &str, time: Duration) -> Result<()> {
    let port = port(stage, place)?;
    // BR_STATE_DISABLED and BR_STATE_FORWARDING of linux/if_bridge.h.
    bridge(stage, &port, &["state", "0"])?;
    rest(time);
    bridge(stage, &port, &["state", "3"])
}

fn bridge(stage: &Stage, port: &str, what: &[&str]) -> Result<()> {
    let argv = [&["bridge", "link", "set", "dev", port], what].concat();
    stage.lab().exec("net", &argv)?;
    Ok(())
}

fn port(stage: &Stage, place: &str) -> Result<String> {
    if place == "ca" {
        return Ok("p-ca".to_owned());
    }
    let node = stage.lab().plan().node(place);
    Ok(node
        .with_context(|| format!("no node {place}"))?
        .bridge_port
        .clone())
}

/// Waits.
pub(crate) fn rest(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

fn encrypt(stage: &Stage, on: bool) -> Result<()> {
    let mode = if on {
        EncryptionMode::Wireguard
    } else {
        EncryptionMode::Off
    };
    persist("set encryption", || stage.set_encryption(mode))
}

/// A new authority, and from then on it alone signs.
fn rotate(stage: &Stage, kind: &str) -> Result<()> {
    let socket = stage.lab().paths().ca_socket();
    let authorities = || -> Result<_> {
        let channel = stage.block_on(async { signet_uds::connect(&socket) })?;
        Ok(AuthorityServiceClient::new(channel))
    };
    persist("prepare an authority", || {
        let listed = stage.block_on(authorities()?.list_authorities(ListAuthoritiesRequest {}))?;
        let there = listed.into_inner().authorities;
        if there
            .iter()
            .any(|one| one.kind == kind && one.state == "prepared")
        {
            return Ok(());
        }
        let request = PrepareAuthorityRequest {
            kind: kind.to_owned(),
        };
        stage.block_on(authorities()?.prepare_authority(request))?;
        Ok(())
    })?;
    // Refused until every node has said that it has it.
    persist("activate an authority", || {
        let request = ActivateAuthorityRequest {
            kind: kind.to_owned(),
            acknowledged: true,
            ..ActivateAuthorityRequest::default()
        };
        stage.block_on(authorities()?.activate_authority(request))?;
        Ok(())
    })
}

fn revoke(stage: &Stage, workload: &str) -> Result<()> {
    let plan = stage.lab().plan().workload(workload);
    let node = plan
        .with_context(|| format!("no workload {workload}"))?
        .node
        .clone();
    let account = format!("/sa/{workload}");
    persist("revoke a certificate", || {
        let mut clients = stage.clients(&node)?;
        let listed = stage.block_on(clients.agent.list_svids(ListSvidsRequest {}))?;
        let svids = listed.into_inner().svids;
        let ready = |svid: &&_| {
            let svid: &signet_proto::agent::v1::SvidEntry = svid;
            svid.spiffe_id.ends_with(&account) && !svid.serial.is_empty()
        };
        let serial = svids
            .iter()
            .find(ready)
            .context("it has none at the moment")?
            .serial
            .clone();
        let request = RevokeRequest {
            subject: Some(Subject::Serial(serial)),
            reason: "superseded".to_owned(),
            ..RevokeRequest::default()
        };
        stage.ca(async |mut ca| ca.revoke(request).await.map(|_| ()))
    })
}

fn forbid(stage: &Stage) -> Result<()> {
    let ask = Ask::tcp("client", "web", 8081);
    let file = stage.lab().paths().config().join("policy-99-forbidden.yaml");
    let denies = || -> Result<bool> {
        let rules = PolicyMap::open(&stage.lab().paths().node_bpffs("n2"))?.entries()?;
        Ok(rules.iter().any(|(_, rule)| rule.verdict == Verdict::Deny as u8))
    };
    put(&file, FORBIDDEN)?;
    becomes("the rule is in the kernel", &true, denies)?;
    // From here on it may not be answered once.
    is_silent(stage, ask)?;
    fs::remove_file(&file)?;
    becomes("the rule is out of the kernel", &false, denies)?;
    is_answered(stage, ask)
}

fn swap(stage: &Stage) -> Result<()> {
    let ask = Ask::tcp("chameleon", "web", 8080);
    let file = stage.lab().paths().config().join("workload-shop-chameleon.yaml");
    let own = fs::read_to_string(&file)?;
    let other = own.replace("serviceAccount: chameleon", "serviceAccount: outsider");
    if own == other {
        bail!("{} does not name the account: {own}", file.display());
    }
    // As the kernel of the node that judges knows it.
    let identity = |workload: &str| -> Result<SecurityIdentity> {
        let address = stage.address(workload, Family::V4)?;
        let known = IpcacheMap::open(&stage.lab().paths().node_bpffs("n2"))?;
        let value = known.get(&IpcachePrefix::host(address))?;
        Ok(value.context("the kernel does not know the address")?.identity)
    };
    let (chameleon, outsider) = (identity("chameleon")?, identity("outsider")?);
    is_answered(stage, ask)?;
    put(&file, &other)?;
    becomes("the address is the other's", &outsider, || identity("chameleon"))?;
    is_silent(stage, ask)?;
    put(&file, &own)?;
    becomes("the address is its own again", &chameleon, || {
        identity("chameleon")
    })?;
    is_answered(stage, ask)
}

fn becomes<T: PartialEq + std::fmt::Debug>(
    what: &str,
    wanted: &T,
    mut look: impl FnMut() -> Result<T>,
) -> Result<()> {
    persist(what, || {
        let found = &look()?;
        ensure!(found == wanted, "found {found:?}, wanted {wanted:?}");
        Ok(())
    })
}

fn is_answered(stage: &Stage, ask: Ask) -> Result<()> {
    persist("a permitted pair is answered", || {
        ask.answered(stage, Duration::from_secs(3)).map(|_| ())
    })
}

fn is_silent(stage: &Stage, ask: Ask) -> Result<()> {
    let answer = ask.run(stage, stage.silence())?;
    ensure!(
        !answer.report.answered,
        "{ask:?} was answered: {:?}",
        answer.report
    );
    Ok(())
}

/// Written beside under a name that is not read, then renamed: no daemon sees half a file.
fn put(file: &Path, text: &str) -> Result<()> {
    let beside: PathBuf = file.with_extension("tmp");
    fs::write(&beside, text)?;
    Ok(fs::rename(&beside, file)?)
}
