//! Goes with the view, the time, and this node's endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use signet_lease::Table;
use signet_session::ADDRESSES;
use signet_spiffe::SpiffeId;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::handle::Leases;
use crate::mesh::Endpoints;
use crate::pairs::Several;
use crate::view::View;

/// Lapses are looked for this often; the kernel judges them itself.
const TICK: Duration = Duration::from_secs(1);
/// The kernel's maps are compared with what should be in them this often.
const COMPARE: Duration = Duration::from_secs(30);

/// Runs until the view's owner has gone.
pub async fn keep(
    leases: Leases,
    mut view: watch::Receiver<Option<Arc<View>>>,
    mut endpoints: watch::Receiver<Option<Arc<Endpoints>>>,
) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut compared = Instant::now();
    let mut several = Several::default();
    loop {
        tokio::select! {
            changed = view.changed() => {
                if changed.is_err() {
                    return;
                }
                leases.review();
            }
            changed = endpoints.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            _ = tick.tick() => {
                let due = compared.elapsed() >= COMPARE;
                if due {
                    compared = Instant::now();
                }
                leases.tick(due);
                continue;
            }
        }
        let known = endpoints.borrow_and_update().clone();
        // Not marked as seen: a view that has come meanwhile is yet to be reviewed by.
        let trust = view.borrow().clone();
        if let (Some(known), Some(trust)) = (known, trust) {
            let now = Several::of(&trust, &known);
            leases.set_own(own(&known, &trust, &now));
            now.tell_beyond(&several);
            several = now;
        }
    }
}

/// What this node says: its own addresses, and those of its endpoints whose identity is registered here, unless others are behind one
/// of them, too.
fn own(endpoints: &Endpoints, view: &View, several: &Several) -> Table {
    let registered: BTreeSet<&SpiffeId> = view
        .registrations()
        .map(|registration| &registration.spiffe_id)
        .collect();
    let host = SpiffeId::node(view.trust_domain(), view.self_name());
    let hosts = view.own().into_iter().flat_map(|own| own.addresses.iter());
    let mut addresses: BTreeMap<IpAddr, SpiffeId> = hosts
        .filter(|address| !address.is_loopback())
        .map(|address| (*address, host.clone()))
        .collect();
    let workloads = endpoints
        .addresses()
        .iter()
        .filter(|(address, id)| registered.contains(id) && !several.has(address));
    addresses.extend(workloads.map(|(address, id)| (*address, id.clone())));
    if addresses.len() > ADDRESSES {
        tracing::warn!(
            addresses = addresses.len(),
            most = ADDRESSES,
            "this node has more addresses than it may claim: other nodes refuse what must be proven from the rest"
        );
    }
    Table::of(addresses)
}
