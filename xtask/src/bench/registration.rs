//! Registration: from the operator's command to the SVID at the workload.
//!
//! A process follows the Workload API of a node's agent. Once more a SPIFFE ID is registered for it: the time until its stream has
//! an SVID of that ID. Then the registration is taken back, and the time until the SVID is gone is taken, too.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use signet_figures::{Aim, Figures, Scale};
use signet_proto::ca::v1::{DeregisterRequest, RegisterRequest};
use signet_proto::workload::{X509svidRequest, X509svidResponse};
use signet_test_postgres::Server;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tonic::{Code, Request, Streaming};

use super::samples::Samples;
use super::site::Site;

/// For one round, and until the agent serves.
const PATIENCE: Duration = Duration::from_mins(1);

/// Measures and prints, with each database.
pub(super) fn run(figures: &Path, scale: Scale) -> anyhow::Result<()> {
    println!("\nRegistration of a SPIFFE ID, to the SVID in the workload's stream");
    let runtime = Runtime::new()?;
    runtime.block_on(measure(figures, "SQLite", None, scale))?;
    match Server::start_durable() {
        Ok(server) => {
            let url = server.database()?;
            runtime.block_on(measure(figures, "PostgreSQL", Some(&url), scale))
        }
        Err(missing) => {
            println!("PostgreSQL is not measured: {missing}");
            Ok(())
        }
    }
}

async fn measure(figures: &Path, name: &str, database: Option<&str>, scale: Scale) -> anyhow::Result<()> {
    let site = Site::start(database).await?;
    // Without any, the stream would end.
    register(&site, "spiffe://td/always").await?;
    let mut stream = follow(&site).await?;
    let (mut there, mut gone) = (Samples::default(), Samples::default());
    for round in 0..scale.pick(200, 2) {
        let id = format!("spiffe://td/round/{round}");
        let began = Instant::now();
        let registration = register(&site, &id).await?;
        until(&mut stream, |svids| has(svids, &id)).await?;
        there.push(began.elapsed());
        let began = Instant::now();
        let call = DeregisterRequest { id: registration };
        site.operator.clone().deregister(call).await?;
        until(&mut stream, |svids| !has(svids, &id)).await?;
        gone.push(began.elapsed());
    }
    let figures = Figures::kept_in(figures, &format!("registration: {name}"));
    println!("{name}, {} rounds", there.len());
    for (what, samples, aim) in [
        ("command → SVID at the workload", there, Some(Aim::AtMost(100.0))),
        ("deregistration → SVID gone", gone, None),
    ] {
        figures.line(&format!("{what}, p50"), millis(samples.median()), "ms", None);
        figures.line(&format!("{what}, p99"), millis(samples.permille(990)), "ms", aim);
    }
    Ok(())
}

fn millis(time: Option<Duration>) -> f64 {
    time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

async fn register(site: &Site, id: &str) -> anyhow::Result<String> {
    let call = RegisterRequest {
        spiffe_id: id.to_owned(),
        node: "n1".to_owned(),
        selectors: vec![format!("unix:uid:{}", rustix::process::getuid().as_raw())],
        ..RegisterRequest::default()
    };
    Ok(site.operator.clone().register(call).await?.into_inner().id)
}

/// A stream, once the agent serves it.
async fn follow(site: &Site) -> anyhow::Result<Streaming<X509svidResponse>> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut request = Request::new(X509svidRequest {});
        request
            .metadata_mut()
            .insert("workload.spiffe.io", "true".parse()?);
        match site.workload.clone().fetch_x509svid(request).await {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                if stream.message().await.is_ok_and(|first| first.is_some()) {
                    return Ok(stream);
                }
            }
            Err(status) if matches!(status.code(), Code::Unavailable | Code::PermissionDenied) => {}
            Err(status) => return Err(status.into()),
        }
        if Instant::now() > until {
            bail!("the agent serves no SVID");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn has(message: &X509svidResponse, id: &str) -> bool {
    message.svids.iter().any(|svid| svid.spiffe_id == id)
}

async fn until(
    stream: &mut Streaming<X509svidResponse>,
    seen: impl Fn(&X509svidResponse) -> bool,
) -> anyhow::Result<()> {
    let waiting = async {
        while let Some(message) = stream.message().await? {
            if seen(&message) {
                return Ok(());
            }
        }
        bail!("the workload's stream ended")
    };
    timeout(PATIENCE, waiting)
        .await
        .context("the workload's stream does not change")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_followed_to_the_workload_and_back_at_a_tiny_scale() -> anyhow::Result<()> {
        let kept = tempfile::NamedTempFile::new()?;
        run(kept.path(), Scale::Tiny)?;
        let text = std::fs::read_to_string(kept.path())?;
        anyhow::ensure!(text.contains("SVID at the workload, p99"), "{text}");
        Ok(())
    }
}
