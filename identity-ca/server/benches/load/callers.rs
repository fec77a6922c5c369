//! Callers that keep a CA busy, and what a call costs whom.

use std::time::{Duration, Instant};

use signet_figures::{Aim, Figures, Scale, Usage, own_cpu};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How long each is measured, and how long it runs before, for caches and for the write-ahead log to get its size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    warm_up: Duration,
    measured: Duration,
}

impl Span {
    pub(crate) fn of(scale: Scale) -> Self {
        let (warm_up, measured) = scale.pick((2_000, 4_000), (0, 100));
        Self {
            warm_up: Duration::from_millis(warm_up),
            measured: Duration::from_millis(measured),
        }
    }
}

/// How many were done, how long they took, and what they cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    /// CPU of this process, and of the daemon that was called, microseconds a call.
    client: f64,
    server: Option<f64>,
}

impl Outcome {
    pub(crate) fn new(done: f64, seconds: f64, client: f64, server: Option<f64>) -> Self {
        Self {
            per_second: done / seconds,
            client: client / done * 1e6,
            server: server.map(|server| server / done * 1e6),
        }
    }

    /// Prints what came of it.
    pub(crate) fn print(self, figures: &Figures, what: &str, aim: Option<Aim>) {
        figures.line(what, self.per_second, "per second", aim);
        let Some(server) = self.server else {
            return;
        };
        println!(
            "    CPU of one: {:.0} µs in the CA, {:.0} µs in the client",
            server, self.client
        );
        figures.record(&format!("{what}: CPU of the CA"), server, "µs", None);
        figures.record(&format!("{what}: CPU of the client"), self.client, "µs", None);
    }
}

/// Runs callers, each of which makes one call after another, first to warm up, then measured. Each call does as many as it says.
pub(crate) async fn measure<F, Fut>(span: Span, daemon: Option<u32>, callers: Vec<F>) -> Outcome
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = u32> + Send,
{
    let begin = Instant::now() + span.warm_up;
    let end = begin + span.measured;
    let mut tasks = JoinSet::new();
    for mut call in callers {
        tasks.spawn(async move {
            let mut done = 0.0;
            loop {
                let of_call = f64::from(call().await);
                let now = Instant::now();
                if now > end {
                    return done;
                }
                if now > begin {
                    done += of_call;
                }
            }
        });
    }
    let used = || (own_cpu(), daemon.and_then(Usage::of).map(|usage| usage.cpu));
    sleep(begin.saturating_duration_since(Instant::now())).await;
    let (began, (client, server)) = (Instant::now(), used());
    sleep(end.saturating_duration_since(Instant::now())).await;
    let (spent, (client_then, server_then)) = (began.elapsed().as_secs_f64(), used());
    let done = tasks.join_all().await.into_iter().sum();
    let of_daemon = server.zip(server_then).map(|(before, then)| then - before);
    Outcome::new(done, spent, client_then - client, of_daemon)
}
