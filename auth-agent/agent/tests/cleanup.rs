//! What goes away does so every time, and not only the first.

mod support;

use std::time::Duration;

use signet_abi::{Address, AuthValue, Lease, LeaseEndKey, LeaseKey, NodeId, SecurityIdentity};
use signet_agent::auth::{AuthStore as _, MemoryAuth};
use signet_agent::leases::{LeaseStore as _, MemoryLeases};
use signet_lease::Write;
use signet_maps::boottime_now;
use support::{Setup, World, address, key};
use tokio::time::{sleep, timeout};

const FAR: u64 = 3_600_000_000_000;
/// How often what should not be there is put into the kernel's maps.
const PASSES: u32 = 100;
/// Of a paused clock: several times what lies between two looks at the maps.
const LONG: Duration = Duration::from_mins(3);

async fn goes(pass: u32, what: &str, is_there: impl Fn() -> bool) {
    let going = async {
        while is_there() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let gone = timeout(LONG, going).await;
    assert!(gone.is_ok(), "pass {pass}: {what} stays");
}

#[tokio::test(start_paused = true)]
async fn proofs_that_nobody_made_go_the_hundredth_time_and_after_every_fault() {
    let mut auth = MemoryAuth::new(1000);
    let setup = Setup {
        auth: auth.clone(),
        ..Setup::default()
    };
    let world = World::new(vec![setup], &[(1, 300), (1, 301)]).await;
    assert_eq!(world.node(1).prove(300, 301, 1).await.pair.failure, None);
    for pass in 1..=PASSES {
        // A real pair, of another node; and one of this node that was never proven.
        for stray in [key(300, 400 + pass, 2), key(301, 301, 1)] {
            let value = AuthValue {
                not_after: boottime_now() + FAR,
                epoch: pass,
                made: 0,
                used: 0,
            };
            auth.insert(&stray, &value).expect("room");
        }
        // Every other look fails.
        auth.fail(pass % 2);
        let seen = auth.clone();
        goes(pass, "a proof that nobody made", || {
            seen.get(&key(300, 400 + pass, 2)).is_some() || seen.get(&key(301, 301, 1)).is_some()
        })
        .await;
    }
    assert!(auth.get(&key(300, 301, 1)).is_some(), "the real one stays");
}

#[tokio::test(start_paused = true)]
async fn leases_that_nobody_gave_go_the_hundredth_time() {
    let mut leases = MemoryLeases::new(1000);
    let setup = Setup {
        leases: leases.clone(),
        ..Setup::default()
    };
    let _world = World::new(vec![setup], &[(1, 300)]).await;
    for pass in 1..=PASSES {
        let place = LeaseKey(Address::from(address(2, 400 + pass)));
        let end = LeaseEndKey(NodeId(1 + pass));
        let lease = Lease {
            identity: SecurityIdentity(400),
            node: NodeId(2),
        };
        for write in [Write::Put(place, lease), Write::Extend(end, boottime_now() + FAR)] {
            leases.write(&write).expect("room");
        }
        let seen = leases.clone();
        goes(pass, "a lease that nobody gave", || {
            seen.get(&place).is_some() || seen.end(&end) != 0
        })
        .await;
    }
}
