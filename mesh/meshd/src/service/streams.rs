//! Streams to those who follow.

use std::sync::Arc;

use signet_endpoints::{Desired, Worth};
use signet_proto::mesh::v1::{Endpoints, FlowEvent, FlowsRequest, Pairs};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{Lookups, clock, list};
use crate::explain::Maps as _;
use crate::flows::{FlowLog, event, is_drop, pair};
use crate::known::Known;

/// Flow events on their way to one consumer.
const QUEUE: usize = 256;

/// This node's endpoints, at once and whenever they change; a slow consumer sees the newest state only. With `beats` also, at each
/// of them, that nothing has changed.
pub(super) fn endpoints(
    mut known: watch::Receiver<Arc<Known>>,
    mut beats: Option<watch::Receiver<u64>>,
    permit: OwnedSemaphorePermit,
) -> ReceiverStream<Result<Endpoints, Status>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _permit = permit;
        let mut sent = None;
        // The number of the last beat that was told.
        let mut last = 0;
        loop {
            // Never 0, which says that there are none to come.
            let heartbeat = beats.as_mut().map_or(0, |beats| *beats.borrow_and_update() + 1);
            let now = list::local_endpoints(&known.borrow_and_update());
            let told = match now.filter(|endpoints| sent.as_ref() != Some(endpoints)) {
                Some(endpoints) => {
                    sent = Some(endpoints.clone());
                    Some(Endpoints {
                        heartbeat,
                        ..endpoints
                    })
                }
                None => (heartbeat > last && sent.is_some()).then_some(Endpoints {
                    heartbeat,
                    unchanged: true,
                    ..Endpoints::default()
                }),
            };
            if let Some(told) = told {
                last = heartbeat;
                if sender.send(Ok(told)).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                changed = known.changed() => if changed.is_err() { return },
                is_one = beat(&mut beats) => if !is_one { return },
                () = sender.closed() => return,
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// The pairs that are worth a proof, at once and whenever they change; a slow consumer sees the newest state only.
pub(super) fn pairs(
    mut known: watch::Receiver<Arc<Known>>,
    worth: Worth,
    permit: OwnedSemaphorePermit,
) -> ReceiverStream<Result<Pairs, Status>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _permit = permit;
        let mut seen: Option<Arc<Desired>> = None;
        let mut sent = None;
        loop {
            let now = Arc::clone(&known.borrow_and_update());
            let is_same = seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &now.desired));
            if now.complete && !is_same {
                let pairs = list::pairs(&now, worth);
                seen = Some(Arc::clone(&now.desired));
                if sent.as_ref() != Some(&pairs) {
                    sent = Some(pairs.clone());
                    if sender.send(Ok(pairs)).await.is_err() {
                        return;
                    }
                }
            }
            tokio::select! {
                changed = known.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// Waits for the next one, for ever where none are wanted; false: there will be none any more.
async fn beat(beats: &mut Option<watch::Receiver<u64>>) -> bool {
    match beats {
        Some(beats) => beats.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

/// Past flow events, and, if asked for, those to come.
pub(super) fn flows(
    request: FlowsRequest,
    log: Arc<FlowLog>,
    maps: Arc<Lookups>,
    known: watch::Receiver<Arc<Known>>,
    permit: OwnedSemaphorePermit,
) -> ReceiverStream<Result<FlowEvent, Status>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let _permit = permit;
        let wanted = move |flow: &signet_abi::Flow| !request.dropped || is_drop(flow);
        let mut cursor = log.cursor(usize::try_from(request.last).unwrap_or(usize::MAX), wanted);
        let mut lost = 0;
        loop {
            let (missed, batch) = log.read(&mut cursor);
            lost += missed;
            let at_end = batch.is_empty();
            let known = Arc::clone(&known.borrow());
            let clock = clock();
            for flow in batch.iter().filter(|flow| wanted(flow)) {
                let proof = pair(flow).and_then(|pair| maps.proof(&pair));
                let event = event(flow, std::mem::take(&mut lost), proof, &known, clock);
                if sender.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            if at_end && !request.follow {
                return;
            }
            if at_end {
                tokio::select! {
                    () = cursor.news() => {}
                    () = sender.closed() => return,
                }
            }
        }
    });
    ReceiverStream::new(receiver)
}
