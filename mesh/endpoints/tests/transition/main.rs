//! While a node goes from one state to another, after every single write: nothing passes that neither state lets
//! pass, and nothing is dropped that both let pass.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod model;
mod world;

use proptest::prelude::*;
use signet_abi::{ABI_VERSION, SecurityIdentity};
use signet_endpoints::{
    Capacity, Ifindex, InterfaceName, KernelState, PlanError, Step, Workload, WorkloadAddress, WorkloadName,
    finish, plan,
};
use signet_policy::{Labels, Name};

use crate::model::{Connection, freedom, is_held, probes, reference};
use crate::world::{World, allow, small_world, world};

const ROOMY: Capacity = Capacity {
    ipcache: 10_000,
    endpoints: 10_000,
    policy: 100_000,
};
fn run(kernel: &mut KernelState, steps: &[Step]) {
    for step in steps {
        kernel.apply(step);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn no_step_between_two_states_leaks_or_breaks(before in world(), after in world()) {
        let mut kernel = KernelState::default();
        let first = before.desired();
        let steps = plan(&kernel, &first, ROOMY).unwrap();
        run(&mut kernel, &steps);
        for probe in probes() {
            prop_assert_eq!(freedom(&kernel, probe), reference(&before, &first, &kernel, probe), "{:?}", probe);
        }

        let old = kernel.clone();
        let desired = after.desired();
        let steps = plan(&kernel, &desired, ROOMY).unwrap();
        let mut new = kernel.clone();
        run(&mut new, &steps);
        for (index, step) in steps.iter().enumerate() {
            kernel.apply(step);
            for probe in probes() {
                let (was, will, is) = (freedom(&old, probe), freedom(&new, probe), freedom(&kernel, probe));
                prop_assert!(is <= was.max(will), "step {index} {step:?} lets {probe:?} pass: {was:?} {is:?} {will:?}");
                let broken = is < was.min(will) && !is_held(&kernel, probe);
                prop_assert!(!broken, "step {index} {step:?} drops {probe:?}: {was:?} {is:?} {will:?}");
            }
        }
        for probe in probes() {
            prop_assert_eq!(freedom(&new, probe), reference(&after, &desired, &new, probe), "{:?}", probe);
        }
        prop_assert_eq!(plan(&new, &desired, ROOMY).unwrap(), vec![], "what is reached needs no more writes");
    }

    #[test]
    fn a_crash_after_any_step_is_made_good_by_the_next_plan(
        before in world(),
        after in world(),
        crash in any::<prop::sample::Index>(),
        judged in any::<prop::sample::Index>(),
    ) {
        let mut kernel = KernelState::default();
        let steps = plan(&kernel, &before.desired(), ROOMY).unwrap();
        run(&mut kernel, &steps);
        let desired = after.desired();
        let steps = plan(&kernel, &desired, ROOMY).unwrap();
        let done = &steps[..if steps.is_empty() { 0 } else { crash.index(steps.len()) }];
        // Every probe has a connection, whose last packet came somewhere on the way.
        let (earlier, later) = done.split_at(judged.index(done.len() + 1));
        run(&mut kernel, earlier);
        let connections: Vec<Connection> = probes().into_iter().map(|probe| Connection::judged(&kernel, probe)).collect();
        run(&mut kernel, later);
        kernel.unfinished = true;
        let rest = plan(&kernel, &desired, ROOMY).unwrap();
        run(&mut kernel, &rest);
        for connection in connections {
            let probe = connection.probe;
            let right = reference(&after, &desired, &kernel, probe);
            prop_assert_eq!(freedom(&kernel, probe), right, "a new connection, {:?}", probe);
            prop_assert_eq!(connection.freedom(&kernel), right, "a connection of epoch {}, {:?}", connection.epoch, probe);
        }
        prop_assert!(kernel.ipcache.values().all(|value| value.identity != SecurityIdentity::ANY), "nothing is held for ever");
        prop_assert_eq!(plan(&kernel, &desired, ROOMY).unwrap(), vec![]);
    }
}

fn reached(world: &World) -> KernelState {
    let mut kernel = KernelState::default();
    let steps = plan(&kernel, &world.desired(), ROOMY).unwrap();
    run(&mut kernel, &steps);
    kernel
}

#[test]
fn a_fresh_node_is_closed_until_the_last_write() {
    let world = small_world(None);
    let steps = plan(&KernelState::default(), &world.desired(), ROOMY).unwrap();
    assert!(matches!(steps.last(), Some(Step::SetConfig(config)) if config.abi_version == ABI_VERSION));
    assert!(
        steps
            .iter()
            .rev()
            .skip(1)
            .all(|step| !matches!(step, Step::SetConfig(_)))
    );
}

#[test]
fn a_restart_finds_everything_in_place_and_writes_nothing() {
    let world = small_world(Some(vec![allow("w2")]));
    let kernel = reached(&world);
    assert!(!kernel.policy.is_empty());
    assert_eq!(plan(&kernel, &world.desired(), ROOMY).unwrap(), []);
    let closed = small_world(Some(vec![]));
    assert_eq!(
        plan(&reached(&closed), &closed.desired(), ROOMY).unwrap(),
        [],
        "a set without entries is found too"
    );
}

#[test]
fn a_start_judges_every_connection_again_once() {
    let world = small_world(Some(vec![allow("w2")]));
    let mut kernel = reached(&world);
    kernel.unfinished = true;
    let epoch = kernel.config.policy_epoch;
    let steps = plan(&kernel, &world.desired(), ROOMY).unwrap();
    assert_eq!(steps, finish(&kernel).into_iter().collect::<Vec<_>>());
    run(&mut kernel, &steps);
    assert_eq!(kernel.config.policy_epoch, epoch + 1);
    assert_eq!(
        (plan(&kernel, &world.desired(), ROOMY).unwrap(), finish(&kernel)),
        (vec![], None)
    );
}

#[test]
fn every_change_has_its_own_policy_epoch_and_none_is_zero() {
    let mut kernel = reached(&small_world(None));
    assert_eq!(kernel.config.policy_epoch, 1);
    kernel.config.policy_epoch = u32::MAX;
    let steps = plan(&kernel, &small_world(Some(vec![])).desired(), ROOMY).unwrap();
    run(&mut kernel, &steps);
    assert_eq!(kernel.config.policy_epoch, 1);
}

#[test]
fn changed_rules_are_switched_with_one_write_and_the_old_ones_go_after_a_pause() {
    let before = small_world(Some(vec![allow("w2")]));
    let after = small_world(Some(vec![allow("w2"), allow("w1")]));
    let steps = plan(&reached(&before), &after.desired(), ROOMY).unwrap();
    let kinds: Vec<u8> = steps
        .iter()
        .map(|step| match step {
            Step::PutPolicy(..) => b'p',
            Step::PutEndpoint(..) => b'e',
            Step::SetConfig(_) => b'c',
            Step::Settle => b's',
            Step::RemovePolicy(_) => b'r',
            Step::RemoveEndpoint(_) | Step::PutIpcache(..) | Step::RemoveIpcache(_) => panic!("{step:?}"),
        })
        .collect();
    assert_eq!(String::from_utf8(kinds).unwrap(), "ppecsr");
}

#[test]
fn an_interface_that_was_made_again_only_moves_the_endpoint() {
    let mut world = small_world(Some(vec![allow("w2")]));
    let kernel = reached(&world);
    world
        .interfaces
        .insert(InterfaceName::parse("sgv-w1").unwrap(), Ifindex::new(8).unwrap());
    let steps = plan(&kernel, &world.desired(), ROOMY).unwrap();
    assert!(
        matches!(steps[..], [Step::PutEndpoint(_, endpoint), Step::SetConfig(_)] if endpoint.ifindex == 8)
    );
}

#[test]
fn a_map_without_room_is_said_before_anything_is_written() {
    let world = small_world(Some(vec![allow("w2")]));
    let kernel = reached(&world);
    let more = small_world(Some(vec![allow("w2"), allow("w1")]));
    let tight = Capacity { policy: 2, ..ROOMY };
    let error = plan(&kernel, &more.desired(), tight).unwrap_err();
    assert_eq!(
        error,
        PlanError::Full {
            map: "POLICY",
            needed: 3,
            capacity: 2
        }
    );
    assert!(error.to_string().contains("nothing was changed"));
}

#[test]
fn equal_rules_share_their_entries() {
    let mut world = small_world(Some(vec![allow("w2")]));
    let mut twin = world.workloads[0].clone();
    twin = Workload::new(
        WorkloadName {
            name: Name::parse("twin").unwrap(),
            ..twin.name
        },
        Labels::default(),
        twin.node,
        twin.service_account,
        InterfaceName::parse("sgv-twin").unwrap(),
        vec![WorkloadAddress::parse("10.244.1.11").unwrap()],
    )
    .unwrap();
    world.workloads.push(twin);
    world.interfaces.insert(
        InterfaceName::parse("sgv-twin").unwrap(),
        Ifindex::new(9).unwrap(),
    );
    let kernel = reached(&world);
    assert_eq!((kernel.endpoints.len(), kernel.policy.len()), (2, 1));
}
