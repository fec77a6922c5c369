//! Lease messages: what may follow what, and everything that may not.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: what fails here is the test"
)]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use signet_session::{
    ADDRESSES, Digest, Established, Event, Group, Hello, Instance, LONGEST, LeaseAsk, LeaseDelta, LeaseError,
    LeaseGrant, LeasePart, Limits, LocalNode, Message, NodeNumber, OpenError, Opening, PARTS, PeerNode,
    SessionError, VERSION, encode,
};
use signet_spiffe::SpiffeId;

const HOLDER_CLOCK: u64 = 77;
const DIGEST: Digest = Digest([7; 32]);

fn opening(own: u32, peer: u32, now: Instant) -> (Opening, Message) {
    let number = |number| NodeNumber::new(number).expect("not zero");
    let local = LocalNode {
        node: number(own),
        instance: Instance([u8::try_from(own).expect("small"); 16]),
    };
    Opening::new(local, PeerNode { node: number(peer) }, Limits::default(), now)
}

/// Both ends of a session.
fn session(now: Instant) -> (Established, Established) {
    let (one, hello_one) = opening(1, 2, now);
    let (two, hello_two) = opening(2, 1, now);
    (
        one.on_message(&hello_two, now).expect("opens"),
        two.on_message(&hello_one, now).expect("opens"),
    )
}

fn group(name: &str, addresses: impl IntoIterator<Item = u32>) -> Group {
    Group {
        id: SpiffeId::parse(&format!("spiffe://t.example/{name}")).expect("valid"),
        addresses: addresses.into_iter().map(address).collect(),
    }
}

fn address(number: u32) -> IpAddr {
    IpAddr::from((0x0af4_0000 + number).to_be_bytes())
}

/// Gives messages to a session; what it makes of them.
fn deliver(
    session: &mut Established,
    messages: Vec<Message>,
    now: Instant,
) -> Result<Vec<Event>, SessionError> {
    let mut events = Vec::new();
    for message in messages {
        let event = session.on_message(message, now)?;
        if event != Event::Nothing {
            events.push(event);
        }
    }
    Ok(events)
}

fn ask(holder: &mut Established, owner: &mut Established, digest: Option<Digest>, now: Instant) -> LeaseAsk {
    let question = holder.ask(digest, HOLDER_CLOCK).expect("may ask");
    match owner.on_message(question, now) {
        Ok(Event::LeaseAsked(ask)) => ask,
        other => panic!("{other:?}"),
    }
}

fn answer(owner: &mut Established, ask: &LeaseAsk, groups: &[Group]) -> Vec<Message> {
    owner.grant(ask, Some(DIGEST), || groups.to_vec(), LONGEST)
}

fn part(revision: u64, begin: bool, end: bool, groups: Vec<Group>) -> Message {
    Message::LeasePart(LeasePart {
        revision,
        begin,
        end,
        groups,
    })
}

fn grant(nonce: u64, revision: u64) -> Message {
    Message::LeaseGrant(LeaseGrant {
        nonce,
        revision,
        lasting: LONGEST,
    })
}

fn delta(revision: u64) -> Message {
    Message::LeaseDelta(LeaseDelta {
        revision,
        withdrawn: vec![address(1)],
        added: Vec::new(),
    })
}

/// A holder that has asked once, and been told of one address.
fn told(now: Instant) -> Established {
    let (mut holder, _) = session(now);
    holder.ask(None, HOLDER_CLOCK).expect("may ask");
    let messages = vec![part(1, true, true, vec![group("a", [1])]), grant(1, 1)];
    deliver(&mut holder, messages, now).expect("in order");
    holder
}

#[test]
fn a_peer_that_speaks_version_1_alone_is_refused_in_words_that_say_what_to_do() {
    let now = Instant::now();
    let (opening, _) = opening(1, 2, now);
    let old = Message::Hello(Hello {
        min_version: 1,
        max_version: 1,
        node: NodeNumber::new(2).expect("not zero"),
        instance: Instance([2; 16]),
    });
    let error = opening.on_message(&old, now).expect_err("too old");
    assert!(matches!(error, OpenError::Version { min: 1, max: 1 }));
    assert!(
        error
            .to_string()
            .ends_with("upgrade signet-agent on the older one")
    );
}

#[test]
fn the_highest_common_version_is_spoken() {
    let now = Instant::now();
    for (min_version, max_version, spoken) in [(1, 2, Some(2)), (2, 9, Some(2)), (3, 9, None)] {
        let (opening, _) = opening(1, 2, now);
        let hello = Message::Hello(Hello {
            min_version,
            max_version,
            node: NodeNumber::new(2).expect("not zero"),
            instance: Instance([2; 16]),
        });
        let version = opening
            .on_message(&hello, now)
            .ok()
            .map(|session| session.version());
        assert_eq!(version, spoken, "{min_version} to {max_version}");
    }
    assert_eq!(VERSION, 2);
}

#[test]
fn a_first_question_brings_the_table_and_later_ones_the_grant_alone() {
    let now = Instant::now();
    let (mut holder, mut owner) = session(now);
    let groups = vec![group("a", [1, 2]), group("b", [3])];
    let question = ask(&mut holder, &mut owner, None, now);
    assert_eq!((question.nonce, question.revision), (1, 0));
    let messages = answer(&mut owner, &question, &groups);
    assert_eq!(messages.len(), 2, "one part, one grant");
    let events = deliver(&mut holder, messages, now).expect("in order");
    let granted = |lasting| Event::LeaseGranted {
        asked: HOLDER_CLOCK,
        lasting,
    };
    assert_eq!(events, [Event::LeaseTable(groups.clone()), granted(LONGEST)]);
    for _ in 0..3 {
        let question = ask(&mut holder, &mut owner, Some(DIGEST), now);
        assert_eq!(question.revision, 1);
        let messages = answer(&mut owner, &question, &groups);
        let events = deliver(&mut holder, messages, now).expect("in order");
        assert_eq!(events, [granted(LONGEST)]);
    }
}

#[test]
fn a_table_of_an_earlier_session_is_not_sent_again() {
    let now = Instant::now();
    let (mut holder, mut owner) = session(now);
    let question = ask(&mut holder, &mut owner, Some(DIGEST), now);
    let messages = owner.grant(&question, Some(DIGEST), || panic!("not needed"), LONGEST);
    assert_eq!(messages, [grant(1, 1)]);
    deliver(&mut holder, messages, now).expect("in order");
    // Changes follow it.
    let events = deliver(&mut holder, owner.change(&[address(1)], &[]), now).expect("in order");
    assert_eq!(
        events,
        [Event::LeaseChange {
            withdrawn: vec![address(1)],
            added: Vec::new()
        }]
    );
}

#[test]
fn who_asks_with_a_wrong_digest_gets_the_whole_table_unless_a_change_is_on_its_way() {
    let now = Instant::now();
    let (mut holder, mut owner) = session(now);
    let groups = [group("a", [1])];
    let question = ask(&mut holder, &mut owner, None, now);
    let messages = answer(&mut owner, &question, &groups);
    deliver(&mut holder, messages, now).expect("in order");
    // The question crosses a change: the digest is of the table before it.
    let change = owner.change(&[address(1)], &[group("b", [1])]);
    let question = ask(&mut holder, &mut owner, Some(Digest([1; 32])), now);
    let messages = answer(&mut owner, &question, &groups);
    assert_eq!(messages, [grant(2, 2)]);
    deliver(&mut holder, change, now).expect("in order");
    deliver(&mut holder, messages, now).expect("in order");
    // With the change applied it still has another table: that is a fault, which the table mends.
    let question = ask(&mut holder, &mut owner, Some(Digest([1; 32])), now);
    let messages = answer(&mut owner, &question, &groups);
    assert_eq!(messages, [part(3, true, true, groups.to_vec()), grant(3, 3)]);
    deliver(&mut holder, messages, now).expect("in order");
}

#[test]
fn who_does_not_know_its_own_addresses_says_so_and_nothing_may_be_believed() {
    let now = Instant::now();
    let (mut holder, mut owner) = session(now);
    let question = ask(&mut holder, &mut owner, None, now);
    let messages = owner.grant(&question, None, Vec::new, LONGEST);
    let events = deliver(&mut holder, messages, now).expect("in order");
    assert_eq!(
        events,
        [Event::LeaseGranted {
            asked: HOLDER_CLOCK,
            lasting: Duration::ZERO
        }]
    );
    assert!(
        owner.change(&[], &[group("a", [1])]).is_empty(),
        "nothing was said that could change"
    );
    let groups = [group("a", [1])];
    let question = ask(&mut holder, &mut owner, None, now);
    let messages = answer(&mut owner, &question, &groups);
    assert_eq!(deliver(&mut holder, messages, now).expect("in order").len(), 2);
}

#[test]
fn a_large_table_and_a_large_change_arrive_whole_in_frames_that_fit() {
    let now = Instant::now();
    let (mut holder, mut owner) = session(now);
    let long = "x".repeat(1500);
    let groups: Vec<Group> = (0..1024)
        .map(|number| group(&format!("{long}{number}"), 4 * number..4 * number + 4))
        .collect();
    let question = ask(&mut holder, &mut owner, None, now);
    let messages = answer(&mut owner, &question, &groups);
    assert!(
        messages.len() > 10 && messages.len() <= PARTS,
        "{}",
        messages.len()
    );
    for message in &messages {
        encode(message).expect("fits");
    }
    let events = deliver(&mut holder, messages, now).expect("in order");
    assert_eq!(events.len(), 2, "nothing before the last part");
    assert_eq!(events[0], Event::LeaseTable(groups.clone()));
    let gone: Vec<IpAddr> = groups.iter().flat_map(|group| group.addresses.clone()).collect();
    let change = owner.change(&gone, &groups);
    for message in &change {
        encode(message).expect("fits");
    }
    let (mut withdrawn, mut added) = (Vec::new(), Vec::new());
    for event in deliver(&mut holder, change, now).expect("in order") {
        let Event::LeaseChange {
            withdrawn: less,
            added: more,
        } = event
        else {
            panic!("{event:?}")
        };
        assert!(added.is_empty() || less.is_empty(), "what goes goes first");
        withdrawn.extend(less);
        added.extend(more);
    }
    assert_eq!((withdrawn, added), (gone, groups));
}

#[test]
fn an_empty_table_is_one_part() {
    let now = Instant::now();
    let (mut holder, mut owner) = session(now);
    let question = ask(&mut holder, &mut owner, None, now);
    let messages = answer(&mut owner, &question, &[]);
    assert_eq!(messages[0], part(1, true, true, Vec::new()));
    deliver(&mut holder, messages, now).expect("in order");
}

#[test]
fn a_replayed_reordered_or_unasked_grant_ends_the_session() {
    let now = Instant::now();
    let refused = |messages: Vec<Message>| {
        let mut holder = told(now);
        deliver(&mut holder, messages, now).expect_err("refused")
    };
    let not_asked = SessionError::Lease(LeaseError::NotAsked);
    assert_eq!(refused(vec![grant(1, 1)]), not_asked, "the same once more");
    assert_eq!(refused(vec![grant(2, 1)]), not_asked, "nobody has asked yet");
    let mut holder = told(now);
    holder.ask(None, 1).expect("may ask");
    holder.ask(None, 2).expect("may ask");
    assert_eq!(
        holder.on_message(grant(3, 1), now),
        Err(not_asked),
        "the later one first"
    );
    let mut holder = told(now);
    holder.ask(None, 1).expect("may ask");
    assert_eq!(
        holder.on_message(grant(2, 2), now),
        Err(LeaseError::Revision { got: 2, want: 1 }.into()),
        "of a table that was not sent"
    );
    let mut holder = told(now);
    holder.ask(None, 1).expect("may ask");
    deliver(&mut holder, vec![delta(2)], now).expect("in order");
    assert_eq!(
        holder.on_message(grant(2, 1), now),
        Err(LeaseError::Revision { got: 1, want: 2 }.into()),
        "of the table before the change"
    );
}

#[test]
fn a_grant_before_anything_was_said_is_worth_nothing_and_ends_the_session() {
    let now = Instant::now();
    for (digest, revision) in [(None, 0), (None, 1), (Some(DIGEST), 2), (Some(DIGEST), 0)] {
        let (mut holder, _) = session(now);
        holder.ask(digest, HOLDER_CLOCK).expect("may ask");
        let result = holder.on_message(grant(1, revision), now);
        assert!(
            matches!(result, Err(SessionError::Lease(LeaseError::Revision { .. }))),
            "{digest:?} {revision}: {result:?}"
        );
    }
}

#[test]
fn updates_that_do_not_follow_end_the_session() {
    let now = Instant::now();
    let revision = |got| SessionError::Lease(LeaseError::Revision { got, want: 2 });
    let order = SessionError::Lease(LeaseError::Order);
    let group = || vec![group("b", [9])];
    let rows: Vec<(&str, Vec<Message>, SessionError)> = vec![
        ("the same change twice", vec![delta(1)], revision(1)),
        ("one left out", vec![delta(3)], revision(3)),
        (
            "a table of the past",
            vec![part(1, true, true, group())],
            revision(1),
        ),
        (
            "a table of the future",
            vec![part(4, true, true, group())],
            revision(4),
        ),
        (
            "a part without the first",
            vec![part(2, false, true, group())],
            order,
        ),
        (
            "the first part twice",
            vec![part(2, true, false, group()), part(2, true, false, group())],
            order,
        ),
        (
            "a change inside a table",
            vec![part(2, true, false, group()), delta(3)],
            order,
        ),
        (
            "a grant inside a table",
            vec![part(2, true, false, group()), grant(2, 1)],
            order,
        ),
        (
            "parts of two tables",
            vec![part(2, true, false, group()), part(3, false, true, Vec::new())],
            SessionError::Lease(LeaseError::Revision { got: 3, want: 2 }),
        ),
        (
            "an address twice",
            vec![part(2, true, false, group()), part(2, false, true, group())],
            SessionError::Lease(LeaseError::Twice),
        ),
    ];
    for (what, messages, error) in rows {
        let mut holder = told(now);
        assert_eq!(deliver(&mut holder, messages, now), Err(error), "{what}");
    }
    let (mut holder, _) = session(now);
    assert_eq!(
        holder.on_message(delta(1), now),
        Err(LeaseError::Order.into()),
        "a change of nothing"
    );
}

#[test]
fn half_a_table_is_no_table() {
    let now = Instant::now();
    let mut holder = told(now);
    let events = deliver(
        &mut holder,
        vec![part(2, true, false, vec![group("b", [2])])],
        now,
    );
    assert_eq!(events, Ok(Vec::new()));
    // Other messages may come between its parts.
    let pong = holder.on_message(Message::Ping(5), now);
    assert_eq!(pong, Ok(Event::Reply(Message::Pong(5))));
    let events = deliver(
        &mut holder,
        vec![part(2, false, true, vec![group("c", [3])])],
        now,
    );
    assert_eq!(
        events,
        Ok(vec![Event::LeaseTable(vec![group("b", [2]), group("c", [3])])])
    );
}

#[test]
fn too_many_addresses_and_parts_end_the_session() {
    let now = Instant::now();
    let too_much = SessionError::Lease(LeaseError::TooMuch);
    let most = u32::try_from(ADDRESSES).expect("small");
    let mut holder = told(now);
    let exactly = vec![part(2, true, true, vec![group("b", 0..most)])];
    deliver(&mut holder, exactly, now).expect("in bounds");
    let mut holder = told(now);
    let more = vec![part(2, true, true, vec![group("b", 0..=most)])];
    assert_eq!(deliver(&mut holder, more, now), Err(too_much));
    let mut holder = told(now);
    let mut parts = vec![part(2, true, false, Vec::new())];
    parts.extend((0..PARTS).map(|_| part(2, false, false, Vec::new())));
    assert_eq!(deliver(&mut holder, parts, now), Err(too_much));
}

#[test]
fn tables_changes_and_questions_without_end_are_a_flood() {
    let now = Instant::now();
    let limits = Limits::default();
    let mut holder = told(now);
    let tables =
        (2..10 + u64::from(limits.table_burst)).map(|revision| part(revision, true, true, Vec::new()));
    assert_eq!(
        deliver(&mut holder, tables.collect(), now),
        Err(SessionError::Flood)
    );
    let mut holder = told(now);
    let deltas = (2..10 + u64::from(limits.delta_burst)).map(delta);
    assert_eq!(
        deliver(&mut holder, deltas.collect(), now),
        Err(SessionError::Flood)
    );
    let (_, mut owner) = session(now);
    let questions = (1..10 + u64::from(limits.ask_burst)).map(|nonce| {
        Message::LeaseAsk(LeaseAsk {
            nonce,
            revision: 0,
            digest: None,
        })
    });
    assert_eq!(
        deliver(&mut owner, questions.collect(), now),
        Err(SessionError::Flood)
    );
}

#[test]
fn questions_out_of_order_or_of_the_future_end_the_session() {
    let now = Instant::now();
    let question = |nonce, revision| {
        Message::LeaseAsk(LeaseAsk {
            nonce,
            revision,
            digest: None,
        })
    };
    for (messages, error) in [
        (vec![question(2, 0)], LeaseError::Nonce),
        (vec![question(1, 0), question(1, 0)], LeaseError::Nonce),
        (vec![question(1, 1)], LeaseError::Revision { got: 1, want: 0 }),
    ] {
        let (_, mut owner) = session(now);
        assert_eq!(deliver(&mut owner, messages, now), Err(error.into()));
    }
}

#[test]
fn a_holder_that_is_not_answered_stops_asking() {
    let (mut holder, _) = session(Instant::now());
    let asked = (0..10).filter_map(|at| holder.ask(None, at)).count();
    assert_eq!(asked, 4);
}
