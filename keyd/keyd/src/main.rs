//! The node's key daemon: the only holder of transport keys.
//!
//! signet-agent drives it over `keyd.sock`: it hands in the public keys and preshared keys of peers that it has
//! authenticated, and says when each can receive. signet-keyd keeps the WireGuard device `sgwg0` and writes `NODES`,
//! by which the kernel programs know for which nodes packets go into the tunnel.
//!
//! # What a restart does
//!
//! A killed daemon leaves its interface and `NODES` as they are. What that means depends on the implementation:
//!
//! - **Kernel**: the device goes on encrypting and decrypting on its own. The next daemon adopts it as it is, key and
//!   peers included, without ever reading the private key into a buffer that outlives the request. `keyd.json`
//!   (public knowledge only: node numbers, names, public keys) says which peer belongs to which node; peers that it
//!   does not name are removed. The key epoch stays, so the agent has nothing to offer anew.
//! - **User space**: the private key died with the process. The TUN interface is persistent and keeps its number and
//!   what is attached to it; what the kernel sends into it is dropped. The next daemon attaches to it with a *new*
//!   key and a higher key epoch. The peers for which `NODES` says "encrypt" are *held*: their packets still go into
//!   the tunnel, where nobody can read them, until the agent has installed the peer again and the peer has confirmed
//!   the new key. TCP sees a stall (one round of offers, and a handshake that is repeated every second).
//!
//! Nothing in between sends a packet in plaintext that would have been encrypted before: a send flag is cleared only
//! by `StopSending`, by `RemovePeer`, or, for held peers, by `SetMode(off)`.

#![forbid(unsafe_code)]

mod args;
mod engine;
mod error;
mod memory;
mod metrics;
mod nodes;
mod opener;
mod peers;
mod ready;
mod record;
mod request;
mod service;
mod validate;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use signet_privileges::Capabilities;
use signet_proto::keyd::v1::StatusRequest;
use signet_proto::keyd::v1::key_service_server::{KeyService as _, KeyServiceServer};
use signet_uds::{Access, serve_incoming};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use tonic::Request;
use tonic::transport::Server;

use crate::args::{Cli, Command, RunArgs};
use crate::engine::Engine;
use crate::memory::MemoryFile;
use crate::nodes::Nodes;
use crate::opener::SystemOpener;
use crate::service::Service;

/// How often the device and `NODES` are compared with what they should be.
const RECONCILE: Duration = Duration::from_secs(1);

fn main() -> anyhow::Result<ExitCode> {
    let Command::Run(args) = Cli::parse().command;
    if args.validate {
        return Ok(validate::run(&args));
    }
    // Before any secret exists. The tunnel device, its peers, routes and settings: NET_ADMIN; pinned maps are opened as files.
    signet_privileges::confine(Capabilities::NET_ADMIN).context("failed to drop privileges")?;
    signet_telemetry::init("signet-keyd", args.log_format, Some(&args.log_filter()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn run(args: RunArgs) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.run_dir)
        .with_context(|| format!("failed to make {}", args.run_dir.display()))?;
    // Taken first: a second daemon on the same socket stops here, before it touches the device.
    let socket = args.run_dir.join("keyd.sock");
    let incoming = serve_incoming(&socket, Access::Owner)?;

    let scrapes = match args.metrics_listen {
        None => None,
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            Some(bound.with_context(|| format!("failed to listen on {address} for metrics"))?)
        }
    };

    let opener = SystemOpener::new(args.implementation, args.device());
    let memory = MemoryFile::new(args.run_dir.join("keyd.json"));
    let nodes = Nodes::pinned(args.bpffs.clone());
    let engine = Engine::start(Box::new(opener), nodes, memory).await;
    let engine = Arc::new(Mutex::new(engine));

    let reconcile = tokio::spawn(reconcile(Arc::clone(&engine)));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping; the tunnel is left as it is for the next start");
    };
    tracing::info!(socket = %socket.display(), "ready");
    let service = Service::new(engine, args.device.to_string(), args.port);
    let scrapes = scrapes.map(|listener| tokio::spawn(serve_metrics(listener, service.clone())));
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<KeyServiceServer<Service>>().await;
    let served = Server::builder()
        .add_service(health)
        .add_service(KeyServiceServer::new(service))
        .serve_with_incoming_shutdown(incoming, stop)
        .await;
    reconcile.abort();
    if let Some(scrapes) = scrapes {
        scrapes.abort();
    }
    served.context("failed to serve keyd.sock")
}

async fn serve_metrics(listener: TcpListener, service: Service) {
    signet_metrics::serve(listener, move || {
        let service = service.clone();
        async move {
            let status = service.status(Request::new(StatusRequest {})).await.ok()?;
            Some(metrics::page(status.get_ref()))
        }
    })
    .await;
}

async fn reconcile(engine: Arc<Mutex<Engine>>) {
    let mut ticks = interval(RECONCILE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        engine.lock().await.reconcile().await;
    }
}
