//! Puts the daemon together.

use std::sync::Arc;

use anyhow::Context;
use signet_datapath::Datapath;
use signet_proto::mesh::v1::mesh_service_server::MeshServiceServer;
use signet_source::{FileSource, Source};
use signet_uds::{Access, serve_incoming};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::Server;

use crate::agent::AgentView;
use crate::args::RunArgs;
use crate::attach::Attacher;
use crate::flows::{FlowLog, read_flows};
use crate::kernel::Kernel;
use crate::known::Known;
use crate::reconcile::{Changes, Reconciler};
use crate::service::{Lookups, Service};
use crate::{agent, conntrack, links, parking};

/// Runs until told to stop.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.run_dir)
        .with_context(|| format!("failed to make {}", args.run_dir.display()))?;
    // Taken first: a second daemon on the same socket stops here, before it touches the kernel.
    let incoming = serve_incoming(&args.run_dir.join("meshd.sock"), Access::Owner)?;

    let datapath =
        Datapath::load(&args.bpffs, &args.maps.capacities()).context("failed to load the kernel programs")?;
    let adopted = datapath.adopted();
    for map in datapath.replaced() {
        tracing::warn!(map, "a map of another version was made anew, empty");
    }
    let kernel = Kernel::open(
        &args.bpffs,
        parking::secret().context("failed to read random bytes")?,
    )
    .context("failed to open the kernel maps")?;
    let state = kernel.read().context("failed to read the kernel maps")?;
    let lookups = Lookups::open(&args.bpffs).context("failed to open the kernel maps")?;
    tracing::info!(adopted, endpoints = state.endpoints.len(), pins = %args.bpffs.display(), "kernel programs loaded");
    let attacher = Attacher::new(datapath, args.uplinks.clone()).context("failed to look up attachments")?;

    let (known, observe) = watch::channel(Arc::new(Known::nothing(args.node.clone(), adopted, state.config)));
    let (agent_sender, agent) = watch::channel(AgentView::default());
    let (links_sender, links) = watch::channel(None);
    let source = FileSource::start(&args.config_dir);
    tracing::info!(source = source.describe(), "watching");
    let flow_log = Arc::new(FlowLog::new(usize::try_from(args.flow_log).unwrap_or(usize::MAX)));

    let mut tasks = JoinSet::new();
    let agent_socket = args.run_dir.join("agent.sock");
    let node = args.node.clone();
    tasks.spawn(async move { agent::follow(&agent_socket, node, agent_sender).await });
    tasks.spawn(links::follow(links_sender));
    let pins = args.bpffs.clone();
    tasks.spawn(async move { conntrack::sweep(&pins).await });
    let (pins, log) = (args.bpffs.clone(), Arc::clone(&flow_log));
    tasks.spawn(async move { read_flows(&pins, &log).await });
    tasks.spawn(parking::keep(links.clone()));
    let (pulse, beats) = watch::channel(0);
    let reconciler = Reconciler::new(args.node.clone(), attacher, kernel, known, pulse);
    tasks.spawn(reconciler.run(Changes { source, agent, links }));

    let service = Service::new(observe, beats, lookups, flow_log);
    if let Some(address) = args.metrics_listen {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("failed to listen on {address} for metrics"))?;
        let service = service.clone();
        tasks.spawn(signet_metrics::serve(listener, move || {
            let service = service.clone();
            async move { service.metrics().await }
        }));
    }

    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let ended = async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("stopping; what is enforced stays in force"),
            _ = interrupt.recv() => tracing::info!("stopping; what is enforced stays in force"),
            // Each runs for ever; one that does not is a fault, and a restart mends it.
            _ = tasks.join_next() => tracing::error!("a part of the daemon has ended, stopping"),
        }
    };
    // Streams that are followed would never end by themselves.
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<MeshServiceServer<Service>>().await;
    let service = MeshServiceServer::new(service);
    let served = Server::builder()
        .add_service(health)
        .add_service(service)
        .serve_with_incoming(incoming);
    tokio::select! {
        () = ended => Ok(()),
        served = served => served.context("failed to serve meshd.sock"),
    }
}
