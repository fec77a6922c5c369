//! One workload asks another, and what came of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use signet_lab::traffic::{Probe, ProbeReport, Transport, probe};

use crate::Stage;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// Who asks whom, and how.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// The workload that asks.
    pub from: &'static str,
    /// The workload that is asked.
    pub to: &'static str,
    /// Its port.
    pub port: u16,
    /// TCP or UDP.
    pub transport: Transport,
    /// Address family.
    pub family: Family,
}

/// What came of it, with the addresses that it was asked under.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What the asker saw.
    pub report: ProbeReport,
    /// Address of the asker.
    pub source: IpAddr,
    /// Address of the asked.
    pub target: SocketAddr,
}

impl Ask {
    /// TCP over IPv4.
    pub const fn tcp(from: &'static str, to: &'static str, port: u16) -> Self {
        Self {
            from,
            to,
            port,
            transport: Transport::Tcp,
            family: Family::V4,
        }
    }

    /// UDP over IPv4.
    pub const fn udp(from: &'static str, to: &'static str, port: u16) -> Self {
        Self {
            from,
            to,
            port,
            transport: Transport::Udp,
            family: Family::V4,
        }
    }

    /// The same over another family.
    #[must_use]
    pub const fn over(self, family: Family) -> Self {
        Self { family, ..self }
    }

    /// Asks, for at most `patience`.
    pub fn run(self, stage: &Stage, patience: Duration) -> Result<Answer> {
        let source = stage.address(self.from, self.family)?;
        let target = SocketAddr::new(stage.address(self.to, self.family)?, self.port);
        let ask = Probe {
            target,
            transport: self.transport,
            text: format!("from {}", self.from),
            timeout: patience,
            retry: match self.transport {
                Transport::Tcp => None,
                Transport::Udp => Some(Duration::from_millis(200)),
            },
        };
        let report = stage.lab().within(self.from, || -> Result<_> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(runtime.block_on(probe(&ask)))
        })??;
        Ok(Answer {
            report,
            source,
            target,
        })
    }

    /// Several at the same time.
    pub fn run_all(stage: &Stage, asks: &[Self], patience: Duration) -> Result<Vec<Answer>> {
        std::thread::scope(|scope| {
            let asking: Vec<_> = asks
                .iter()
                .map(|ask| scope.spawn(move || ask.run(stage, patience)))
                .collect();
            let answers = asking.into_iter().map(|ask| match ask.join() {
                Ok(answer) => answer,
                Err(_) => bail!("the thread that asked panicked"),
            });
            answers.collect()
        })
    }

    /// Asks for all at the same time, and fails unless nothing comes back and the kernel of `judge` names `reason` for each.
    pub fn all_refused(stage: &Stage, asks: &[Self], judge: &str, reason: signet_abi::Reason) -> Result<()> {
        let answers = Self::run_all(stage, asks, stage.silence())?;
        for (ask, answer) in asks.iter().zip(&answers) {
            ask.is_refusal(stage, answer, judge, reason)?;
        }
        Ok(())
    }

    /// Asks, and fails unless the asked workload answers within `patience`.
    pub fn answered(self, stage: &Stage, patience: Duration) -> Result<Answer> {
        let answer = self.run(stage, patience)?;
        let expected = format!("{}: from {}", self.to, self.from);
        if answer.report.answer != expected {
            bail!(
                "{self:?}: expected the answer {expected:?}, got {:?}",
                answer.report
            );
        }
        Ok(answer)
    }

    /// Asks for `patience`, and fails unless nothing comes back and the kernel of `judge` names `reason` for it.
    pub fn refused(
        self,
        stage: &Stage,
        patience: Duration,
        judge: &str,
        reason: signet_abi::Reason,
    ) -> Result<()> {
        let answer = self.run(stage, patience)?;
        self.is_refusal(stage, &answer, judge, reason)
    }

    fn is_refusal(
        self,
        stage: &Stage,
        answer: &Answer,
        judge: &str,
        reason: signet_abi::Reason,
    ) -> Result<()> {
        if answer.report.answered {
            bail!(
                "{self:?} was answered, but should be refused: {:?}",
                answer.report
            );
        }
        stage
            .dropped_because(judge, answer, reason)
            .with_context(|| format!("{self:?} had no answer, as it should"))
    }
}
