//! Dials one peer when a session is wanted and there is none.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use signet_session::{Redial, courtesy};
use tokio::time::sleep;

use super::establish::dial;
use super::manager::{Peer, Sessions, State};
use crate::clock::{now, random};
use crate::pairs::chain;
use crate::tasks;

/// Runs until the peer leaves the view, or its number is another node's: what was learnt of one says nothing of the other.
pub(super) async fn run(sessions: Arc<Sessions>, peer: Arc<Peer>) {
    let mut view = sessions.context.knowledge.view.clone();
    let mut redial = Redial::default();
    let mut name = None;
    loop {
        let is_known = view.borrow_and_update().as_ref().is_none_or(|view| {
            let node = view.node_by_number(peer.number);
            node.is_some_and(|node| *name.get_or_insert_with(|| node.name.clone()) == node.name)
        });
        if !is_known {
            tracing::info!(peer.node = peer.number.get(), "the node has left the view");
            sessions.forget(&peer);
            return;
        }
        tokio::select! {
            () = peer.demand.notified() => {}
            changed = view.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        if matches!(*peer.state.borrow(), State::Up(_)) {
            continue;
        }
        let pause = redial.wanted(now().clock, random());
        if !pause.is_zero() {
            wait(&peer, pause).await;
            if matches!(*peer.state.borrow(), State::Up(_)) {
                continue;
            }
        }
        let dialing = attempt_once(sessions.clone(), peer.clone());
        match tasks::run(dialing)
            .await
            .unwrap_or_else(|fault| Err(fault.to_string()))
        {
            Ok(()) => {
                redial.opened(now().clock);
                // Unless it is up, it was refused here, and nobody may wait for it.
                peer.state.send_if_modified(|state| {
                    let waiting = matches!(state, State::Connecting);
                    if waiting {
                        *state = State::Idle;
                    }
                    waiting
                });
            }
            Err(reason) => {
                tracing::debug!(
                    peer.node = peer.number.get(),
                    reason,
                    "cannot open a node session"
                );
                peer.note(&reason);
                set_unless_up(&peer, State::Backoff(reason.into()));
                let pause = wait(&peer, redial.failed(random()));
                tokio::select! {
                    () = pause => {}
                    () = sessions.context.regained() => {}
                }
                set_unless_up(&peer, State::Idle);
                if sessions.keeps(peer.number) {
                    peer.demand.notify_one();
                }
            }
        }
    }
}

async fn attempt_once(sessions: Arc<Sessions>, peer: Arc<Peer>) -> Result<(), String> {
    let context = &sessions.context;
    let view = context.view().map_err(|error| error.to_string())?;
    let node = view
        .node_by_number(peer.number)
        .ok_or("the node has left the view")?;
    set_unless_up(&peer, State::Connecting);
    let courtesy = context
        .knowledge
        .own()
        .map_or(Duration::ZERO, |own| courtesy(own, peer.number));
    if sessions.keep_all.load(Relaxed) && !courtesy.is_zero() {
        wait(&peer, courtesy).await;
        if matches!(*peer.state.borrow(), State::Up(_)) {
            return Ok(());
        }
    }
    let fresh = dial(context, node).await.map_err(|error| chain(&error))?;
    sessions.install(fresh);
    Ok(())
}

/// Waits, but not longer than until the peer's own dialing has succeeded.
async fn wait(peer: &Peer, time: Duration) {
    let mut states = peer.state.subscribe();
    tokio::select! {
        () = sleep(time) => {}
        // Its sender is held by the peer itself.
        _ = states.wait_for(|state| matches!(state, State::Up(_))) => {}
    }
}

fn set_unless_up(peer: &Peer, state: State) {
    peer.state.send_if_modified(|current| {
        if matches!(current, State::Up(_)) {
            return false;
        }
        *current = state;
        true
    });
}
