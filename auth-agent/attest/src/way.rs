//! One way of telling what a process is, as all of them look to the agent.

use std::fmt::Debug;
use std::pin::Pin;

use tokio::sync::watch;

use crate::attestor::AttestError;
use crate::{Process, ProcessError, Selector, Selectors};

/// A way of telling what workload a process is.
///
/// The kernel's word on a process, its control group and the endpoint of its network namespace are such ways; Kubernetes is another one,
/// whose pods are told by the container that a control group belongs to. A way says what it knows of a process that is held by a
/// pidfd, when that may be otherwise without the process having done anything, and which process is meant by the name of an object.
///
/// ```
/// # use std::sync::Arc;
/// # use signet_attest::{AttestError, Attestor, Known, Process, WorkloadAttestor};
/// /// Everything is the endpoint `shop/web`.
/// #[derive(Debug)]
/// struct Fixed;
///
/// impl WorkloadAttestor for Fixed {
///     fn attest(&self, _process: &Process) -> Result<Known, AttestError> {
///         Ok(Known::all(["endpoint:shop/web".parse().unwrap()]))
///     }
/// }
///
/// let attestor = Attestor::new([Arc::new(Fixed) as Arc<dyn WorkloadAttestor>]);
/// ```
pub trait WorkloadAttestor: Debug + Send + Sync {
    /// What is known of the process now. Called before anything is given to it, and again after each of [`changes`](Self::changes).
    ///
    /// May block, on files and on other programs of the node; bounded in time, for others wait meanwhile. What is read under the
    /// process's number is the process's: after all ways have been asked, [`Attestor`](crate::Attestor) makes sure that it still
    /// lives, and else believes none of it. Of a process that is not [exact](Process::is_exact) the number may have been another's
    /// before: what is read under it must not be told.
    ///
    /// # Errors
    /// The process gets nothing, whatever others say of it. Where a way knows nothing of a process that is an empty answer and no
    /// error; where it cannot tell yet, one that is not [complete](Known::complete).
    fn attest(&self, process: &Process) -> Result<Known, AttestError>;

    /// Tells when processes may be something else than they were, so that streams look again: a pod has come or gone, say. Made before
    /// the first look, so that no change is missed. Nothing for ways by which a process alone can change what it is.
    fn changes(&self) -> Option<Box<dyn Changes>> {
        None
    }

    /// The process that stands for an object that somebody names, held.
    ///
    /// Hold it first, then make sure that what is held is the object's: its number may have gone to another between the two. It is
    /// attested like any other afterwards, and gets what *it* is entitled to.
    ///
    /// # Errors
    /// See [`ResolveError`]; [`Unsupported`](ResolveError::Unsupported) has the next way asked.
    fn resolve(&self, _object: &ObjectReference) -> Result<Process, ResolveError> {
        Err(ResolveError::Unsupported)
    }
}

/// What one way, or all of them, know of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it is.
    pub selectors: Selectors,
    /// Whether that is all. Where it is not, a process that gets nothing is told to come back, and not that it may have nothing.
    pub complete: bool,
}

impl Known {
    /// All that there is to know.
    pub fn all(selectors: impl IntoIterator<Item = Selector>) -> Self {
        Self {
            selectors: selectors.into_iter().collect(),
            complete: true,
        }
    }

    /// Nothing yet: what would tell is not there.
    pub fn nothing_yet() -> Self {
        Self {
            selectors: Selectors::default(),
            complete: false,
        }
    }
}

/// An object that a process can stand for, as Kubernetes names its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectReference {
    /// Plural of the kind and API group: `pods` and `core`.
    pub kind: (String, String),
    /// Namespace, empty where there is none, and name.
    pub key: Option<(String, String)>,
    /// As Kubernetes writes it. With the key it has to be one object's.
    pub uid: Option<String>,
}

/// Why an object has no process here.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Objects of this kind are not known by this way.
    #[error("this agent attests no objects of that kind")]
    Unsupported,
    /// There is none, or none on this node.
    #[error("there is no such object on this node")]
    NotFound,
    /// It is there, and its process has ended.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Whoever knows cannot be asked now.
    #[error("{0}; try again")]
    Unavailable(String),
}

/// Whoever told of changes is gone, and so is what it told: whoever waits ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Changes since it was made.
pub trait Changes: Send {
    /// Comes back after the next change, or at once after one that was not waited for. To stop waiting loses none.
    fn changed(&mut self) -> Pin<Box<dyn Future<Output = Result<(), Gone>> + Send + '_>>;
}

impl<T: Send + Sync> Changes for watch::Receiver<T> {
    fn changed(&mut self) -> Pin<Box<dyn Future<Output = Result<(), Gone>> + Send + '_>> {
        Box::pin(async { Self::changed(self).await.map_err(|_| Gone) })
    }
}
