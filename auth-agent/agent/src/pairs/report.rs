//! Pairs for people.

use signet_abi::AuthKey;
use signet_maps::boottime_now;
use signet_pairs::Pair;
use signet_proto::agent::v1::ProofEntry;
use signet_proto::agent::v1::proof_entry::State;
use signet_session::NodeNumber;

use super::hosts;
use crate::clock::unix_now;
use crate::view::View;

/// One pair with its state.
#[derive(Clone, Debug)]
pub struct PairReport {
    /// Which.
    pub key: AuthKey,
    /// How it stands.
    pub pair: Pair,
}

impl PairReport {
    /// With the names that the view has for the numbers.
    pub fn to_wire(&self, view: Option<&View>) -> ProofEntry {
        let Self { key, pair } = self;
        let node = NodeNumber::new(key.node.0).and_then(|number| view?.node_by_number(number));
        let name = |number, node| {
            view.and_then(|view| hosts::spiffe_id(view, number, node))
                .map(|id| id.to_string())
                .unwrap_or_default()
        };
        let state = match (&pair.proof, &pair.in_flight, &pair.failure) {
            (Some(_), _, _) => State::Proven,
            (None, Some(_), _) => State::InFlight,
            (None, None, Some(_)) => State::Failed,
            (None, None, None) => State::Unspecified,
        };
        ProofEntry {
            local: name(key.local, view.and_then(View::own)),
            remote: name(key.remote, node),
            local_identity: key.local.0,
            remote_identity: key.remote.0,
            node: node.map(|node| node.name.to_string()).unwrap_or_default(),
            state: state.into(),
            not_after: pair.proof.map_or(0, |proof| to_unix(proof.not_after)),
            epoch: pair.proof.map_or(0, |proof| proof.epoch),
            reason: pair.failure.clone().unwrap_or_default(),
            latency: pair.latency,
            handshakes: pair.handshakes,
            failures: pair.failures,
        }
    }
}

/// Unix seconds of an instant of the boot clock.
pub(crate) fn to_unix(boottime: u64) -> i64 {
    let ahead = i128::from(boottime) - i128::from(boottime_now());
    unix_now().saturating_add(i64::try_from(ahead.div_euclid(1_000_000_000)).unwrap_or(i64::MAX))
}
