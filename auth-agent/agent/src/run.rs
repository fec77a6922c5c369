//! Puts the parts together.

use std::fs::{self, DirBuilder};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use signet_proto::agent::v1::agent_service_server::AgentServiceServer;
use signet_session::{Instance, Limits as SessionLimits};
use signet_spiffe::{BundleSet, SpiffeId, TrustDomain, X509Bundle};
use signet_uds::{Access, serve_incoming};
use signet_workload_api::Limits as WorkloadLimits;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::ahead::{Mode, UsedFile};
use crate::auth::KernelAuth;
use crate::brokers::Endpoint;
use crate::ca::{
    Acknowledger, Announcement, BundleFile, CaAddresses, JoinToken, Keeper, NoProof, NodeAccess, NodeProver,
    PlaceFile, StateFile, TpmDevid, X509Pop, follow, keep,
};
use crate::cli::{KeepState, RunArgs};
use crate::clock::random;
use crate::custody::{Custody, Keep, KernelKeys, Writer};
use crate::jwt::JwtSvids;
use crate::leases::{KernelLeases, Leases};
use crate::lists::ListKeeper;
use crate::pairs::{Actor, Knowledge, Pairs};
use crate::service::Service;
use crate::sessions::{Context, Gate, Sessions, listen, own_boot};
use crate::status::Status;
use crate::svids::{Manager, SvidSet, WorkloadSource};
use crate::transport::{Driver, Keyd};
use crate::view::{KeptFile, TowardsCa, ViewStore};
use crate::wit::WitKeeper;
use crate::{ahead, leases, mesh, metrics, parking, signals};

/// For TCP, and for TLS after it.
const TLS_DEADLINE: Duration = Duration::from_secs(5);
/// For the last write of the kept state.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Runs the agent until `stop`.
///
/// # Errors
/// Something that trying again cannot mend: a bad bundle, a directory that cannot be used, an address in use.
pub async fn run(args: RunArgs, stop: CancellationToken) -> anyhow::Result<()> {
    let (trust_domain, bundle, text) = trust(&args)?;
    make_directory(&args.run_dir)?;
    let state = StateFile::new(&args.data_dir)?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("failed to listen on {}; is another agent running?", args.listen))?;

    let status = Arc::new(Status::default());
    let kept_bundle = BundleFile::new(&args.data_dir, &text);
    let signers = kept_bundle.signers(&trust_domain, &bundle).into();
    let bundle = kept_bundle.load(&trust_domain).unwrap_or(bundle);
    let (view, custody) = stores(&args, &trust_domain, bundle, &text, &status);
    let restored = custody.restore(&view, &state);
    let (earlier, restored) = restored.map(|state| (state.view, state.svids)).unzip();
    let (access, access_watch) = watch::channel(None);
    let (svids, svids_watch) = watch::channel(Arc::new(SvidSet::default()));
    let (endpoints, endpoints_watch) = watch::channel(None);
    let knowledge = Knowledge::new(view.subscribe(), svids_watch.clone(), endpoints_watch.clone());
    let kernel_leases = KernelLeases::new(args.bpffs.clone());
    let leases = Leases::new(view.subscribe(), kernel_leases, status.clone());
    let broker_api = Endpoint::new(&args, trust_domain.clone(), view.clone(), access_watch.clone())?;
    let tokens = JwtSvids::new(view.subscribe(), access_watch.clone(), status.clone());
    let workloads = Arc::new(workload_source(&args, tokens.clone()));
    let (pairs, pair_events) = Pairs::channel();
    let context = Context {
        name: args.node.clone(),
        trust_domain: trust_domain.clone(),
        instance: instance()?,
        access: access_watch.clone(),
        bundles: view.clone(),
        knowledge: knowledge.clone(),
        leases: leases.clone(),
        limits: SessionLimits::default(),
        tls_deadline: TLS_DEADLINE,
    };
    let (sessions, transport_events) = Sessions::new(context, pairs.clone());

    let mut tasks = JoinSet::new();
    let keeper = keeper(&args, trust_domain, signers, state, &view, &status);
    tasks.spawn(keeper.run(access));
    let following = following(&args, &listener, &view, &access_watch, &status)?;
    tasks.spawn(acknowledger(kept_bundle, &view, &access_watch, &status).run());
    tasks.spawn(leases::keep(leases, view.subscribe(), endpoints_watch.clone()));
    let (lists, list_watch) = ListKeeper::new(view.subscribe(), access_watch.clone(), status.clone());
    tasks.spawn(lists.run());
    let (access_of_wits, endpoints_of_wits) = (access_watch.clone(), endpoints_watch.clone());
    let wits = WitKeeper::new(
        view.subscribe(),
        access_of_wits,
        endpoints_of_wits,
        &workloads,
        &status,
    );
    keep_tokens(&mut tasks, &args, tokens, wits);
    let manager = Manager {
        view: view.subscribe(),
        access: access_watch.clone(),
        endpoints: endpoints_watch,
        revocation_list: list_watch,
        publish: svids,
        workloads: workloads.clone(),
        restored: restored.unwrap_or_default(),
        status: status.clone(),
    };
    tasks.spawn(manager.run());
    let meshd = args.run_dir.join("meshd.sock");
    tasks.spawn(mesh::watch(meshd, endpoints, status.clone()));
    let auth = KernelAuth::new(args.bpffs.clone());
    let actor = Actor::new(knowledge, sessions.clone(), view.clone(), auth, status.clone());
    let actor = proving_ahead(actor, &mut tasks, &args, &pairs, &status);
    let place = PlaceFile::new(&args.run_dir);
    tasks.spawn(keep(place, view.subscribe(), actor.cleared(), status.clone()));
    let writer = Writer {
        custody,
        view: view.subscribe(),
        svids: svids_watch.clone(),
        cleared: actor.cleared(),
        access: access_watch,
    };
    let writing = tokio::spawn(writer.run(stop.clone()));
    tasks.spawn(actor.run(pair_events));
    watch_kernel(&mut tasks, &args.bpffs, &pairs, &status);
    tasks.spawn(sessions.clone().end_revoked());
    tasks.spawn(listen(listener, sessions.clone(), Arc::new(Gate::default())));
    let keyd = Keyd::new(&args.run_dir.join("keyd.sock"))?;
    tasks.spawn(Driver::new(keyd, sessions.clone(), view.subscribe(), status.clone()).run(transport_events));

    // Now that everybody listens.
    view.begin_with(earlier);
    tasks.spawn(following);
    let service = Service::new(args.node.to_string(), view, svids_watch, pairs, sessions, status);
    if let Some(address) = args.metrics_listen {
        tasks.spawn(metrics::listen(address, service.clone()).await?);
    }
    serve(&args, service, workloads, broker_api, &mut tasks, &stop).await?;
    // What has changed since the last write. It is a convenience: it must not keep the agent from ending.
    let _ = timeout(LAST_WRITE, writing).await;
    Ok(())
}

/// The CA's view, from where an earlier life has left off.
fn following(
    args: &RunArgs,
    listener: &TcpListener,
    view: &Arc<ViewStore>,
    access: &watch::Receiver<Option<Arc<NodeAccess>>>,
    status: &Arc<Status>,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let announcement = announcement(args, listener)?;
    let place = PlaceFile::new(&args.run_dir);
    Ok(follow(
        view.clone(),
        access.clone(),
        announcement,
        place,
        status.clone(),
    ))
}

fn acknowledger(
    file: BundleFile,
    view: &Arc<ViewStore>,
    access: &watch::Receiver<Option<Arc<NodeAccess>>>,
    status: &Arc<Status>,
) -> Acknowledger {
    Acknowledger {
        view: view.subscribe(),
        access: access.clone(),
        file,
        status: status.clone(),
    }
}

/// Answers on the agent's sockets until `stop`, or until a part of the agent ends.
async fn serve(
    args: &RunArgs,
    service: Service,
    workloads: Arc<WorkloadSource>,
    broker_api: Endpoint,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let serving = serve_agent(args, service, stop).await?;
    let workload_apis = serve_workloads(args, workloads, broker_api, stop.clone());
    tokio::select! {
        result = workload_apis => result?,
        result = serving => result.context("failed to serve agent.sock")?,
        Some(ended) = tasks.join_next() => {
            ended.context("a part of the agent failed")?;
            anyhow::bail!("a part of the agent ended; it should run for ever");
        }
        () = stop.cancelled() => {}
    }
    Ok(())
}

/// What is known from before: the view's place with what is revoked, what the agent keeps for its next life, and the trust bundle.
fn stores(
    args: &RunArgs,
    trust_domain: &TrustDomain,
    bundle: X509Bundle,
    text: &str,
    status: &Arc<Status>,
) -> (Arc<ViewStore>, Arc<Custody>) {
    let custody = custody(args, trust_domain, text, status);
    let view = ViewStore::new(args.node.clone(), trust_domain.clone(), BundleSet::single(bundle))
        .keeping(KeptFile::new(&args.data_dir))
        .forgetting(custody.clone());
    (Arc::new(view), custody)
}

/// What the agent keeps for its next life.
fn custody(
    args: &RunArgs,
    trust_domain: &TrustDomain,
    started_with: &str,
    status: &Arc<Status>,
) -> Arc<Custody> {
    let keep = match args.keep_state {
        KeepState::Keyring => Keep::Under(Box::new(KernelKeys)),
        KeepState::None => Keep::Nothing(Box::new(KernelKeys)),
    };
    Custody::new(
        &args.data_dir,
        &args.node,
        trust_domain,
        started_with,
        keep,
        status,
    )
}

fn workload_source(args: &RunArgs, tokens: JwtSvids) -> WorkloadSource {
    let workloads = WorkloadSource::new(tokens);
    if args.experimental_wit_svid {
        workloads.serving_wit_svids()
    } else {
        workloads
    }
}

/// JWT-SVIDs, and WIT-SVIDs where they are on.
fn keep_tokens(tasks: &mut JoinSet<()>, args: &RunArgs, tokens: JwtSvids, wits: WitKeeper) {
    tasks.spawn(tokens.run());
    if args.experimental_wit_svid {
        tasks.spawn(wits.run());
    }
}

/// An actor that lets packets go that waited, and proves before anybody asks what it is to.
fn proving_ahead(
    actor: Actor<KernelAuth>,
    tasks: &mut JoinSet<()>,
    args: &RunArgs,
    pairs: &Pairs,
    status: &Status,
) -> Actor<KernelAuth> {
    let actor = actor.releasing(status.parking.clone());
    status.ahead.set_mode(args.preauth);
    let all = match args.preauth {
        Mode::Off => return actor,
        Mode::Policy => false,
        Mode::All => true,
    };
    let (publish, demand) = watch::channel(None);
    tasks.spawn(ahead::watch(args.run_dir.join("meshd.sock"), all, publish));
    tasks.spawn(ahead::watch_use(args.bpffs.clone(), pairs.clone()));
    let bounds = signet_preauth::Bounds {
        pairs: usize::try_from(args.preauth_pairs).unwrap_or(usize::MAX),
        ..signet_preauth::Bounds::default()
    };
    actor.proving_ahead(demand, bounds, Some(UsedFile::new(&args.data_dir)))
}

/// What the kernel asks for: proofs, and room for packets until these are there.
fn watch_kernel(tasks: &mut JoinSet<()>, bpffs: &Path, pairs: &Pairs, status: &Arc<Status>) {
    tasks.spawn(signals::watch(bpffs.to_owned(), pairs.clone(), status.clone()));
    tasks.spawn(parking::watch(
        bpffs.to_owned(),
        status.parking.clone(),
        pairs.clone(),
        status.clone(),
    ));
}

/// `workload.sock` with the Workload API and Envoy's secret discovery, and the Broker API where it is on, until `stop`.
async fn serve_workloads(
    args: &RunArgs,
    workloads: Arc<WorkloadSource>,
    broker_api: Endpoint,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let socket = args.run_dir.join("workload.sock");
    let workload_api = signet_workload_api::serve_beside(
        &socket,
        workloads.clone(),
        WorkloadLimits::default(),
        signet_sds::service()?,
        stop.clone().cancelled_owned(),
    );
    tokio::select! {
        result = Box::pin(broker_api.serve(workloads, stop)) => result,
        result = workload_api => result.context("failed to serve workload.sock"),
    }
}

/// `agent.sock`, until `stop`.
async fn serve_agent(
    args: &RunArgs,
    service: Service,
    stop: &CancellationToken,
) -> anyhow::Result<impl Future<Output = Result<(), tonic::transport::Error>> + use<>> {
    let incoming = serve_incoming(&args.run_dir.join("agent.sock"), Access::Owner)?;
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<AgentServiceServer<Service>>().await;
    Ok(Server::builder()
        .add_service(health)
        .add_service(AgentServiceServer::new(service))
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned()))
}

/// The trust bundle that the agent is started with, the trust domain that it is of, and its text.
pub(crate) fn trust(args: &RunArgs) -> anyhow::Result<(TrustDomain, X509Bundle, String)> {
    let file = args.trust_bundle.display();
    let text = fs::read_to_string(&args.trust_bundle).with_context(|| format!("failed to read {file}"))?;
    let trust_domain = match &args.trust_domain {
        Some(trust_domain) => trust_domain.clone(),
        None => trust_domain_of(&text).with_context(|| {
            format!("failed to find the trust domain in {file}; say it with --trust-domain")
        })?,
    };
    let bundle = X509Bundle::from_pem(trust_domain.clone(), &text)
        .with_context(|| format!("{file} is no trust bundle of {trust_domain}"))?;
    Ok((trust_domain, bundle, text))
}

/// The trust domain in the first certificate's URI SAN.
fn trust_domain_of(pem: &str) -> anyhow::Result<TrustDomain> {
    use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).context("no certificate in it")?;
    let (_, certificate) = X509Certificate::from_der(&der).context("its first certificate is damaged")?;
    let names = certificate
        .subject_alternative_name()?
        .context("its first certificate has no SPIFFE ID")?;
    let uri = names.value.general_names.iter().find_map(|name| {
        if let GeneralName::URI(uri) = name {
            Some(*uri)
        } else {
            None
        }
    });
    let uri = uri.context("its first certificate has no SPIFFE ID")?;
    match SpiffeId::parse(uri) {
        Ok(id) => Ok(id.trust_domain().clone()),
        // A root's ID is the trust domain alone.
        Err(error) => match uri.strip_prefix("spiffe://") {
            Some(name) => Ok(TrustDomain::parse(name)?),
            None => Err(error.into()),
        },
    }
}

fn make_directory(directory: &Path) -> anyhow::Result<()> {
    // Workloads must be able to reach workload.sock; the other sockets are closed to them by mode and by credentials.
    let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.with_context(|| format!("failed to make {}", directory.display()))
}

fn keeper(
    args: &RunArgs,
    trust_domain: TrustDomain,
    signers: Arc<[String]>,
    state: StateFile,
    view: &Arc<ViewStore>,
    status: &Arc<Status>,
) -> Keeper {
    Keeper {
        node: args.node.clone(),
        signers,
        trust_domain,
        ca: CaAddresses::new(&args.ca, random()),
        prover: prover(args),
        state,
        bundles: Arc::new(TowardsCa(view.clone())),
        view: view.subscribe(),
        status: status.clone(),
    }
}

/// How this node proves who it is: by what it was started with.
fn prover(args: &RunArgs) -> Arc<dyn NodeProver> {
    if let Some(directory) = &args.tpm_devid {
        return Arc::new(TpmDevid {
            tpm: args.tpm.clone(),
            directory: directory.clone(),
        });
    }
    match (&args.join_token_file, &args.x509pop_cert, &args.x509pop_key) {
        (_, Some(certificate), Some(key)) => Arc::new(X509Pop {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        (Some(file), _, _) => Arc::new(JoinToken { file: file.clone() }),
        (None, _, _) => Arc::new(NoProof),
    }
}

fn announcement(args: &RunArgs, listener: &TcpListener) -> anyhow::Result<Announcement> {
    Ok(Announcement {
        addresses: advertised(args),
        port: listener.local_addr()?.port(),
    })
}

/// What other nodes dial; nothing says "the address that the CA sees".
fn advertised(args: &RunArgs) -> Vec<IpAddr> {
    let listen = args.listen.ip();
    // Whoever listens on loopback is alone on its host, or said --advertise.
    if args.advertise.is_empty() && !listen.is_unspecified() && !listen.is_loopback() {
        return vec![listen];
    }
    args.advertise.clone()
}

/// What others tell this start of the agent by.
fn instance() -> anyhow::Result<Instance> {
    let mut start = [0; 8];
    aws_lc_rs::rand::fill(&mut start).map_err(|_| anyhow::anyhow!("the system gives no randomness"))?;
    let boot = own_boot().context("failed to read the kernel's boot ID")?;
    Ok(Instance::new(boot, start))
}
