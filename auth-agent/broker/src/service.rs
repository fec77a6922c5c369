use std::sync::Arc;

use futures::StreamExt as _;
use signet_attest::{Process, ProcessError, ResolveError};
use signet_proto::broker::api_server::Api;
use signet_proto::broker::{
    FetchJwtsvidRequest, FetchJwtsvidResponse, Jwtsvid, SubscribeToJwtBundlesRequest,
    SubscribeToJwtBundlesResponse, SubscribeToX509BundlesRequest, SubscribeToX509BundlesResponse,
    SubscribeToX509svidRequest, SubscribeToX509svidResponse, WorkloadReference, X509svid,
};
use signet_proto::workload;
use signet_spiffe::SpiffeId;
use signet_workload_api::{Messages, Representation};
use tonic::{Request, Response, Status};

use crate::caller::Caller;
use crate::reference::Reference;
use crate::refusal::{Reason, of_workload};
use crate::shares::{Share, Shares};

/// Calls at once of one broker, streams among them, and of all.
const EACH: usize = 1024;
const TOTAL: usize = 2048;

/// The calls of the Broker API. Callers have been through [`admit`](crate::gate::admit).
pub(crate) struct Service {
    workloads: Representation,
    calls: Arc<Shares<SpiffeId>>,
}

/// One call: who, for whom.
struct Call {
    caller: Caller,
    process: Process,
    share: Share<SpiffeId>,
}

impl Service {
    pub(crate) fn new(workloads: Representation) -> Self {
        Self::bounded(workloads, EACH, TOTAL)
    }

    /// The same with other bounds.
    pub(crate) fn bounded(workloads: Representation, each: usize, total: usize) -> Self {
        Self {
            workloads,
            calls: Arc::new(Shares::new(each, total)),
        }
    }

    async fn begin<T>(
        &self,
        request: &Request<T>,
        reference: Option<&WorkloadReference>,
    ) -> Result<Call, Status> {
        let caller: Option<&Caller> = request.extensions().get();
        let caller = caller
            .ok_or_else(|| Status::unauthenticated("the connection does not say who calls"))?
            .clone();
        let share = self.calls.take(caller.id().clone());
        let share = share.ok_or_else(|| {
            Status::unavailable("too many calls of brokers are under way; end some, or try again later")
        })?;
        let reference =
            Reference::parse(reference).map_err(|error| Reason::Invalid.status(error.to_string()))?;
        let process = self.resolve(&caller, reference).await?;
        Ok(Call {
            caller,
            process,
            share,
        })
    }
}

impl Service {
    /// The process that is meant, held.
    async fn resolve(&self, caller: &Caller, reference: Reference) -> Result<Process, Status> {
        match reference {
            Reference::Pid(pid) => by_number(caller, pid).await,
            Reference::Kubernetes(object) => {
                let resolved = self.workloads.resolve(object.clone()).await;
                resolved.map_err(|error| {
                    tracing::debug!(caller.id = %caller.id(), ?object, %error, "a Kubernetes reference names nothing");
                    of_object(&error)
                })
            }
        }
    }
}

/// What a broker is told whose reference to an object leads to no process.
fn of_object(error: &ResolveError) -> Status {
    match error {
        ResolveError::Unsupported => Reason::Invalid.status(
            "this agent does not resolve Kubernetes references, because it attests no Kubernetes objects; name a process",
        ),
        ResolveError::NotFound | ResolveError::Process(ProcessError::Ended | ProcessError::NotVisible) => {
            Reason::NotFound.status(error.to_string())
        }
        ResolveError::Process(ProcessError::NoPidfd(_)) | ResolveError::Unavailable(_) => {
            Status::unavailable(error.to_string())
        }
    }
}

/// A process by its number.
async fn by_number(caller: &Caller, pid: i32) -> Result<Process, Status> {
    let peer = caller.peer().clone();
    let work = tokio::task::spawn_blocking(move || {
        // What a number means is a matter of the PID namespace: elsewhere it is another process's.
        let broker = Process::new(peer.pid, peer.uid, peer.gid, peer.pidfd);
        let counts_as_we_do = broker.is_ok_and(|broker| broker.counts_as_we_do().unwrap_or(false));
        if !counts_as_we_do {
            return Err(Reason::Invalid.status(
                "the broker is not known to be in the agent's PID namespace, so its process IDs mean others here; \
                 run it in the host's PID namespace",
            ));
        }
        Process::by_number(pid).map_err(|error| match error {
            ProcessError::NotVisible | ProcessError::Ended => {
                Reason::NotFound.status(format!("there is no process {pid}"))
            }
            ProcessError::NoPidfd(_) => Status::unavailable(error.to_string()),
        })
    });
    work.await
        .map_err(|_| Status::unavailable("the agent is stopping"))?
}

impl Call {
    /// A stream of messages as this caller gets it: as long as its SVID counts and the workload lives.
    fn answer<M: Send + 'static, T: Send + 'static>(
        self,
        opened: Result<Messages<M>, Status>,
        convert: fn(M) -> T,
    ) -> Result<Response<Messages<T>>, Status> {
        let Self {
            caller,
            process,
            share,
        } = self;
        let messages = opened.map_err(|status| of_workload(&process, status))?;
        tracing::debug!(caller.id = %caller.id(), workload.pid = process.pid(), "a broker follows a workload");
        let messages = messages.map(move |message| {
            // Given back with the stream.
            let _held = &share;
            message
                .map(convert)
                .map_err(|status| of_workload(&process, status))
        });
        Ok(Response::new(caller.guard(messages.boxed())))
    }
}

#[tonic::async_trait]
impl Api for Service {
    type SubscribeToX509SVIDStream = Messages<SubscribeToX509svidResponse>;
    type SubscribeToX509BundlesStream = Messages<SubscribeToX509BundlesResponse>;
    type SubscribeToJWTBundlesStream = Messages<SubscribeToJwtBundlesResponse>;

    async fn subscribe_to_x509svid(
        &self,
        request: Request<SubscribeToX509svidRequest>,
    ) -> Result<Response<Self::SubscribeToX509SVIDStream>, Status> {
        let call = self.begin(&request, request.get_ref().reference.as_ref()).await?;
        let opened = self.workloads.x509_svids(call.process.clone()).await;
        call.answer(opened, |message| SubscribeToX509svidResponse {
            svids: message.svids.into_iter().map(svid).collect(),
            crl: message.crl,
            federated_bundles: message.federated_bundles,
        })
    }

    async fn subscribe_to_x509_bundles(
        &self,
        request: Request<SubscribeToX509BundlesRequest>,
    ) -> Result<Response<Self::SubscribeToX509BundlesStream>, Status> {
        let call = self.begin(&request, request.get_ref().reference.as_ref()).await?;
        let opened = self.workloads.x509_bundles(call.process.clone()).await;
        call.answer(opened, |message| SubscribeToX509BundlesResponse {
            crl: message.crl,
            bundles: message.bundles,
        })
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<FetchJwtsvidRequest>,
    ) -> Result<Response<FetchJwtsvidResponse>, Status> {
        let call = self.begin(&request, request.get_ref().reference.as_ref()).await?;
        let FetchJwtsvidRequest {
            audience, spiffe_id, ..
        } = request.into_inner();
        let wanted = workload::JwtsvidRequest { audience, spiffe_id };
        let tokens = self.workloads.jwt_svids(&call.process, &wanted).await;
        let tokens = tokens.map_err(|status| of_workload(&call.process, status))?;
        // What is asked for may have taken its time.
        call.caller.check()?;
        let svids = tokens.svids.into_iter().map(|token| Jwtsvid {
            spiffe_id: token.spiffe_id,
            svid: token.svid,
            hint: token.hint,
        });
        Ok(Response::new(FetchJwtsvidResponse {
            svids: svids.collect(),
        }))
    }

    async fn subscribe_to_jwt_bundles(
        &self,
        request: Request<SubscribeToJwtBundlesRequest>,
    ) -> Result<Response<Self::SubscribeToJWTBundlesStream>, Status> {
        let call = self.begin(&request, request.get_ref().reference.as_ref()).await?;
        let opened = self.workloads.jwt_bundles(call.process.clone()).await;
        call.answer(opened, |message| SubscribeToJwtBundlesResponse {
            bundles: message.bundles,
        })
    }
}

fn svid(svid: workload::X509svid) -> X509svid {
    X509svid {
        spiffe_id: svid.spiffe_id,
        x509_svid: svid.x509_svid,
        x509_svid_key: svid.x509_svid_key,
        bundle: svid.bundle,
        hint: svid.hint,
    }
}
