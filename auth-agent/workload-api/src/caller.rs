use std::sync::Arc;
use std::time::Duration;

use signet_attest::{AllChanges, AttestError, Attestor, Known, ObjectReference, Process, ResolveError};
use signet_uds::PeerInfo;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::Offers;
use crate::entitlement::{Entitlement, Grant, entitlement};

/// How many processes are attested at once: each reads a whole executable the first time.
const AT_ONCE: usize = 8;
/// How much a caller is told of what is known of it, bytes.
const TOLD: usize = 1024;
/// How long a caller waits for its attestation, the queue included.
const DEADLINE: Duration = Duration::from_secs(10);

/// Attests callers, off the executor's threads.
#[derive(Clone, Debug)]
pub(crate) struct Attestations {
    attestor: Attestor,
    permits: Arc<Semaphore>,
}

impl Attestations {
    pub(crate) fn new(attestor: Attestor) -> Self {
        Self {
            attestor,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// When to attest anew.
    pub(crate) fn changes(&self) -> AllChanges {
        self.attestor.changes()
    }

    /// The process that stands for an object. Waits with the others, for it may cost as much.
    pub(crate) async fn resolve(&self, object: ObjectReference) -> Result<Process, ResolveError> {
        let late = || ResolveError::Unavailable("too many processes are being attested".to_owned());
        let resolve = self.blocking(move |attestor| attestor.resolve(&object));
        match tokio::time::timeout(DEADLINE, resolve).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(stopped)) => Err(ResolveError::Unavailable(stopped.to_string())),
            Err(_) => Err(late()),
        }
    }

    pub(crate) async fn attest(&self, process: &Process) -> Result<Known, Status> {
        match tokio::time::timeout(DEADLINE, self.run(process.clone())).await {
            Ok(Ok(known)) => Ok(known),
            Ok(Err(error)) => Err(refusal(process, &error)),
            Err(_) => Err(Status::unavailable(
                "too many processes are being attested; try again",
            )),
        }
    }

    async fn run(&self, process: Process) -> Result<Known, Failure> {
        Ok(self.blocking(move |attestor| attestor.attest(&process)).await??)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Attestor) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| Failure::Stopped)?;
        let attestor = self.attestor.clone();
        let work = tokio::task::spawn_blocking(move || {
            // Held until the work is done, even if nobody waits for it any more.
            let _permit = permit;
            ask(&attestor)
        });
        work.await.map_err(|_| Failure::Stopped)
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Attest(#[from] AttestError),
    #[error("the agent is stopping")]
    Stopped,
}

/// The process that made a request, by its connection.
pub(crate) fn process(peer: Option<&PeerInfo>) -> Result<Process, Status> {
    let peer =
        peer.ok_or_else(|| Status::permission_denied("the Workload API is served on a Unix socket alone"))?;
    let exact = peer.pidfd.clone().filter(|_| peer.pidfd_is_exact);
    Process::new(peer.pid, peer.uid, peer.gid, exact).map_err(|error| {
        tracing::debug!(peer.pid, peer.uid, %error, "a caller of the Workload API cannot be attested");
        Status::permission_denied(error.to_string())
    })
}

/// What a process gets that was attested to be this.
pub(crate) fn granted(process: &Process, known: &Known, offers: &Offers) -> Result<Grant, Status> {
    let selectors = &known.selectors;
    match entitlement(selectors, offers) {
        Entitlement::Granted(grant) => Ok(grant),
        Entitlement::NotReady => Err(Status::unavailable(
            "the agent has not heard from the CA yet; try again",
        )),
        // Where nobody asks for endpoints they make no difference: on a node without signet-meshd they never come.
        Entitlement::Nothing if !known.complete && offers.name_endpoints() => Err(Status::unavailable(
            "this node's endpoints are not known yet; try again",
        )),
        Entitlement::Nothing => {
            tracing::debug!(peer.pid = process.pid(), %selectors, "no registration matches");
            Err(Status::permission_denied(format!(
                "no identity issued: no registration matches {}",
                shortened(selectors.to_string())
            )))
        }
    }
}

/// Long lists of groups and long paths do not fit into the headers that carry a status.
fn shortened(mut text: String) -> String {
    if text.len() > TOLD {
        text.truncate(text.floor_char_boundary(TOLD));
        text.push('…');
    }
    text
}

fn refusal(process: &Process, failure: &Failure) -> Status {
    tracing::debug!(
        peer.pid = process.pid(),
        peer.uid = process.uid(),
        error = failure as &(dyn std::error::Error + 'static),
        "a caller of the Workload API was not attested"
    );
    match failure {
        Failure::Attest(AttestError::Ended | AttestError::CredentialsChanged) => {
            Status::permission_denied(failure.to_string())
        }
        // A fault of this node's is no word on who the caller is: it keeps what it has, and asks again.
        Failure::Attest(AttestError::Proc(_)) | Failure::Stopped => Status::unavailable(failure.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tonic::Code;

    use super::*;

    #[test]
    fn a_refusal_fits_into_the_headers_whatever_is_known_of_the_caller() {
        assert_eq!(shortened("unix:uid:1".to_owned()), "unix:uid:1");
        assert!(shortened("é".repeat(40_000)).len() < TOLD + 4);
    }

    #[test]
    fn spiffe_row_40_only_who_is_somebody_else_now_is_denied() {
        let process = Process::new(
            std::process::id().cast_signed(),
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
            None,
        )
        .unwrap();
        let code = |error| refusal(&process, &Failure::Attest(error)).code();
        let no_more_files = io::Error::from_raw_os_error(24);
        assert_eq!(code(AttestError::Proc(no_more_files)), Code::Unavailable);
        assert_eq!(code(AttestError::CredentialsChanged), Code::PermissionDenied);
        assert_eq!(code(AttestError::Ended), Code::PermissionDenied);
    }
}
