//! The lab's own server and clients, for its workloads and for tests.

use std::time::Duration;

use signet_lab::traffic as lab;

use super::arguments::{Probe, Stream};
use crate::failure::{DONE, FAILED, Failure};
use crate::output::Output;
use crate::view::lab::{ProbeView, StreamView};

pub(super) async fn serve(name: &str, tcp: &[u16], udp: &[u16]) -> Result<(), Failure> {
    let options = lab::ServeOptions {
        name: name.to_owned(),
        tcp: tcp.to_vec(),
        udp: udp.to_vec(),
    };
    lab::serve(&options)
        .await
        .map_err(|error| Failure::Failed(format!("cannot serve: {error}")))
}

pub(super) async fn probe(probe: &Probe, output: &Output) -> Result<u8, Failure> {
    let report = lab::probe(&lab::Probe {
        target: probe.target,
        transport: if probe.udp {
            lab::Transport::Udp
        } else {
            lab::Transport::Tcp
        },
        text: probe.text.clone(),
        timeout: Duration::from_millis(probe.timeout_ms),
        retry: probe.retry_ms.map(Duration::from_millis),
    })
    .await;
    let code = if report.answered { DONE } else { FAILED };
    output.show(&ProbeView { report })?;
    Ok(code)
}

pub(super) async fn stream(stream: &Stream, output: &Output) -> Result<u8, Failure> {
    let report = lab::stream(&lab::Transfer {
        target: stream.target,
        text: stream.text.clone(),
        duration: Duration::from_millis(stream.duration_ms),
        interval: Duration::from_micros(stream.interval_us),
        patience: Duration::from_millis(stream.patience_ms),
    })
    .await;
    let code = if report.intact { DONE } else { FAILED };
    output.show(&StreamView { report })?;
    Ok(code)
}
