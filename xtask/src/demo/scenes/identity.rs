//! Everybody has an identity.

use crate::demo::narrator::Narrator;
use crate::demo::stage::Stage;

pub(in crate::demo) fn play(stage: &Stage, narrator: &mut Narrator) -> anyhow::Result<()> {
    narrator.chapter("Every workload has a SPIFFE identity");
    narrator.say(
        "signet-ca has issued an X.509-SVID for each; its key was made on the workload's own node and never leaves it.\n\
         In the kernel an identity is a number.",
    );
    let list = stage.show(narrator, &["identity", "list"])?;
    let all = stage
        .lab()
        .plan()
        .workloads
        .iter()
        .map(|workload| workload.spiffe_id(&stage.lab().plan().trust_domain));
    let missing: Vec<_> = all.filter(|id| !list.contains(id.as_str())).collect();
    narrator.check(
        missing.is_empty(),
        "all five workloads have one",
        &missing.join(", "),
    )
}
