//! The life of authorities, with a clock of the test's own.

#![expect(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

use std::time::Duration;

use signet_rotation::{
    Authority, AuthorityId, AuthorityKind, Due, Enough, Missing, PUBLISH_INTERVAL, Plan, Policy, Publication,
    State, StepError, activate, plan, prepare, retire, revoke, taint,
};
use signet_spiffe::{NodeName, UnixTime};

const KIND: AuthorityKind = AuthorityKind::X509;
const DAY: u64 = 24 * 3600;

const POLICY: Policy = Policy {
    life: Duration::from_secs(100 * DAY),
    publish_interval: PUBLISH_INTERVAL,
    longest: Duration::from_secs(7 * DAY),
};

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn id(text: &str) -> AuthorityId {
    text.parse().unwrap()
}

fn missing(names: &[&str]) -> Vec<Missing> {
    let missing = |name: &&str| Missing {
        node: NodeName::parse(name).unwrap(),
        until: at(60 * DAY),
    };
    names.iter().map(missing).collect()
}

/// Published at the beginning, and good for 200 days.
fn authority(name: &str, state: State) -> Authority {
    let signed = matches!(state, State::Active | State::Old | State::Tainted);
    let over = matches!(state, State::Old | State::Tainted);
    Authority {
        kind: KIND,
        id: id(name),
        state,
        published: at(0),
        sequence: 1,
        activated: signed.then(|| at(0)),
        ceased: over.then(|| at(DAY)),
        not_after: at(200 * DAY),
    }
}

/// Published at some moment.
fn prepared(name: &str, published: u64) -> Authority {
    Authority {
        published: at(published),
        sequence: 2,
        ..authority(name, State::Prepared)
    }
}

fn publication(missing: &[Missing]) -> Publication<'_> {
    Publication {
        interval: PUBLISH_INTERVAL,
        missing,
    }
}

#[test]
fn row_62_an_authority_signs_no_earlier_than_five_refresh_hints_after_it_was_published() {
    assert_eq!(PUBLISH_INTERVAL, signet_rotation::REFRESH_HINT * 5);
    let all = [authority("a", State::Active), prepared("b", 1000)];
    let ripe = 1000 + PUBLISH_INTERVAL.as_secs();
    let none = missing(&[]);
    for enough in [Enough::Time, Enough::TimeAndAcknowledged] {
        let try_at = |now| activate(KIND, &all, None, publication(&none), enough, at(now));
        let Err(StepError::Unpublished { unpublished, .. }) = try_at(ripe - 61) else {
            panic!("it was activated too early");
        };
        assert_eq!(unpublished.until, Some(at(ripe)));
        assert!(
            unpublished.to_string().contains("another 1 min 01 s"),
            "{unpublished}"
        );
        assert_eq!(try_at(ripe).unwrap().id, id("b"));
    }
}

#[test]
fn nodes_that_lack_an_authority_are_named_and_keep_it_from_signing_where_they_count() {
    let all = [authority("a", State::Active), prepared("b", 0)];
    let lacking = missing(&["n1", "n2"]);
    let try_with = |enough, now| activate(KIND, &all, None, publication(&lacking), enough, at(now));
    for enough in [Enough::Acknowledged, Enough::TimeAndAcknowledged] {
        let refused = try_with(enough, DAY).unwrap_err().to_string();
        assert!(refused.contains("n1, n2"), "{refused}");
    }
    // The stated time is enough for whoever says so.
    assert!(try_with(Enough::Time, DAY).is_ok());
    // And so is everybody's word, for whoever does not care for outsiders.
    let nobody = missing(&[]);
    let early = activate(
        KIND,
        &all,
        None,
        publication(&nobody),
        Enough::Acknowledged,
        at(1),
    );
    assert_eq!(early.unwrap().id, id("b"));
    let many: Vec<_> = (0..20).map(|number| format!("n{number}")).collect();
    let many = missing(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let refused = activate(KIND, &all, None, publication(&many), Enough::Acknowledged, at(1));
    assert!(refused.unwrap_err().to_string().ends_with("n7 and 12 more"));
}

#[test]
fn where_nothing_that_is_signed_counts_any_more_the_next_one_need_not_wait() {
    let all = [authority("a", State::Active), prepared("b", 200 * DAY)];
    let longer = [
        all[0].clone(),
        Authority {
            not_after: at(400 * DAY),
            ..all[1].clone()
        },
    ];
    let none = missing(&["n1"]);
    let now = at(200 * DAY + 1);
    let done = activate(
        KIND,
        &longer,
        None,
        publication(&none),
        Enough::TimeAndAcknowledged,
        now,
    );
    assert_eq!(done.unwrap().id, id("b"));
    // One that has ended itself is of no use.
    let ended = activate(KIND, &all, None, publication(&none), Enough::Time, now);
    assert_eq!(ended, Err(StepError::Ended { id: id("b") }));
}

#[test]
fn each_state_allows_what_it_should_and_nothing_else() {
    use State::{Active, Old, Prepared, Retired, Revoked, Tainted};
    // Far in the future, so that time refuses nothing.
    let now = at(199 * DAY);
    let none = missing(&[]);
    for (state, may) in [
        // activate, taint, retire, revoke
        (Prepared, [true, true, true, true]),
        (Active, [false, false, false, false]),
        (Old, [true, true, true, true]),
        (Tainted, [false, false, true, true]),
        (Retired, [false, false, false, false]),
        (Revoked, [false, false, false, false]),
    ] {
        let mut all = vec![authority("x", state)];
        if state != Active {
            all.push(authority("a", Active));
        }
        let x = id("x");
        let did = [
            activate(
                KIND,
                &all,
                Some(&x),
                publication(&none),
                Enough::TimeAndAcknowledged,
                now,
            )
            .is_ok(),
            taint(KIND, &all, &x).is_ok(),
            retire(KIND, &all, &x, POLICY.longest, now).is_ok(),
            revoke(KIND, &all, &x).is_ok(),
        ];
        assert_eq!(did, may, "{state}");
        let unknown = id("nobody");
        assert!(matches!(
            taint(KIND, &all, &unknown),
            Err(StepError::Unknown { .. })
        ));
        assert!(
            taint(AuthorityKind::Jwt, &all, &x).is_err(),
            "one of another kind"
        );
    }
}

#[test]
fn one_at_a_time_is_prepared_and_there_is_a_limit() {
    let mut all = vec![authority("a", State::Active)];
    assert_eq!(prepare(KIND, &all), Ok(()));
    all.push(prepared("b", 0));
    assert_eq!(
        prepare(KIND, &all),
        Err(StepError::AlreadyPrepared { id: id("b") })
    );
    all[1].state = State::Retired;
    assert_eq!(prepare(KIND, &all), Ok(()));
    let old = |number| authority(&format!("o{number}"), State::Old);
    all.extend((2..=signet_rotation::MAX_PUBLISHED).map(old));
    assert_eq!(prepare(KIND, &all), Err(StepError::TooMany(KIND)));
}

#[test]
fn what_signed_stays_published_until_what_it_signed_last_has_ended() {
    let all = [authority("a", State::Active), authority("b", State::Old)];
    let end = 8 * DAY;
    let refused = retire(KIND, &all, &id("b"), POLICY.longest, at(end - 3660)).unwrap_err();
    assert!(refused.to_string().contains("another 1 h 01 min"), "{refused}");
    assert!(retire(KIND, &all, &id("b"), POLICY.longest, at(end)).is_ok());
    // What never signed has nothing to wait for.
    let all = [authority("a", State::Active), prepared("b", 0)];
    assert!(retire(KIND, &all, &id("b"), POLICY.longest, at(1)).is_ok());
}

#[test]
fn the_next_one_is_prepared_at_half_of_the_life_and_not_before() {
    let all = [authority("a", State::Active)];
    let idle = plan(&all, &[], &POLICY, at(50 * DAY - 1));
    let next = Some(at(50 * DAY));
    assert_eq!(idle, Plan { due: vec![], next });
    assert_eq!(plan(&all, &[], &POLICY, at(50 * DAY)).due, [Due::Prepare]);
    // A certificate that ends earlier than the policy says.
    let short = [Authority {
        not_after: at(20 * DAY),
        ..all[0].clone()
    }];
    assert_eq!(plan(&short, &[], &POLICY, at(10 * DAY)).due, [Due::Prepare]);
}

#[test]
fn row_62_without_an_operator_time_and_every_node_are_waited_for() {
    let published = 50 * DAY;
    let all = [authority("a", State::Active), prepared("b", published)];
    let ripe = published + PUBLISH_INTERVAL.as_secs();
    let waiting = plan(&all, &[], &POLICY, at(ripe - 1));
    assert_eq!((waiting.due, waiting.next), (vec![], Some(at(ripe))));
    let due = |enough| vec![Due::Activate { id: id("b"), enough }];
    assert_eq!(
        plan(&all, &[], &POLICY, at(ripe)).due,
        due(Enough::TimeAndAcknowledged)
    );
    // A node that never says that it has it is waited for until its SVID has ended,
    let lacking = missing(&["n1"]);
    let waiting = plan(&all, &lacking, &POLICY, at(ripe));
    assert_eq!((waiting.due, waiting.next), (vec![], Some(at(60 * DAY + 1))));
    // and not at all once the active one comes near its end.
    assert_eq!(plan(&all, &lacking, &POLICY, at(75 * DAY)).due, due(Enough::Time));
}

#[test]
fn one_that_was_prepared_by_hand_is_not_activated_before_its_time() {
    let all = [authority("a", State::Active), prepared("b", 0)];
    let idle = plan(&all, &[], &POLICY, at(49 * DAY));
    assert_eq!((idle.due, idle.next), (vec![], Some(at(50 * DAY))));
}

#[test]
fn what_is_over_is_retired_and_a_prepared_one_that_has_ended_is_replaced() {
    let all = [
        authority("a", State::Active),
        authority("o", State::Old),
        authority("t", State::Tainted),
    ];
    assert_eq!(plan(&all, &[], &POLICY, at(8 * DAY - 1)).due, []);
    let over = [Due::Retire(id("o")), Due::Retire(id("t"))];
    assert_eq!(plan(&all, &[], &POLICY, at(8 * DAY)).due, over);
    let ended = Authority {
        not_after: at(55 * DAY),
        ..prepared("b", 0)
    };
    let all = [authority("a", State::Active), ended];
    let due = plan(&all, &[], &POLICY, at(55 * DAY)).due;
    assert_eq!(due, [Due::Retire(id("b")), Due::Prepare]);
}
