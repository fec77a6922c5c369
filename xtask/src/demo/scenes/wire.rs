//! What can be read on the wire, before and after encryption is switched on.

use std::time::Duration;

use signet_lab::capture::{Capture, Seen};
use signet_proto::keyd::v1::StatusRequest;

use crate::demo::narrator::Narrator;
use crate::demo::stage::{Stage, TransferPlan};

/// What a listener on the wire looks for.
const SECRET: &str = "the-recipe-of-the-sauce";
/// Long enough to be running before, during and after the switch.
const PLAN: TransferPlan = TransferPlan {
    duration: Duration::from_secs(6),
    patience: Duration::from_secs(8),
};
/// How long the wire is listened to.
const LISTEN: Duration = Duration::from_millis(1500);

pub(in crate::demo) async fn play(stage: &Stage, narrator: &mut Narrator) -> anyhow::Result<()> {
    narrator.chapter("On the wire: readable, then not");
    narrator.say(&format!(
        "client sends web blocks with the text `{SECRET}`, and each comes back. We listen on the underlay between the nodes."
    ));
    let web = stage.address("web", 8080)?;
    let mut transfer = stage.transfer("client", web, SECRET, &PLAN)?;
    let plain = listen(stage).await?;
    narrator.output(&excerpt(&plain));
    let sentence = format!(
        "of {} packets {} show the text to anybody who listens",
        plain.packets, plain.with_text
    );
    narrator.check(
        plain.with_text > 0 && plain.tunnel == 0,
        &sentence,
        &format!("{plain:?}"),
    )?;
    narrator.say("\nNow encryption is switched on for the whole cluster, under the running transfer.");
    stage.show(narrator, &["encryption", "set", "wireguard"])?;
    narrator.check(transfer.is_running()?, "the transfer still runs", "it has ended")?;
    let sealed = listen(stage).await?;
    narrator.output(&format!(
        "{} packets, {} of them WireGuard's, {} with the text",
        sealed.packets, sealed.tunnel, sealed.with_text
    ));
    let holds = sealed.with_text == 0 && sealed.plain_pod == 0 && sealed.tunnel > 0;
    narrator.check(
        holds,
        "the same capture finds the text no more: only WireGuard between the nodes",
        &format!("{sealed:?}"),
    )?;
    narrator.check(
        transfer.is_running()?,
        "the transfer ran all the while",
        "it ended before the capture did",
    )?;
    let report = transfer.report().await?;
    let sentence = format!(
        "it did not break: all {} blocks came back in order, the longest pause was {} ms",
        report.sent, report.longest_gap_ms
    );
    narrator.check(report.intact, &sentence, &format!("{report:?}"))?;
    let implementation = implementation(stage).await?;
    narrator.say(&format!(
        "(This machine's WireGuard is the {implementation} one.)"
    ));
    Ok(())
}

/// Listens on the underlay for a while.
async fn listen(stage: &Stage) -> anyhow::Result<Seen> {
    let capture = Capture::start(&stage.lab().paths().netns("net"), SECRET)?;
    tokio::time::sleep(LISTEN).await;
    Ok(capture.stop()?)
}

async fn implementation(stage: &Stage) -> anyhow::Result<String> {
    let mut client = stage.client("n1")?;
    Ok(client
        .keyd
        .status(StatusRequest {})
        .await?
        .into_inner()
        .implementation)
}

/// Some lines of a packet as a capture shows it: offset, bytes, text.
fn excerpt(seen: &Seen) -> String {
    let Some(packet) = &seen.example else {
        return String::new();
    };
    let lines = packet
        .chunks(16)
        .enumerate()
        .skip(3)
        .take(5)
        .map(|(index, bytes)| {
            let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let printable = |byte: &u8| {
                if (0x20..0x7f).contains(byte) {
                    char::from(*byte)
                } else {
                    '.'
                }
            };
            format!(
                "{:04x}  {:<47}  {}",
                index * 16,
                hex.join(" "),
                bytes.iter().map(printable).collect::<String>()
            )
        });
    lines.collect::<Vec<_>>().join("\n")
}
