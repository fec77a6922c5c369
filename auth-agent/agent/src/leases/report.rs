//! Leases for people.

use signet_lease::{Entry, Facts};
use signet_maps::boottime_now;
use signet_proto::agent::v1::{LeaseEntry, LeaseStatus, ListLeasesResponse};
use signet_session::NodeNumber;

use super::handle::Leases;
use crate::pairs::to_unix;
use crate::view::View;

impl Leases {
    /// Every address that another node claims, and every one that this node does.
    pub fn report(&self) -> ListLeasesResponse {
        let Some(view) = self.view() else {
            return ListLeasesResponse::default();
        };
        let now = boottime_now();
        let held = self.lock().book.report(&*view, now);
        let held = held.into_iter().map(|entry| wire(&entry, &view, now)).collect();
        let own = self.own().borrow().clone();
        let node = view.self_name().to_string();
        let number = view.own().map_or(0, |own| own.number.get());
        let granted = own
            .iter()
            .flat_map(|table| table.iter())
            .map(|(address, id)| LeaseEntry {
                node: node.clone(),
                node_id: number,
                address: address.to_string(),
                spiffe_id: id.to_string(),
                identity: view.identity(id).map_or(0, |identity| identity.0),
                state: "granted".to_owned(),
                ..LeaseEntry::default()
            });
        ListLeasesResponse {
            held,
            granted: granted.collect(),
        }
    }

    /// How it stands with all of them.
    pub fn status_report(&self) -> LeaseStatus {
        let counts = self.counts();
        let own = self.own().borrow().as_ref().map_or(0, |table| table.len());
        let now = boottime_now();
        let state = self.lock();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let mut live = 0_u32;
        let mut lapsed = 0_u32;
        for (_, not_after) in state.book.ends() {
            let counter = if now < not_after { &mut live } else { &mut lapsed };
            *counter = counter.saturating_add(1);
        }
        LeaseStatus {
            held: count(state.book.written().count()),
            granted: count(own),
            nodes: live,
            lapsed_nodes: lapsed,
            conflicts: count(state.book.conflicts()),
            refused: count(state.book.refused()),
            without_room: count(state.book.without_room()),
            grants_received: counts.grants,
            lapses: counts.lapses,
            refusals: counts.refusals,
        }
    }
}

fn wire(entry: &Entry, view: &View, now: u64) -> LeaseEntry {
    let name = |number: NodeNumber| {
        view.node_by_number(number)
            .map_or_else(|| number.to_string(), |node| node.name.to_string())
    };
    let (state, reason) = match &entry.refusal {
        Some(signet_lease::Refusal::Conflict(others)) => {
            let others: Vec<String> = others.iter().map(|other| name(*other)).collect();
            let others = others.join(", ");
            let reason =
                format!("claimed by {others}, too: none is believed until one withdraws it, or leaves");
            ("conflict", reason)
        }
        Some(why) => ("refused", why.to_string()),
        None if !entry.written => (
            "no room",
            "the map is full: give signet-meshd a larger --map-leases".to_owned(),
        ),
        None if entry.not_after == 0 => ("waiting", "the node has not granted it yet".to_owned()),
        None if entry.not_after <= now => ("lapsed", "the node has not renewed it".to_owned()),
        None => ("held", String::new()),
    };
    LeaseEntry {
        node: name(entry.node),
        node_id: entry.node.get(),
        address: entry.address.to_string(),
        spiffe_id: entry.id.to_string(),
        identity: Facts::registered(view, entry.node, &entry.id).map_or(0, |identity| identity.0),
        not_after: if entry.not_after == 0 {
            0
        } else {
            to_unix(entry.not_after)
        },
        left_ms: entry.not_after.saturating_sub(now) / 1_000_000,
        state: state.to_owned(),
        reason,
    }
}
