use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::watch;

use crate::cgroup::Cgroups;
use crate::endpoint::Endpoints;
use crate::unix::Unix;
use crate::way::{Changes, Gone, Known, ObjectReference, ResolveError, WorkloadAttestor};
use crate::{EndpointTable, Process};

/// All the ways of telling what a process is, together. Shared by all; cheap to clone.
#[derive(Clone, Debug)]
pub struct Attestor(Arc<[Arc<dyn WorkloadAttestor>]>);

/// Why a process is not attested.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// It ended before all was read, so that what was read may be another's.
    #[error("the process ended while it was attested")]
    Ended,
    /// It is not who it was when it connected.
    #[error("the process has changed its user or group since it connected; connect again")]
    CredentialsChanged,
    /// `/proc` does not tell.
    #[error("cannot read what /proc says of the process")]
    Proc(#[source] io::Error),
}

impl Default for Attestor {
    /// By what the kernel says of processes.
    fn default() -> Self {
        Self::new([
            Arc::new(Cgroups) as Arc<dyn WorkloadAttestor>,
            Arc::new(Unix::default()),
        ])
    }
}

impl Attestor {
    /// By these ways, asked in this order.
    pub fn new(ways: impl IntoIterator<Item = Arc<dyn WorkloadAttestor>>) -> Self {
        Self(ways.into_iter().collect())
    }

    /// By what the kernel says of processes, and by this node's endpoints.
    pub fn of_node(endpoints: watch::Receiver<Option<Arc<EndpointTable>>>) -> Self {
        // Users and groups last: see `Unix`.
        Self::new([
            Arc::new(Endpoints::new(endpoints)) as Arc<dyn WorkloadAttestor>,
            Arc::new(Cgroups),
            Arc::new(Unix::default()),
        ])
    }

    /// What all of them know of a process. Blocks: reads the whole executable the first time it is seen.
    ///
    /// # Errors
    /// See [`AttestError`]; none of them may end in an identity.
    pub fn attest(&self, process: &Process) -> Result<Known, AttestError> {
        let known = self.ask_all(process);
        // The PID named this process at every read above if it is alive now: a PID is free only after its process.
        if process.is_alive().map_err(AttestError::Proc)? {
            known
        } else {
            Err(AttestError::Ended)
        }
    }

    fn ask_all(&self, process: &Process) -> Result<Known, AttestError> {
        let mut all = Known::all([]);
        for way in &*self.0 {
            let known = way.attest(process)?;
            all.selectors.absorb(known.selectors);
            all.complete &= known.complete;
        }
        Ok(all)
    }

    /// Changes of what any of them would say, from now on.
    pub fn changes(&self) -> AllChanges {
        AllChanges(self.0.iter().filter_map(|way| way.changes()).collect())
    }

    /// The process that stands for an object, held; by the first of them that knows such objects. May block.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub fn resolve(&self, object: &ObjectReference) -> Result<Process, ResolveError> {
        let answers = self.0.iter().map(|way| way.resolve(object));
        let mut known = answers.filter(|answer| !matches!(answer, Err(ResolveError::Unsupported)));
        known.next().unwrap_or(Err(ResolveError::Unsupported))
    }
}

/// Changes by any of several ways.
pub struct AllChanges(Vec<Box<dyn Changes>>);

impl AllChanges {
    /// Comes back after the next change, or at once after one that was not waited for. To stop waiting loses none.
    ///
    /// # Errors
    /// One of those who tell is gone.
    pub async fn changed(&mut self) -> Result<(), Gone> {
        let mut waiting: Vec<_> = self.0.iter_mut().map(|one| one.changed()).collect();
        poll_fn(|context| {
            for one in &mut waiting {
                if let Poll::Ready(changed) = one.as_mut().poll(context) {
                    return Poll::Ready(changed);
                }
            }
            Poll::Pending
        })
        .await
    }
}
