//! Tasks of which none gets lost.
//!
//! A fault in one pair, peer or certificate must not take the others' with it, over and over: what caused it comes again
//! after a restart. So a task that panics is not the end of the process. But whoever waits for it must hear of it, or the
//! pair stays in flight for ever: a [`Tasks`] says of every task that ends whose it was.

use std::collections::HashMap;

use signet_pairs::ProveError;
use tokio::task::{Id, JoinError, JoinSet};

/// A task ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signet-agent has a fault, see its log; please report it")]
pub struct Fault;

impl From<JoinError> for Fault {
    fn from(error: JoinError) -> Self {
        tracing::error!(%error, "a task panicked");
        Self
    }
}

impl From<Fault> for ProveError {
    fn from(Fault: Fault) -> Self {
        Self::Fault
    }
}

/// Tasks with a key each.
#[derive(Debug)]
pub struct Tasks<K, T> {
    set: JoinSet<T>,
    keys: HashMap<Id, K>,
}

impl<K, T: Send + 'static> Tasks<K, T> {
    /// How many are under way.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Starts one.
    pub fn spawn(&mut self, key: K, task: impl Future<Output = T> + Send + 'static) {
        let id = self.set.spawn(task).id();
        self.keys.insert(id, key);
    }

    /// The next one that has ended, whatever way. None if there is none. Nothing is lost if the caller stops waiting.
    pub async fn next(&mut self) -> Option<(K, Result<T, Fault>)> {
        let (id, result) = match self.set.join_next_with_id().await? {
            Ok((id, result)) => (id, Ok(result)),
            Err(error) => (error.id(), Err(error.into())),
        };
        Some((self.keys.remove(&id)?, result))
    }
}

impl<K, T> Default for Tasks<K, T> {
    fn default() -> Self {
        Self {
            set: JoinSet::new(),
            keys: HashMap::new(),
        }
    }
}

/// Runs a task to its end, and does not end with it.
pub async fn run<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> Result<T, Fault> {
    // Dropped before its end, it goes with us.
    let mut one = JoinSet::new();
    one.spawn(task);
    match one.join_next().await {
        Some(result) => result.map_err(Fault::from),
        None => Err(Fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_gives_its_key_back() {
        let mut tasks = Tasks::default();
        tasks.spawn("good", async { 1 });
        tasks.spawn("bad", async { panic!("a fault") });
        let mut ended = Vec::new();
        while let Some(end) = tasks.next().await {
            ended.push(end);
        }
        ended.sort_by_key(|(key, _)| *key);
        assert_eq!(ended, [("bad", Err(Fault)), ("good", Ok(1))]);
        assert!(tasks.is_empty() && tasks.keys.is_empty());
    }

    #[tokio::test]
    async fn a_fault_ends_at_its_edge() {
        assert_eq!(run(async { 1 }).await, Ok(1));
        assert_eq!(run::<u8>(async { panic!("a fault") }).await, Err(Fault));
    }
}
