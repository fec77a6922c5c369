//! How long the CA may be gone before what it has issued lapses.

use std::collections::BTreeMap;
use std::time::Duration;

use signet_proto::ca::v1::lapse::Kind;
use signet_proto::ca::v1::{Lapse, OutageBudget};
use signet_registry::{Live, Registry, StorageError};
use signet_spiffe::{Renewal, SpiffeId, TrustDomain, UnixTime};
use tracing::info;

use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::clock::unix_seconds;
use crate::config::Config;
use crate::revoke::LIST_LIFE;
use crate::wire::whole_seconds;

/// Most nodes that are told of.
const MAX_NODES: usize = 100;

/// How long what was read serves those who come again and again, seconds.
const FRESH: u64 = 30;

/// What the lives of SVIDs are, and should be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lives {
    pub(crate) svid: Duration,
    pub(crate) node: Duration,
    pub(crate) jwt: Duration,
    pub(crate) target: Duration,
}

/// A target that SVIDs cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an availability target of {target} s is too long for {whose}, which live {life} s: no more than {longest} s of that can be \
     kept in reserve. Lower --availability-target, or give them longer lives with {option}"
)]
pub struct TargetError {
    target: u64,
    whose: &'static str,
    life: u64,
    longest: u64,
    option: &'static str,
}

impl Lives {
    /// Those that a CA is started with.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            svid: config.svid_ttl,
            node: config.node_svid_ttl,
            jwt: config.jwt_svid_ttl,
            target: config.availability_target,
        }
    }

    /// Whether SVIDs of the CA's own lives can have the target. Registrations with shorter ones are renewed as without a target.
    pub(crate) fn check(self) -> Result<(), TargetError> {
        let kinds = [
            ("SVIDs of workloads", self.svid, "--svid-ttl"),
            ("SVIDs of nodes", self.node, "--node-svid-ttl"),
        ];
        for (whose, life, option) in kinds {
            let longest = Renewal::longest_target(life);
            if self.target > longest {
                return Err(TargetError {
                    target: self.target.as_secs(),
                    whose,
                    life: life.as_secs(),
                    longest: longest.as_secs(),
                    option,
                });
            }
        }
        Ok(())
    }

    fn promised(self, life: Duration) -> Duration {
        Renewal::new(life, self.target).least_left()
    }
}

/// Makes the target that of all agents. Of several CAs the one that is started last has its say.
pub(crate) async fn announce_target(registry: &Registry, target: Duration) -> Result<(), StorageError> {
    let before = registry.set_availability_target(target).await?;
    if before != target {
        info!(
            target: AUDIT,
            { availability.target = target.as_secs(), availability.before = before.as_secs() },
            "the availability target is another one than before"
        );
    }
    Ok(())
}

impl Ca {
    /// The budget of this moment; for those who ask often, of a moment ago.
    pub(crate) async fn outage(&self, exactly: bool) -> Result<OutageBudget, StorageError> {
        let now = self.clock.now();
        let mut last = self.outage.lock().await;
        if let Some((_, budget)) = last
            .as_ref()
            .filter(|(then, _)| !exactly && now.as_secs().abs_diff(then.as_secs()) < FRESH)
        {
            return Ok(budget.clone());
        }
        let lives = Lives {
            svid: self.svid_ttl,
            node: self.node_svid_ttl,
            jwt: self.jwt_svid_ttl,
            target: self.registry.availability_target().await?,
        };
        let live = self.registry.live(now).await?;
        let budget = budget(self.trust_domain(), lives, &live, now);
        *last = Some((now, budget.clone()));
        Ok(budget)
    }
}

/// The budget at `now`. Pure.
pub(crate) fn budget(trust_domain: &TrustDomain, lives: Lives, live: &Live, now: UnixTime) -> OutageBudget {
    let lapse = |kind: Kind, life: Duration, live: u32, first: UnixTime, spiffe_id: &SpiffeId, node: &str| {
        let promised = lives.promised(life);
        Lapse {
            kind: kind.into(),
            ttl: whole_seconds(life),
            live,
            first: unix_seconds(first),
            spiffe_id: spiffe_id.to_string(),
            node: node.to_owned(),
            promised: whole_seconds(promised),
            overdue: first.as_secs().saturating_sub(now.as_secs()) < promised.as_secs(),
        }
    };
    let nodes = live.nodes.iter().map(|(name, end)| {
        let id = SpiffeId::node(trust_domain, name);
        lapse(Kind::Nodes, lives.node, 1, *end, &id, name.as_str())
    });
    let workloads = live.workloads.iter().map(|svids| {
        let life = match svids.ttl {
            0 => lives.svid,
            seconds => Duration::from_secs(seconds.into()),
        };
        let node = svids.node.as_str();
        lapse(
            Kind::Workloads,
            life,
            svids.count,
            svids.first,
            &svids.spiffe_id,
            node,
        )
    });
    let all: Vec<_> = nodes.chain(workloads).collect();
    let mut nodes = worst(&all, |lapse| lapse.node.clone());
    nodes.truncate(MAX_NODES);
    OutageBudget {
        target: whole_seconds(lives.target),
        classes: worst(&all, |lapse| (lapse.kind, lapse.ttl)),
        nodes,
        // Tokens are for the moment, and no target is theirs: agents ask for the next one before half of a life is over.
        jwt_svids: whole_seconds(lives.jwt / 2),
        // One that is a quarter of its life old is given out still; agents ask again after three fifths of what is left then.
        revocation_lists: whole_seconds(lives_left(LIST_LIFE * 3 / 4)),
    }
}

fn lives_left(life: Duration) -> Duration {
    Renewal::new(life, Duration::ZERO).least_left()
}

/// Of each group the one that lapses first, with the count of all; groups in the order in which they lapse.
fn worst<K: Ord>(all: &[Lapse], group: impl Fn(&Lapse) -> K) -> Vec<Lapse> {
    let mut groups: BTreeMap<K, Lapse> = BTreeMap::new();
    for lapse in all {
        let live = groups.get(&group(lapse)).map_or(0, |known| known.live);
        let slot = groups.entry(group(lapse)).or_insert_with(|| lapse.clone());
        if lapse.first < slot.first {
            *slot = lapse.clone();
        }
        slot.live = live.saturating_add(lapse.live);
    }
    let mut worst: Vec<_> = groups.into_values().collect();
    worst.sort_by(|a, b| (a.first, &a.node).cmp(&(b.first, &b.node)));
    worst
}

#[cfg(test)]
mod tests {
    use signet_registry::LiveSvids;
    use signet_spiffe::NodeName;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(NOW + seconds))
    }

    fn lives(target: u64) -> Lives {
        Lives {
            svid: Duration::from_hours(1),
            node: Duration::from_hours(24),
            jwt: Duration::from_mins(5),
            target: Duration::from_secs(target),
        }
    }

    fn svids(node: &str, ttl: u32, count: u32, first: u64, id: &str) -> LiveSvids {
        LiveSvids {
            node: NodeName::parse(node).unwrap(),
            ttl,
            count,
            first: at(first),
            spiffe_id: SpiffeId::parse(id).unwrap(),
        }
    }

    fn of(live: &Live, target: u64) -> OutageBudget {
        budget(&TrustDomain::parse("td").unwrap(), lives(target), live, at(0))
    }

    fn live() -> Live {
        let node = |name: &str, end| (NodeName::parse(name).unwrap(), at(end));
        Live {
            nodes: vec![node("n1", 50_000), node("n2", 40_000)],
            workloads: vec![
                svids("n1", 0, 3, 2_000, "spiffe://td/a"),
                svids("n2", 0, 4, 1_500, "spiffe://td/b"),
                svids("n2", 600, 1, 100, "spiffe://td/c"),
            ],
        }
    }

    #[test]
    fn classes_and_nodes_stand_in_the_order_in_which_they_lapse_with_what_lapses_first() {
        let budget = of(&live(), 0);
        let classes: Vec<_> = budget
            .classes
            .iter()
            .map(|lapse| (lapse.kind(), lapse.ttl, lapse.live, lapse.spiffe_id.as_str()))
            .collect();
        assert_eq!(
            classes,
            [
                (Kind::Workloads, 600, 1, "spiffe://td/c"),
                (Kind::Workloads, 3600, 7, "spiffe://td/b"),
                (Kind::Nodes, 86_400, 2, "spiffe://td/signet/node/n2"),
            ]
        );
        let nodes: Vec<_> = budget
            .nodes
            .iter()
            .map(|lapse| (lapse.node.as_str(), lapse.live, lapse.first - unix_seconds(at(0))))
            .collect();
        assert_eq!(nodes, [("n2", 6, 100), ("n1", 4, 2_000)]);
        assert_eq!((budget.jwt_svids, budget.revocation_lists), (150, 18 * 60));
    }

    #[test]
    fn what_has_less_left_than_agents_leave_is_overdue() {
        let overdue = |budget: OutageBudget| {
            budget
                .classes
                .iter()
                .filter(|lapse| lapse.overdue)
                .map(|lapse| (lapse.ttl, lapse.promised))
                .collect::<Vec<_>>()
        };
        assert_eq!(overdue(of(&live(), 0)), [(600, 240)]);
        assert_eq!(
            overdue(of(&live(), 1_800)),
            [(600, 240), (3_600, 1_980)],
            "a target makes agents leave more, of what lives long enough for it"
        );
    }

    #[test]
    fn where_nothing_is_live_nothing_lapses() {
        let budget = of(&Live::default(), 60);
        assert!(budget.classes.is_empty() && budget.nodes.is_empty());
        assert_eq!(budget.target, 60);
    }

    #[test]
    fn a_target_that_a_life_has_no_room_for_is_refused_with_what_to_do() {
        assert_eq!(lives(3_240).check(), Ok(()));
        for target in [3_241, 3_600, 90_000] {
            let refused = lives(target).check().unwrap_err().to_string();
            assert!(
                refused.contains("--svid-ttl") && refused.contains("3240"),
                "{refused}"
            );
        }
        let short = Lives {
            node: Duration::from_mins(30),
            ..lives(3_000)
        };
        assert!(short.check().unwrap_err().to_string().contains("--node-svid-ttl"));
    }
}
