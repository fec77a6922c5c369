//! Looks at a database elsewhere, made once for all who want one at the time.
//!
//! Each look begins after the calls that it answers: what was committed before a call came in is seen by that call, as if it
//! had looked by itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as Turn, oneshot};

use crate::database::StorageError;

type Answer<V> = Result<V, Arc<StorageError>>;

/// What is asked by `K` and answered by a `V`.
#[derive(Debug)]
pub(crate) struct Gathered<K, V> {
    waiting: Mutex<Vec<(K, oneshot::Sender<Answer<V>>)>>,
    /// Held by the one who looks.
    turn: Turn<()>,
}

impl<K, V> Default for Gathered<K, V> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            turn: Turn::default(),
        }
    }
}

impl<K: Clone, V> Gathered<K, V> {
    /// Asks, together with whoever else asks. `look` answers many at once, in their order.
    pub(crate) async fn ask<F>(&self, key: K, look: impl Fn(Vec<K>) -> F) -> Result<V, StorageError>
    where
        F: Future<Output = Result<Vec<V>, StorageError>>,
    {
        loop {
            let (answer, mut answered) = oneshot::channel();
            self.waiting().push((key.clone(), answer));
            let turn = self.turn.lock().await;
            match answered.try_recv() {
                Ok(answer) => return answer.map_err(StorageError::Shared),
                // Whoever looked for us went away before they knew.
                Err(oneshot::error::TryRecvError::Closed) => continue,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let (keys, callers): (Vec<_>, Vec<_>) = std::mem::take(&mut *self.waiting()).into_iter().unzip();
            let found = look(keys).await.map_err(Arc::new);
            // Callers that went away need no answer.
            match found {
                Ok(values) => {
                    for (caller, value) in callers.into_iter().zip(values) {
                        let _ = caller.send(Ok(value));
                    }
                }
                Err(error) => {
                    for caller in callers {
                        let _ = caller.send(Err(Arc::clone(&error)));
                    }
                }
            }
            drop(turn);
            if let Ok(answer) = answered.await {
                return answer.map_err(StorageError::Shared);
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(K, oneshot::Sender<Answer<V>>)>> {
        // Each change is one of the vector's own, so poison leaves none half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn who_asks_during_a_look_is_answered_by_the_next_one_and_all_of_them_by_one() {
        let gathered = Arc::new(Gathered::<u32, u32>::default());
        let (looks, go) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let ask = |key| {
            let (gathered, looks, go) = (Arc::clone(&gathered), Arc::clone(&looks), Arc::clone(&go));
            tokio::spawn(async move {
                let look = |keys: Vec<u32>| {
                    let look = looks.fetch_add(1, Ordering::SeqCst);
                    let go = Arc::clone(&go);
                    async move {
                        go.notified().await;
                        Ok(keys.into_iter().map(|key| key + look * 100).collect())
                    }
                };
                gathered.ask(key, look).await.unwrap()
            })
        };
        let first = ask(1);
        while looks.load(Ordering::SeqCst) == 0 {
            yield_now().await;
        }
        let later: Vec<_> = (2..10).map(ask).collect();
        while gathered.waiting().len() < later.len() {
            yield_now().await;
        }
        go.notify_one();
        assert_eq!(first.await.unwrap(), 1);
        while looks.load(Ordering::SeqCst) == 1 {
            yield_now().await;
        }
        go.notify_one();
        for (key, asked) in (2..10).zip(later) {
            assert_eq!(asked.await.unwrap(), key + 100);
        }
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_look_that_is_given_up_leaves_nobody_without_an_answer_and_an_error_is_everybodys() {
        let gathered = Arc::new(Gathered::<u32, u32>::default());
        let never = {
            let gathered = Arc::clone(&gathered);
            tokio::spawn(async move { gathered.ask(1, |_| std::future::pending()).await })
        };
        while gathered.turn.try_lock().is_ok() {
            yield_now().await;
        }
        let failing = |gathered: Arc<Gathered<u32, u32>>| {
            tokio::spawn(async move { gathered.ask(2, |_| async { Err(StorageError::Deaf) }).await })
        };
        let both = [failing(Arc::clone(&gathered)), failing(Arc::clone(&gathered))];
        while gathered.waiting().len() < 2 {
            yield_now().await;
        }
        never.abort();
        for one in both {
            let error = one.await.unwrap().unwrap_err();
            assert!(error.is_unavailable(), "{error}");
        }
    }
}
