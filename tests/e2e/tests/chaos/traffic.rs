//! What flows all the time: transfers that must not break, and attempts of which no packet may arrive.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use signet_e2e::{Ask, Family, Stage};
use signet_lab::capture::Capture;
use signet_lab::net;
use signet_lab::traffic::{StreamReport, Transfer, stream_until};
use tokio::sync::oneshot;

use crate::heartbeat::Heartbeat;

/// Time between two blocks of a transfer.
const INTERVAL: Duration = Duration::from_millis(20);
/// A transfer has broken when nothing came back for so long: several faults after one another, and the retransmission that
/// TCP has backed off to meanwhile.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long one forbidden attempt is tried.
const ATTEMPT: Duration = Duration::from_millis(1200);

/// Who transfers to `web` all the time, and over what.
const PERMITTED: [(&str, u16, Family); 5] = [
    ("client", 8080, Family::V4),
    ("client", 8080, Family::V6),
    ("neighbour", 8080, Family::V4),
    ("far", 8080, Family::V4),
    ("far", 8080, Family::V6),
];

/// Who tries to reach it and never may.
const FORBIDDEN: [&str; 4] = ["ghost", "stranger", "outsider", "banished"];

/// Transfers that must last.
pub(crate) struct Permitted(Vec<Lasting>);

struct Lasting {
    from: &'static str,
    family: Family,
    beside: Heartbeat,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<StreamReport>>,
}

impl Permitted {
    pub(crate) fn start(stage: &Stage, at_most: Duration) -> Result<Self> {
        let start = |(from, port, family): (&'static str, u16, Family)| -> Result<Lasting> {
            let transfer = Transfer {
                target: SocketAddr::new(stage.address("web", family)?, port),
                text: format!("from {from}"),
                duration: at_most,
                interval: INTERVAL,
                patience: PATIENCE,
            };
            let netns = stage.lab().paths().netns(from);
            let (stop, stopped) = oneshot::channel::<()>();
            let thread = std::thread::spawn(move || {
                net::within(&netns, || -> Result<_> {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()?;
                    let stopped = async { drop(stopped.await) };
                    Ok(runtime.block_on(stream_until(&transfer, stopped)))
                })?
            });
            Ok(Lasting {
                from,
                family,
                beside: Heartbeat::start(stage, from, port, family)?,
                stop,
                thread,
            })
        };
        Ok(Self(PERMITTED.into_iter().map(start).collect::<Result<_>>()?))
    }

    /// Ends them; fails if one has broken, or has lost or changed a byte.
    pub(crate) fn intact(self) -> Result<Vec<String>> {
        let mut told = Vec::new();
        for Lasting {
            from,
            family,
            beside,
            stop,
            thread,
        } in self.0
        {
            drop(stop);
            let Ok(report) = thread.join() else {
                bail!("the transfer of {from} panicked")
            };
            let report = report?;
            ensure!(
                report.intact,
                "the transfer of {from} ({family:?}) broke: {report:?}"
            );
            let gap = beside.longest_gap()?;
            told.push(format!(
                "{from} {family:?}: {} blocks, longest gap {} ms, until {:.1} s; of datagrams {} ms, until {:.1} s",
                report.received,
                report.longest_gap_ms,
                Duration::from_millis(report.longest_gap_over_ms).as_secs_f64(),
                gap.time.as_millis(),
                gap.over.as_secs_f64()
            ));
        }
        Ok(told)
    }
}

/// Attempts without end, and a watch at the target.
pub(crate) struct Forbidden {
    captures: Vec<(&'static str, Family, Capture)>,
    attempts: AtomicU64,
    answered: AtomicU64,
}

impl Forbidden {
    /// Begins to watch. Whoever is watched has sent nothing yet.
    pub(crate) fn watch(stage: &Stage) -> Result<Self> {
        let netns = stage.lab().paths().netns("web");
        let mut captures = Vec::new();
        for from in FORBIDDEN {
            for family in Family::BOTH {
                let bytes = way(stage.address(from, family)?, stage.address("web", family)?);
                captures.push((from, family, Capture::start(&netns, bytes)?));
            }
        }
        Ok(Self {
            captures,
            attempts: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        })
    }

    /// Tries everything again and again until `stop`.
    pub(crate) fn try_on(&self, stage: &Stage, stop: &AtomicBool) -> Result<()> {
        let asks: Vec<Ask> = FORBIDDEN
            .into_iter()
            .flat_map(|from| Family::BOTH.map(|family| (from, family)))
            .flat_map(|(from, family)| {
                [
                    Ask::udp(from, "web", 8080).over(family),
                    Ask::tcp(from, "web", 8080).over(family),
                ]
            })
            .collect();
        while !stop.load(Ordering::Acquire) {
            for answer in Ask::run_all(stage, &asks, ATTEMPT)? {
                self.attempts.fetch_add(1, Ordering::Relaxed);
                let answered = u64::from(answer.report.answered);
                self.answered.fetch_add(answered, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Ends the watch; fails if anything arrived or was answered.
    pub(crate) fn none_passed(self) -> Result<u64> {
        for (from, family, capture) in self.captures {
            let seen = capture.stop()?;
            ensure!(
                seen.with_text == 0,
                "{} packets of {from} ({family:?}) arrived, one of them {:02x?}",
                seen.with_text,
                seen.example.context("there is one")?
            );
        }
        let answered = self.answered.into_inner();
        ensure!(answered == 0, "{answered} forbidden attempts were answered");
        Ok(self.attempts.into_inner())
    }
}

/// Source and destination as they stand beside one another in an IP header.
fn way(source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let bytes = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    [bytes(source), bytes(destination)].concat()
}
