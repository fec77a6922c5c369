//! A kernel's map that is too small for all pairs: who is not used gives way, and comes back with its next packet.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use signet_abi::{AuthKey, NodeId, Reason, SecurityIdentity};
use signet_e2e::{Ask, Case, Family, Running, Stage, run};
use signet_lab::traffic::{Probe, Transport, probe};
use signet_maps::{AuthMap, boottime_now};
use signet_proto::agent::v1::{ProofRoom, StatusRequest};

const CASES: &[Case] = &[
    Case {
        name: "a_full_map_is_told_before_and_who_finds_no_room_is_refused_with_the_reason",
        run: a_full_map_is_told_before_and_who_finds_no_room_is_refused_with_the_reason,
    },
    Case {
        name: "an_unused_pair_gives_way_a_used_one_goes_on_and_the_next_packet_of_the_other_is_not_lost",
        run: an_unused_pair_gives_way_a_used_one_goes_on_and_the_next_packet_of_the_other_is_not_lost,
    },
];

/// The room of n2's kernel.
const SLOTS: u64 = 4;
/// A proof that no packet has passed for longer may give way.
const GRACE: Duration = Duration::from_secs(31);

fn main() -> ExitCode {
    run("e2eroom", include_str!("../labs/room.yaml"), CASES)
}

fn room(stage: &Stage) -> Result<ProofRoom> {
    let mut clients = stage.clients("n2")?;
    let status = stage
        .block_on(clients.agent.status(StatusRequest {}))?
        .into_inner();
    status.room.context("the agent says nothing of room")
}

/// The map of n2, and the pair of its server with a client.
fn on_n2(stage: &Stage, client: &str) -> Result<(AuthMap, AuthKey)> {
    let number = |account| {
        let found = stage.identity("n2", account)?;
        found
            .with_context(|| format!("no identity of {account}"))
            .map(SecurityIdentity)
    };
    let pair = AuthKey {
        local: number("web")?,
        remote: number(client)?,
        node: NodeId(1),
    };
    Ok((AuthMap::open(&stage.lab().paths().node_bpffs("n2"))?, pair))
}

fn has(stage: &Stage, client: &str) -> Result<bool> {
    let (map, pair) = on_n2(stage, client)?;
    Ok(map.get(&pair)?.is_some())
}

/// Sends one datagram, once, and fails unless it is answered.
fn one_datagram(stage: &Stage, from: &str) -> Result<()> {
    let ask = Probe {
        target: SocketAddr::new(stage.address("web", Family::V4)?, 8080),
        transport: Transport::Udp,
        text: "once".to_owned(),
        timeout: stage.patience(),
        retry: Some(stage.patience()),
    };
    let report = stage.lab().within(from, || -> Result<_> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(probe(&ask)))
    })??;
    ensure!(report.answered && report.attempts == 1, "{from}: {report:?}");
    Ok(())
}

fn a_full_map_is_told_before_and_who_finds_no_room_is_refused_with_the_reason(
    stage: &mut Stage,
) -> Result<()> {
    for from in ["steady", "one", "two", "three"] {
        Ask::udp(from, "web", 8080).answered(stage, stage.patience())?;
    }
    stage.eventually("the pressure is told", |stage| {
        let room = room(stage)?;
        Ok((room.slots == SLOTS && room.pressure == 95).then_some(()))
    })?;
    let shown = stage.lab().exec("n2", &["signet", "status"])?;
    ensure!(
        shown.contains("AUTH is at least 95% full"),
        "`signet status` hides it: {shown}"
    );
    Ask::tcp("late", "web", 8080).refused(stage, stage.silence(), "n2", Reason::AuthenticationRequired)?;
    ensure!(!has(stage, "late")?);
    for from in ["steady", "one", "two", "three"] {
        ensure!(has(stage, from)?, "{from} was used a moment ago");
    }
    let shown = stage.lab().exec("n2", &["signet", "auth", "list"])?;
    ensure!(
        shown.contains("AUTH is full at 4 entries"),
        "`signet auth list` hides why: {shown}"
    );
    let room = room(stage)?;
    ensure!(room.gave_way == 0 && room.turned_away > 0, "{room:?}");
    Ok(())
}

fn an_unused_pair_gives_way_a_used_one_goes_on_and_the_next_packet_of_the_other_is_not_lost(
    stage: &mut Stage,
) -> Result<()> {
    let duration = Duration::from_mins(5);
    let transfer = Running::start(stage, "steady", "web", 8080, Family::V4, "going on", duration)?;
    for from in ["one", "two", "three"] {
        Ask::udp(from, "web", 8080).answered(stage, stage.patience())?;
    }
    let (map, three) = on_n2(stage, "three")?;
    let until = Instant::now() + 3 * stage.patience();
    loop {
        let proof = map.get(&three)?.context("three has lost its proof")?;
        if Duration::from_nanos(proof.unused_for(boottime_now())) >= GRACE {
            break;
        }
        ensure!(
            Instant::now() < until,
            "three is used by nobody, and yet: {proof:?}"
        );
        stage.block_on(async { tokio::time::sleep(Duration::from_millis(200)).await });
    }
    let before = stage.proof("n2", "web", "steady")?.context("steady is proven")?;
    // The kernel knows better than the order in which they came: that of the transfer is the oldest.
    one_datagram(stage, "late")?;
    ensure!(!has(stage, "one")?, "the oldest gives way");
    ensure!(has(stage, "steady")? && has(stage, "two")? && has(stage, "three")? && has(stage, "late")?);
    one_datagram(stage, "one")?;
    ensure!(!has(stage, "two")?, "the next one");
    ensure!(has(stage, "steady")? && has(stage, "one")? && has(stage, "three")? && has(stage, "late")?);
    let room = room(stage)?;
    ensure!(room.gave_way == 2, "one for one: {room:?}");
    let after = stage.proof("n2", "web", "steady")?.context("steady is proven")?;
    ensure!(
        after.epoch == before.epoch && after.handshakes == before.handshakes,
        "{before:?} {after:?}"
    );
    transfer.still_running()?;
    transfer.intact()?;
    Ok(())
}
