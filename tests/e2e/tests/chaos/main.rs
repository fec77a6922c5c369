//! Everything goes wrong at once, at random, under traffic that may and traffic that may not: not one packet of the second
//! arrives, not one connection of the first breaks, and nothing piles up.
//!
//! `SIGNET_CHAOS_SECONDS` says how long (60), `SIGNET_CHAOS_SEED` which run (a new one). `make chaos FOR=600` is the same.

mod apply;
mod fault;
mod heartbeat;
mod leaks;
mod traffic;

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signet_abi::Reason;
use signet_e2e::{Ask, Case, Family, Stage, run};
use signet_proto::ca::v1::RevokeRequest;
use signet_proto::ca::v1::revoke_request::Subject;
use signet_proto::view::v1::EncryptionMode;

use crate::apply::{apply, persist, rest};
use crate::fault::{Faults, Lane};
use crate::leaks::{Holdings, one_session_per_pair};
use crate::traffic::{Forbidden, Permitted};

const CASES: &[Case] = &[Case {
    name: "under_random_faults_nothing_forbidden_arrives_nothing_permitted_breaks_and_nothing_leaks",
    run: chaos,
}];

fn main() -> ExitCode {
    run("chaos", include_str!("../../labs/chaos.yaml"), CASES)
}

/// What each permitted pair asks, before and after.
const PERMITTED: [Ask; 5] = [
    Ask::tcp("client", "web", 8080),
    Ask::udp("neighbour", "web", 8080),
    Ask::udp("far", "web", 8080).over(Family::V6),
    Ask::tcp("chameleon", "web", 8080),
    Ask::tcp("client", "web", 8081),
];

fn chaos(stage: &mut Stage) -> Result<()> {
    let stage: &Stage = stage;
    let length = Duration::from_secs(setting("SIGNET_CHAOS_SECONDS")?.unwrap_or(60));
    let seed = setting("SIGNET_CHAOS_SEED")?.unwrap_or_else(|| RandomState::new().hash_one(0));
    tell(&format!(
        "chaos: {} s with SIGNET_CHAOS_SEED={seed}",
        length.as_secs()
    ));

    banish(stage)?;
    for ask in PERMITTED {
        ask.answered(stage, stage.patience())?;
    }
    let before = Holdings::take(stage)?;
    let forbidden = Forbidden::watch(stage)?;
    let permitted = Permitted::start(stage, length + Duration::from_mins(10))?;

    let stop = AtomicBool::new(false);
    let began = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let trying = scope.spawn(|| forbidden.try_on(stage, &stop));
        let lanes = Lane::ALL.map(|lane| scope.spawn(move || misbehave(stage, lane, seed, began, length)));
        let results = lanes.map(|lane| lane.join().unwrap_or_else(|_| anyhow::bail!("a lane panicked")));
        let settled = settle(stage);
        stop.store(true, Ordering::Release);
        let tried = trying
            .join()
            .unwrap_or_else(|_| anyhow::bail!("the attempts panicked"));
        results.into_iter().collect::<Result<Vec<()>>>()?;
        settled?;
        tried
    })
    .with_context(|| format!("SIGNET_CHAOS_SEED={seed}"))?;

    for line in permitted.intact()? {
        tell(&line);
    }
    let attempts = forbidden.none_passed()?;
    tell(&format!("{attempts} forbidden attempts, none arrived"));
    persist("what is held comes down to what it was", || {
        Holdings::take(stage)?.no_more_than(&before)
    })
}

/// Faults of one lane, one after the other, until the time is over.
fn misbehave(stage: &Stage, lane: Lane, seed: u64, began: Instant, length: Duration) -> Result<()> {
    let mut faults = Faults::new(lane, seed);
    loop {
        let (pause, fault) = faults.next();
        rest(pause);
        let at = began.elapsed();
        if at >= length {
            return Ok(());
        }
        tell(&format!("{:>6.1} s  {fault}", at.as_secs_f64()));
        apply(stage, fault).with_context(|| format!("{fault}"))?;
    }
}

/// Closes the identity of a workload that a rule names: it can prove nothing.
fn banish(stage: &Stage) -> Result<()> {
    let plan = stage.lab().plan();
    let workload = plan.workload("banished").context("no workload banished")?;
    let request = RevokeRequest {
        subject: Some(Subject::SpiffeId(workload.spiffe_id(&plan.trust_domain))),
        reason: "keyCompromise".to_owned(),
        ..RevokeRequest::default()
    };
    stage.ca(async |mut ca| ca.revoke(request).await.map(|_| ()))?;
    // From when the nodes have heard of it.
    persist("the closed identity is refused", || {
        Ask::tcp("banished", "web", 8080).refused(
            stage,
            stage.silence(),
            "n2",
            Reason::AuthenticationRequired,
        )
    })
}

/// Everything is mended: everybody has found everybody again, and whoever may is answered.
fn settle(stage: &Stage) -> Result<()> {
    persist("encryption is off", || stage.set_encryption(EncryptionMode::Off))?;
    persist("all daemons are connected", || stage.is_connected("ca"))?;
    for ask in PERMITTED {
        persist("a permitted pair is answered", || {
            ask.answered(stage, Duration::from_secs(5)).map(|_| ())
        })?;
    }
    persist("one session per pair of nodes", || one_session_per_pair(stage))
}

fn setting(name: &str) -> Result<Option<u64>> {
    match std::env::var(name) {
        Ok(text) => {
            let number = text.parse();
            Ok(Some(number.with_context(|| {
                format!("{name} is {text:?}, which is no number")
            })?))
        }
        Err(_) => Ok(None),
    }
}

fn tell(line: &str) {
    // A closed standard output has nobody to tell.
    let _ = writeln!(std::io::stdout(), "{line}");
}
