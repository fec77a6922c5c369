//! Whether the owner of the other side's address says that it carries the identity that was proven.

use std::time::Duration;

use signet_abi::{Reason, SecurityIdentity};

use super::Maps;
use super::answer::{Answer, Verdict};
use super::side::Side;
use crate::known::Known;

const TITLE: &str = "lease";

/// Adds the step for `remote`, whose proof is there.
pub(super) fn check(known: &Known, maps: &impl Maps, remote: &Side<'_>, answer: &mut Answer) {
    let name = known.node_name(remote.node);
    if remote.node == known.config.node {
        return here(maps, remote, answer);
    }
    let now = maps.now();
    let not_after = maps.lease_end(remote.node);
    let lease = maps.lease(remote.address);
    match lease {
        Some(lease) if lease.node == remote.node && lease.identity == remote.identity && now < not_after => {
            let left = Duration::from_nanos(not_after - now).as_secs();
            answer.ok(
                TITLE,
                format!(
                    "{name} says that {} is its, for {left} s more unless it says so again",
                    remote.address
                ),
            );
        }
        _ if now >= not_after => {
            let since = if not_after == 0 {
                "has not said yet what its addresses are".to_owned()
            } else {
                format!(
                    "has not said for {} s what its addresses are",
                    lapse(now, not_after)
                )
            };
            answer.missing(TITLE, &format!("{name} {since}"));
            refuse(
                &format!(
                    "`signet auth sessions` says why there is no session with {name}; signet-agent and signet-meshd must run there, and TCP 4250 be open between the nodes"
                ),
                answer,
            );
        }
        Some(lease) if lease.node == remote.node => {
            let says = identity(known, lease.identity);
            answer.refused(
                TITLE,
                format!("{name} says that {} is {says} now", remote.address),
            );
            refuse(STALE, answer);
        }
        Some(lease) => {
            let owner = known.node_name(lease.node);
            answer.refused(
                TITLE,
                format!(
                    "{} is not on {name} any more: {owner} says that it is its",
                    remote.address
                ),
            );
            refuse(STALE, answer);
        }
        None => {
            answer.missing(
                TITLE,
                &format!(
                    "{name} does not say that it has {}, or is not believed",
                    remote.address
                ),
            );
            refuse(
                &format!(
                    "`signet auth leases` on this node says why: refused, claimed by several nodes, or no such workload there any \
                     more; if it is not in there, `signet --node {name} auth list` says whether several SPIFFE IDs are behind it"
                ),
                answer,
            );
        }
    }
}

const STALE: &str =
    "this node's configuration is older than that: see `signet status` for what it is cut off from";

fn here(maps: &impl Maps, remote: &Side<'_>, answer: &mut Answer) {
    if maps.endpoint(remote.address) == Some(remote.identity) {
        return answer.ok(TITLE, format!("{} is an endpoint of this node", remote.address));
    }
    if remote.identity == SecurityIdentity::HOST {
        return answer.ok(TITLE, format!("{} is this node's own", remote.address));
    }
    answer.refused(
        TITLE,
        format!(
            "no endpoint of this node with that identity has {}",
            remote.address
        ),
    );
    refuse("`signet identity list` shows who has the address now", answer);
}

fn identity(known: &Known, number: SecurityIdentity) -> String {
    let id = known
        .view
        .as_ref()
        .and_then(|view| view.identities.spiffe_id(number).map(ToString::to_string));
    id.unwrap_or_else(|| format!("identity {}", number.0))
}

fn lapse(now: u64, not_after: u64) -> u64 {
    Duration::from_nanos(now.saturating_sub(not_after)).as_secs()
}

fn refuse(next: &str, answer: &mut Answer) {
    answer.conclude(Verdict::Refused, Some(Reason::LeaseExpired), next);
}
