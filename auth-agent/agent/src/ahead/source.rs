//! The pairs that are worth a proof, from signet-meshd.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use signet_abi::{NodeId, SecurityIdentity};
use signet_preauth::{Demand, Group, Place};
use signet_proto::mesh::v1::mesh_service_client::MeshServiceClient;
use signet_proto::mesh::v1::{Pairs as Wire, WatchPairsRequest};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::clock::{backoff, random};

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);
const OPEN: Duration = Duration::from_secs(5);
/// Most numbers of all groups together; what is beyond is left to first packets.
const MOST: usize = 131_072;

/// From meshd's word. Numbers are left out that nobody here has, or that nobody elsewhere can prove.
pub fn parse(wire: &Wire) -> Demand {
    let mut room = MOST;
    let mut groups = Vec::new();
    for group in &wire.groups {
        let workloads = |numbers: &[u32]| numbers.iter().copied().map(SecurityIdentity).collect::<Vec<_>>();
        let is_workload = |identity: &SecurityIdentity| identity.is_workload();
        let locals = workloads(&group.locals).into_iter().filter(is_workload);
        let places = workloads(&group.remotes).into_iter().zip(&group.nodes);
        let can_prove = |identity: &SecurityIdentity| {
            let nodes = [SecurityIdentity::HOST, SecurityIdentity::REMOTE_NODE];
            identity.is_workload() || nodes.contains(identity)
        };
        let places = places.filter(|(identity, node)| can_prove(identity) && **node != NodeId::NONE.0);
        let group = Group {
            locals: locals.take(room).collect(),
            remotes: places
                .take(room)
                .map(|(identity, node)| Place {
                    identity,
                    node: NodeId(*node),
                })
                .collect(),
        };
        let numbers = group.locals.len() + group.remotes.len();
        if numbers > room {
            break;
        }
        room -= numbers;
        groups.push(group);
    }
    Demand::new(groups)
}

/// Runs for ever. While meshd is away what it said last stays: a proof that is not needed permits nothing.
pub async fn watch(socket: PathBuf, all: bool, publish: watch::Sender<Option<Arc<Demand>>>) {
    let mut attempt = 0;
    loop {
        let before = publish.borrow().clone();
        if let Err(error) = stream(&socket, all, &publish).await {
            tracing::debug!(error = format!("{error:#}"), "no pairs from signet-meshd");
        }
        let came = !same(before.as_ref(), publish.borrow().as_ref());
        attempt = if came { 0 } else { attempt + 1 };
        sleep(backoff(FIRST_RETRY, LAST_RETRY, attempt.min(16), random())).await;
    }
}

fn same(one: Option<&Arc<Demand>>, other: Option<&Arc<Demand>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

async fn stream(
    socket: &Path,
    all: bool,
    publish: &watch::Sender<Option<Arc<Demand>>>,
) -> anyhow::Result<()> {
    let mut client = MeshServiceClient::new(signet_uds::connect(socket)?);
    let mut updates = timeout(OPEN, client.watch_pairs(WatchPairsRequest { all }))
        .await
        .context("signet-meshd does not answer")??
        .into_inner();
    while let Some(update) = updates.message().await? {
        if update.cut {
            tracing::warn!(
                "there are more pairs than can be proven ahead: the rest is proven by its first packets"
            );
        }
        let demand = Arc::new(parse(&update));
        publish.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&demand);
            if changed {
                *known = Some(demand);
            }
            changed
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use signet_proto::mesh::v1::PairGroup;

    use super::*;

    #[test]
    fn numbers_of_nobody_and_places_without_a_node_are_left_out() {
        let wire = Wire {
            groups: vec![
                PairGroup {
                    locals: vec![300, 2],
                    remotes: vec![400, 3, 401, 402],
                    // The last one has none.
                    nodes: vec![2, 2, 0],
                },
                PairGroup {
                    locals: vec![301, 1],
                    remotes: vec![2],
                    nodes: vec![2],
                },
            ],
            cut: false,
        };
        let demand = parse(&wire);
        let [group] = demand.groups() else {
            unreachable!("one group has pairs: {demand:?}")
        };
        assert_eq!((demand.len(), group.locals.len()), (1, 1));
    }

    #[test]
    fn nodes_may_be_on_the_other_side_and_on_no_other() {
        let wire = Wire {
            groups: vec![PairGroup {
                locals: vec![300, 1, 6],
                remotes: vec![1, 6, 8, 255],
                nodes: vec![1, 2, 2, 2],
            }],
            cut: false,
        };
        let demand = parse(&wire);
        let [group] = demand.groups() else {
            unreachable!("one group has pairs: {demand:?}")
        };
        assert_eq!((group.locals.len(), group.remotes.len()), (1, 2));
    }
}
