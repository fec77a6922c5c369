//! A registration is deleted: its traffic stops.

use std::time::{Duration, Instant};

use crate::demo::narrator::Narrator;
use crate::demo::stage::{Stage, TransferPlan};

/// How long the transfer would run if nothing stopped it.
const PLAN: TransferPlan = TransferPlan {
    duration: Duration::from_secs(30),
    patience: Duration::from_secs(3),
};

pub(in crate::demo) async fn play(stage: &Stage, narrator: &mut Narrator) -> anyhow::Result<()> {
    narrator.chapter("courier -> web: until its registration is deleted");
    let web = stage.address("web", 8080)?;
    let greeting = stage.ask("courier", web, "parcel", Duration::from_secs(10))?;
    narrator.check(
        greeting.answered,
        "courier reaches web, as its rule says",
        greeting.error.as_deref().unwrap_or_default(),
    )?;
    narrator
        .say("It starts a transfer of 30 seconds. After one second its registration is deleted at the CA.");
    let begun = Instant::now();
    let mut transfer = stage.transfer("courier", web, "parcel", &PLAN)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    narrator.check(
        transfer.is_running()?,
        "the transfer runs",
        "it has ended already",
    )?;
    let plan = stage.lab().plan();
    let id = plan
        .workload("courier")
        .map(|workload| workload.spiffe_id(&plan.trust_domain))
        .unwrap_or_default();
    let deleted = begun.elapsed();
    stage.show(narrator, &["ca", "deregister", &id])?;
    let report = transfer.report().await?;
    let stopped = Duration::from_millis(report.last_block_ms).saturating_sub(deleted);
    let sentence = format!(
        "the running transfer stopped {} ms after that, at block {}; new packets are refused too",
        stopped.as_millis(),
        report.received
    );
    narrator.check(
        !report.intact && report.received > 0,
        &sentence,
        &format!("{report:?}"),
    )?;
    let again = stage.ask("courier", web, "parcel", Duration::from_millis(1500))?;
    narrator.check(!again.answered, "a new connection is not made", &again.answer)?;
    let said = stage.perform(narrator, &["explain", "shop/courier", "shop/web", "8080"])?;
    narrator.check(
        said.code != 0,
        "`signet explain` says what is missing",
        &said.code.to_string(),
    )
}
