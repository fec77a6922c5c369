use signet_spiffe::UnixTime;

use super::*;

const START: u64 = 1_800_000_000;

fn web() -> SpiffeId {
    SpiffeId::parse("spiffe://td/web").expect("valid")
}

fn audience(name: &str) -> Audience {
    Audience::new(&[name.to_owned()]).expect("valid")
}

/// A moment so many seconds after the start, on both clocks.
struct Clocks(Instant);

impl Clocks {
    fn at(&self, seconds: u64) -> Now {
        Now {
            unix: START + seconds,
            clock: self.0 + Duration::from_secs(seconds),
        }
    }
}

fn clocks() -> Clocks {
    Clocks(Instant::now())
}

/// A token made at the start plus `from`, for 100 seconds.
fn fresh(name: &str, from: u64) -> Fresh {
    let expires = UnixTime::since_unix_epoch(Duration::from_secs(START + from + 100));
    Fresh {
        svid: Arc::new(JwtSvid::new(web(), name.to_owned().into(), expires)),
        key_id: "k1".to_owned(),
        serial: None,
    }
}

fn served(answer: &Answer) -> &str {
    match answer {
        Answer::Serve(svid) => svid.secret_token(),
        Answer::Wait { .. } | Answer::Refuse(_) => unreachable!("not served: {answer:?}"),
    }
}

fn waits(answer: Answer) -> watch::Receiver<Outcome> {
    match answer {
        Answer::Wait { flight, .. } => flight,
        Answer::Serve(_) | Answer::Refuse(_) => unreachable!("does not wait: {answer:?}"),
    }
}

fn landed(flight: &watch::Receiver<Outcome>) -> Result<String, String> {
    let outcome = flight.borrow().clone().expect("has landed");
    outcome.map(|svid| svid.secret_token().to_owned())
}

#[test]
fn a_thousand_requests_are_one_flight_and_all_get_what_it_brings() {
    let (clocks, mut cache) = (clocks(), Cache::default());
    let (first, flight) = cache.ask(&web(), &audience("db"), clocks.at(0));
    let mut waiting = vec![waits(first)];
    for _ in 0..999 {
        let (answer, second) = cache.ask(&web(), &audience("db"), clocks.at(0));
        assert!(second.is_none());
        waiting.push(waits(answer));
    }
    cache.land(flight.expect("one flight"), Ok(fresh("t1", 0)), clocks.at(1), 0);
    assert!(waiting.iter().all(|flight| landed(flight) == Ok("t1".to_owned())));
    let (answer, flight) = cache.ask(&web(), &audience("db"), clocks.at(2));
    assert_eq!((served(&answer), flight.is_none()), ("t1", true));
    assert!(
        cache.ask(&web(), &audience("cache"), clocks.at(2)).1.is_some(),
        "another audience is another token"
    );
}

#[test]
fn a_token_is_renewed_before_half_of_its_life_without_a_wait_and_late_ones_are_waited_for() {
    for random in [0, u64::MAX] {
        let (clocks, mut cache) = (clocks(), Cache::default());
        let mut ask = |seconds| cache.ask(&web(), &audience("db"), clocks.at(seconds));
        let flight = ask(0).1.expect("a flight");
        cache.land(flight, Ok(fresh("t1", 0)), clocks.at(0), random);
        let mut ask = |seconds| cache.ask(&web(), &audience("db"), clocks.at(seconds));
        assert!(ask(39).1.is_none(), "too early");
        let (answer, renewal) = ask(50);
        assert_eq!(served(&answer), "t1", "nobody waits yet");
        assert!(renewal.is_some());
        let (answer, second) = ask(74);
        assert_eq!((served(&answer), second.is_none()), ("t1", true));
        let (answer, _) = ask(75);
        let Answer::Wait { flight, meanwhile } = answer else {
            unreachable!("does not wait")
        };
        assert_eq!(meanwhile.expect("still good").secret_token(), "t1");
        cache.land(
            renewal.expect("a flight"),
            Ok(fresh("t2", 75)),
            clocks.at(75),
            random,
        );
        assert_eq!(landed(&flight), Ok("t2".to_owned()));
        assert_eq!(served(&cache.ask(&web(), &audience("db"), clocks.at(76)).0), "t2");
    }
}

#[test]
fn without_the_ca_a_token_serves_to_its_end_and_not_a_second_longer() {
    let (clocks, mut cache) = (clocks(), Cache::default());
    let flight = cache
        .ask(&web(), &audience("db"), clocks.at(0))
        .1
        .expect("a flight");
    cache.land(flight, Ok(fresh("t1", 0)), clocks.at(0), 0);
    for seconds in (50..=99).step_by(7) {
        let (answer, flight) = cache.ask(&web(), &audience("db"), clocks.at(seconds));
        if let Some(flight) = flight {
            cache.land(flight, Err("away".to_owned()), clocks.at(seconds), 0);
        }
        match answer {
            Answer::Serve(svid) => assert_eq!(svid.secret_token(), "t1"),
            Answer::Wait { meanwhile, .. } => {
                assert_eq!(meanwhile.expect("still good").secret_token(), "t1");
            }
            Answer::Refuse(reason) => unreachable!("{reason}"),
        }
    }
    let (answer, _) = cache.ask(&web(), &audience("db"), clocks.at(100));
    match answer {
        Answer::Wait { meanwhile, .. } => assert!(meanwhile.is_none()),
        Answer::Refuse(reason) => assert_eq!(reason, "away"),
        Answer::Serve(_) => unreachable!("served after its end"),
    }
}

#[test]
fn after_a_failure_the_ca_is_left_alone_for_a_while_and_callers_hear_why() {
    let (clocks, mut cache) = (clocks(), Cache::default());
    let now = clocks.at(0);
    let (answer, flight) = cache.ask(&web(), &audience("db"), now);
    let flight_to_land = flight.expect("a flight");
    let waiting = waits(answer);
    cache.land(flight_to_land, Err("away".to_owned()), now, u64::MAX);
    assert_eq!(landed(&waiting), Err("away".to_owned()));
    let (answer, flight) = cache.ask(&web(), &audience("db"), now);
    assert!(flight.is_none());
    assert!(matches!(answer, Answer::Refuse(reason) if reason == "away"));
    assert!(cache.ask(&web(), &audience("db"), clocks.at(1)).1.is_some());
}

#[test]
fn a_flight_whose_task_has_gone_is_made_again() {
    let (clocks, mut cache) = (clocks(), Cache::default());
    drop(
        cache
            .ask(&web(), &audience("db"), clocks.at(0))
            .1
            .expect("a flight"),
    );
    assert!(cache.ask(&web(), &audience("db"), clocks.at(0)).1.is_some());
}

#[test]
fn an_identity_has_a_bound_on_flights_and_it_is_nobody_else_s() {
    let (clocks, mut cache) = (clocks(), Cache::default());
    let now = clocks.at(0);
    let mut flights = Vec::new();
    let mut refused = 0;
    for number in 0..100 {
        let (answer, flight) = cache.ask(&web(), &audience(&number.to_string()), now);
        flights.extend(flight);
        refused += usize::from(matches!(answer, Answer::Refuse(_)));
    }
    assert_eq!((flights.len(), refused), (FLIGHTS, 100 - FLIGHTS));
    let other = SpiffeId::parse("spiffe://td/other").expect("valid");
    assert!(cache.ask(&other, &audience("db"), now).1.is_some());
}

#[test]
fn an_identity_has_a_pace_and_what_it_has_is_served_beyond_it() {
    let (clocks, mut cache) = (clocks(), Cache::default());
    let now = clocks.at(0);
    let mut flown = 0;
    for number in 0..2000 {
        if let Some(flight) = cache.ask(&web(), &audience(&number.to_string()), now).1 {
            cache.land(flight, Ok(fresh("t", 0)), now, 0);
            flown += 1;
        }
    }
    assert_eq!(flown, PACE.burst);
    let last = audience(&(PACE.burst - 1).to_string());
    assert_eq!(served(&cache.ask(&web(), &last, now).0), "t");
    assert!(cache.ask(&web(), &audience("later"), clocks.at(1)).1.is_some());
}

#[test]
fn an_identity_has_a_bound_on_tokens_and_keeps_those_that_are_used() {
    let (clocks, mut cache) = (clocks(), Cache::default());
    let now = clocks.at(0);
    let used = audience("used");
    let mut get = |audience: &Audience| match cache.ask(&web(), audience, now) {
        (_, Some(flight)) => {
            cache.land(flight, Ok(fresh("t", 0)), now, 0);
            true
        }
        (_, None) => false,
    };
    assert!(get(&used));
    for number in 0..2 * TOKENS - 10 {
        assert!(get(&audience(&number.to_string())), "{number}");
        assert!(!get(&used), "the one in use was given up");
    }
    assert_eq!(cache.tokens(), TOKENS);
}

#[test]
fn what_is_not_registered_or_not_published_any_more_is_forgotten_also_while_it_is_fetched() {
    let (clocks, mut cache) = (clocks(), Cache::default());
    let now = clocks.at(0);
    let flight = cache.ask(&web(), &audience("db"), now).1.expect("a flight");
    cache.land(flight, Ok(fresh("t1", 0)), now, 0);
    cache.retain(|_| true, |_, token| token.key_id == "k1", now);
    assert_eq!(cache.tokens(), 1);
    cache.retain(|_| true, |_, token| token.key_id == "k2", now);
    assert_eq!(cache.tokens(), 0, "its key was withdrawn");

    let (answer, flight) = cache.ask(&web(), &audience("db"), now);
    let waiting = waits(answer);
    cache.retain(|_| false, |_, _| true, now);
    cache.land(flight.expect("a flight"), Ok(fresh("t2", 0)), now, 0);
    let refusal = landed(&waiting).expect_err("refused");
    assert!(refusal.contains("not registered"), "{refusal}");
    assert_eq!(cache.tokens(), 0);
}

#[test]
fn a_flight_for_what_was_forgotten_does_not_land_where_the_next_one_will() {
    let (clocks, mut cache) = (clocks(), Cache::default());
    let now = clocks.at(0);
    let old = cache.ask(&web(), &audience("db"), now).1.expect("a flight");
    cache.retain(|_| false, |_, _| true, now);
    let new = cache.ask(&web(), &audience("db"), now).1.expect("another flight");
    cache.land(old, Ok(fresh("of the old registration", 0)), now, 0);
    assert_eq!(cache.tokens(), 0);
    cache.land(new, Ok(fresh("of the new one", 0)), now, 0);
    assert_eq!(
        served(&cache.ask(&web(), &audience("db"), now).0),
        "of the new one"
    );
}
