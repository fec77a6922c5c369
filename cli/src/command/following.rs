//! What happens at several nodes, as it happens.

use tokio::sync::mpsc;
use tonic::Streaming;

use crate::clients::{Daemon, Node};
use crate::command::heard::Missing;
use crate::failure::{DONE, Failure};
use crate::output::{Output, View};
use crate::target::Target;

/// Events that wait for a slow terminal before the nodes are read no further.
const QUEUE: usize = 1024;

/// Shows the events of all nodes until the last of them ends, or the reader goes away. One that fails does not hide the others, where
/// there are any.
///
/// `open` begins a node's stream, and says which of its daemons tells.
pub(crate) async fn follow<E, V, O, F>(
    target: &Target,
    output: &Output,
    open: O,
    view: impl Fn(&str, E) -> V,
) -> Result<u8, Failure>
where
    E: Send + 'static,
    V: View,
    O: Fn(Node) -> F,
    F: Future<Output = Result<(Daemon, Streaming<E>), Failure>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    for node in &target.nodes {
        tokio::spawn(forward(node.clone(), open(node.clone()), sender.clone()));
    }
    drop(sender);
    let mut code = DONE;
    while let Some((node, event)) = receiver.recv().await {
        match event {
            Ok(event) => output.show_line(&view(&node, event))?,
            Err(failure) if target.nodes.len() == 1 => return Err(failure),
            Err(failure) => {
                let mut missing = Missing::default();
                missing.push(node, failure);
                code = code.max(missing.tell(output));
            }
        }
    }
    Ok(code)
}

type Told<E> = (String, Result<E, Failure>);

async fn forward<E>(
    node: Node,
    open: impl Future<Output = Result<(Daemon, Streaming<E>), Failure>>,
    sender: mpsc::Sender<Told<E>>,
) {
    let name = node.name().await;
    let (daemon, mut stream) = match open.await {
        Ok(opened) => opened,
        Err(failure) => {
            // Nobody reads any more: nothing to tell.
            let _ = sender.send((name, Err(failure))).await;
            return;
        }
    };
    loop {
        let event = match stream.message().await {
            Ok(Some(event)) => Ok(event),
            Ok(None) => return,
            Err(status) => Err(daemon.failure(&status)),
        };
        let ended = event.is_err();
        if sender.send((name.clone(), event)).await.is_err() || ended {
            return;
        }
    }
}
