//! Where operators connect.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustix::process::geteuid;
use signet_proto::ca::v1::authority_service_server::AuthorityServiceServer;
use signet_proto::ca::v1::operator_service_server::OperatorServiceServer;
use signet_proto::ca::v1::upstream_service_server::UpstreamServiceServer;
use signet_proto::ca::v1::watch_service_server::WatchServiceServer;
use signet_tls::{BundleSource, ClientAuth, Expect};
use signet_uds::{Access as SocketAccess, serve_admitted};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::info;

use crate::audit::{Gate, Gated};
use crate::authorities::{AuthorityCalls, UpstreamCalls};
use crate::ca::Ca;
use crate::health;
use crate::limits::{ORDER, REQUEST, RESPONSE};
use crate::listener::{Listener, Welcome};
use crate::operator_service::Operators;
use crate::own_svid::{self, Shows};
use crate::server::limited;
use crate::watch::Watches;

fn service(ca: &Arc<Ca>) -> OperatorServiceServer<Operators> {
    OperatorServiceServer::new(Operators(Arc::clone(ca)))
        .max_decoding_message_size(ORDER)
        .max_encoding_message_size(RESPONSE)
}

fn authorities(ca: &Arc<Ca>) -> AuthorityServiceServer<AuthorityCalls> {
    AuthorityServiceServer::new(AuthorityCalls(Arc::clone(ca)))
        .max_decoding_message_size(REQUEST)
        .max_encoding_message_size(RESPONSE)
}

fn upstream(ca: &Arc<Ca>) -> UpstreamServiceServer<UpstreamCalls> {
    UpstreamServiceServer::new(UpstreamCalls(Arc::clone(ca)))
        .max_decoding_message_size(REQUEST)
        .max_encoding_message_size(RESPONSE)
}

fn watches(ca: &Arc<Ca>) -> WatchServiceServer<Watches> {
    WatchServiceServer::new(Watches::new(ca)).max_decoding_message_size(REQUEST)
}

/// The Unix socket: root, the CA's own user, and whom the command line names. Others are not let in at all.
pub(crate) fn serve_socket(
    services: &mut JoinSet<anyhow::Result<()>>,
    ca: &Arc<Ca>,
    socket: &Path,
) -> anyhow::Result<()> {
    let Some(directory) = socket.parent() else {
        bail!("{} is no path of a socket", socket.display());
    };
    std::fs::create_dir_all(directory)
        .with_context(|| format!("failed to make the directory {}", directory.display()))?;
    let access = ca.operations.access.clone();
    let mode = if access.opens_socket() {
        SocketAccess::Anyone
    } else {
        SocketAccess::Owner
    };
    let own = geteuid().as_raw();
    let incoming = serve_admitted(socket, mode, move |peer| {
        access.of_process(peer.uid, own, || peer.groups()).is_some()
    })?;
    let ca = Arc::clone(ca);
    services.spawn(async move {
        limited()
            .layer(Gate::new(Arc::clone(&ca), Gated::Operators))
            .add_service(health::service(&ca))
            .add_service(service(&ca))
            .add_service(authorities(&ca))
            .add_service(upstream(&ca))
            .add_service(watches(&ca))
            .serve_with_incoming_shutdown(incoming, ca.shutdown.cancelled())
            .await
            .context("the service for operators failed")
    });
    Ok(())
}

/// Mutual TLS on TCP, for SVIDs of the CA's own trust domain; each call is judged by the SPIFFE ID.
pub(crate) async fn serve_remote(
    services: &mut JoinSet<anyhow::Result<()>>,
    ca: &Arc<Ca>,
    bundles: &Arc<dyn BundleSource>,
) -> anyhow::Result<Option<std::net::SocketAddr>> {
    let Some(listen) = ca.operations.listen else {
        return Ok(None);
    };
    let shows = Shows {
        expect: Expect::AnyInTrustDomain(ca.trust_domain().clone()),
        client: ClientAuth::Required,
        formers: false,
    };
    let own = own_svid::make(ca, bundles, &shows).await?;
    let (tls, current) = watch::channel(Arc::clone(&own.config));
    let tcp = TcpListener::bind(listen)
        .await
        .with_context(|| format!("failed to listen on {listen} for operators"))?;
    let address = tcp.local_addr()?;
    let listener = Listener {
        tcp,
        tls: current,
        bundles: Arc::clone(bundles),
        clock: ca.clock.clone(),
        welcome: Welcome::Operators(Arc::clone(ca)),
    };
    let renewal = own_svid::renew(Arc::clone(ca), Arc::clone(bundles), shows, tls, own);
    let ca = Arc::clone(ca);
    services.spawn(async move {
        let server = limited()
            .layer(Gate::new(Arc::clone(&ca), Gated::Operators))
            .add_service(health::service(&ca))
            .add_service(service(&ca))
            .add_service(authorities(&ca))
            .add_service(upstream(&ca))
            .add_service(watches(&ca))
            .serve_with_incoming_shutdown(listener.incoming(), ca.shutdown.cancelled());
        tokio::select! {
            ended = server => ended.context("the service for remote operators failed"),
            () = renewal => Ok(()),
        }
    });
    info!(listen = %address, "operators connect here, too");
    Ok(Some(address))
}
