use std::time::Duration;

use signet_log::{Caller, Document, Entry, Hash, Issuance, Record};
use signet_registry::{
    AppendError, Changes, ConsumeError, CreateTokenError, Effect, Issued, NewRevocation, NodeFate, Revision,
    RevokeError, Shown, Standing, Submission, Target, Withheld,
};
use signet_spiffe::{SerialNumber, SpiffeId, UnixTime, node_serial};

use crate::desk::{Desk, NOW, at, id, node, now, shown, token};

const HOUR: u64 = 3600;

/// Of node n1.
fn serial(number: u8) -> SerialNumber {
    serial_on("n1", u32::from(number))
}

fn serial_on(on: &str, number: u32) -> SerialNumber {
    let node = on.trim_start_matches('n').parse().unwrap();
    SerialNumber::new(&node_serial(now(), number, node, [7; 9])).unwrap()
}

fn issued(number: u8, spiffe_id: SpiffeId, on: &str, not_before: u64) -> Issued {
    Issued {
        serial: serial_on(on, u32::from(number)),
        spiffe_id,
        node: node(on),
        not_before: at(not_before),
        not_after: at(NOW + HOUR),
    }
}

fn own_id(name: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://td/signet/node/{name}")).unwrap()
}

fn new(target: Target) -> NewRevocation {
    NewRevocation {
        target,
        cut: now(),
        until: at(NOW + 24 * HOUR),
        reason: "key leaked".to_owned(),
        asker: "uid:0".to_owned(),
        closed: true,
    }
}

impl Desk {
    /// Web on both nodes, api on n1, and the nodes' own.
    async fn with_certificates() -> Self {
        let desk = Self::with_two_nodes().await;
        let all = [
            issued(1, id("web"), "n1", NOW - 10),
            issued(2, id("web"), "n2", NOW - 10),
            issued(3, id("api"), "n1", NOW - 10),
            issued(4, own_id("n1"), "n1", NOW - 10),
            issued(5, own_id("n2"), "n2", NOW - 10),
        ];
        let verdicts = desk.registry.record_issued(&all, now()).await.unwrap();
        assert!(verdicts.iter().all(Result::is_ok));
        desk
    }

    async fn revoke(&self, target: Target) -> Effect {
        self.registry
            .revoke(&new(target), NodeFate::Stays, now(), false)
            .await
            .unwrap()
    }

    pub(crate) async fn fate(&self, name: &str, fate: NodeFate) -> Result<Effect, RevokeError> {
        let new = NewRevocation {
            closed: false,
            ..new(Target::Node(node(name)))
        };
        self.registry.revoke(&new, fate, now(), false).await
    }

    async fn listed(&self, now: UnixTime) -> Vec<SerialNumber> {
        let all = self.registry.revoked_certificates(now).await.unwrap();
        all.into_iter().map(|certificate| certificate.serial).collect()
    }

    async fn news(&self, since: Revision) -> Changes {
        let news = self
            .registry
            .changes_since(&node("n2"), self.position(since).await)
            .await
            .unwrap();
        news.unwrap()
    }

    fn revision(&self) -> Revision {
        *self.registry.watch().borrow()
    }
}

#[tokio::test]
async fn a_serial_is_revoked_with_its_owner_s_name_until_it_expires() {
    let desk = Desk::with_certificates().await;
    let effect = desk
        .registry
        .revoke(
            &NewRevocation {
                until: now(),
                closed: false,
                ..new(Target::Serial(serial(1)))
            },
            NodeFate::Stays,
            now(),
            false,
        )
        .await
        .unwrap();
    assert_eq!(effect.certificates, 1);
    assert_eq!(effect.revocation.owner, Some(id("web")));
    assert_eq!(effect.revocation.until, at(NOW + HOUR));
    assert_eq!(desk.listed(now()).await, [serial(1)]);
    assert!(desk.listed(at(NOW + HOUR)).await.is_empty(), "expired by itself");
    let later = at(NOW + HOUR + 1);
    desk.registry
        .revoke(&new(Target::Serial(serial(9))), NodeFate::Stays, later, false)
        .await
        .unwrap();
    let left = desk.registry.revocations().await.unwrap();
    assert_eq!(left.len(), 1, "the expired one is cleaned away: {left:?}");
    assert_eq!(left[0].target, Target::Serial(serial(9)));
}

#[tokio::test]
async fn an_unknown_serial_is_revoked_all_the_same() {
    let desk = Desk::with_certificates().await;
    let effect = desk.revoke(Target::Serial(serial(77))).await;
    assert_eq!((effect.certificates, effect.spiffe_ids), (0, Vec::new()));
    assert_eq!(effect.revocation.owner, None);
    assert_eq!(desk.listed(now()).await, [serial(77)]);
}

#[tokio::test]
async fn a_rehearsal_tells_everything_and_changes_nothing() {
    let desk = Desk::with_certificates().await;
    let before = desk.revision();
    let new = new(Target::Id(id("web")));
    let rehearsed = desk
        .registry
        .revoke(&new, NodeFate::Stays, now(), true)
        .await
        .unwrap();
    assert_eq!(
        (rehearsed.certificates, &*rehearsed.spiffe_ids),
        (2, &[id("web")][..])
    );
    assert!(desk.registry.revocations().await.unwrap().is_empty());
    assert_eq!(desk.revision(), before);
    let done = desk
        .registry
        .revoke(&new, NodeFate::Stays, now(), false)
        .await
        .unwrap();
    assert_eq!(done, rehearsed);
}

#[tokio::test]
async fn a_closed_id_gets_nothing_until_it_is_reopened_and_then_only_what_begins_later() {
    let desk = Desk::with_certificates().await;
    desk.revoke(Target::Id(id("web"))).await;
    let registry = &desk.registry;
    let may = |what| async move { registry.may_issue(&what, &node("n1")).await.unwrap() };
    assert!(matches!(may(id("web")).await, Err(Withheld::Closed { .. })));
    assert_eq!(may(id("api")).await, Ok(None));
    let record = |number, not_before| {
        let certificate = issued(number, id("web"), "n1", not_before);
        let registry = &desk.registry;
        async move {
            let verdicts = registry.record_issued(&[certificate], now()).await.unwrap();
            verdicts.into_iter().next().unwrap()
        }
    };
    assert!(matches!(record(20, NOW + 1).await, Err(Withheld::Closed { .. })));
    let reopened = desk.registry.reopen(&id("web")).await.unwrap();
    assert!(!reopened.closed && reopened.version == 2);
    assert_eq!(may(id("web")).await, Ok(Some(now())));
    assert!(matches!(record(21, NOW).await, Err(Withheld::Overtaken { .. })));
    assert_eq!(record(22, NOW + 1).await, Ok(()));
    assert_eq!(
        desk.listed(now()).await,
        [serial(1), serial_on("n2", 2)],
        "the new one is good"
    );
    let again = desk.registry.reopen(&id("web")).await;
    assert!(matches!(again, Err(RevokeError::NotClosed(_))));
}

/// A certificate that begins later than those with smaller numbers, and the serial number and beginning of what its node
/// showed for it.
fn submission(number: u8, shown: Option<(u8, u64)>) -> Submission {
    let record = Issuance {
        document: Document::X509,
        serial: serial(number).as_bytes().to_vec(),
        spiffe_id: id("web"),
        node: Some(node("n1")),
        not_before: NOW + u64::from(number),
        not_after: NOW + HOUR,
        sha256: Hash::sha256(b"a certificate"),
    };
    Submission {
        entry: Entry {
            at: NOW,
            caller: Caller::Node(node("n1")),
            record: Record::Issuance(record),
        },
        issued: Some(issued(number, id("web"), "n1", NOW + u64::from(number))),
        shown: shown.map(|(number, not_before)| Shown {
            node: node("n1"),
            serial: Some(serial(number)),
            not_before: at(not_before),
        }),
        signer: None,
    }
}

#[tokio::test]
async fn what_a_node_asked_for_before_it_was_revoked_is_not_for_it_though_it_begins_later() {
    let desk = Desk::with_certificates().await;
    let (writer, work) = desk.registry.log_writer();
    tokio::spawn(work);
    let before = writer.append(submission(40, Some((4, NOW - 10)))).await;
    before.unwrap();
    let size = desk.registry.log_size().await.unwrap();
    desk.fate("n1", NodeFate::Stays).await.unwrap();
    desk.revoke(Target::Serial(serial(60))).await;

    let logged = desk.registry.log_size().await.unwrap();
    assert!(logged > size, "the revocations themselves");
    for (number, shown) in [(41, (4, NOW - 10)), (42, (60, NOW + 41))] {
        let late = writer.append(submission(number, Some(shown))).await;
        assert!(
            matches!(late, Err(AppendError::Withheld(Withheld::Overtaken { .. }))),
            "{shown:?}: {late:?}"
        );
    }
    assert_eq!(
        desk.registry.log_size().await.unwrap(),
        logged,
        "nor is it in the log"
    );
    for (number, shown) in [(43, Some((61, NOW + 41))), (44, None)] {
        writer.append(submission(number, shown)).await.unwrap();
    }
    desk.fate("n1", NodeFate::Banned).await.unwrap();
    let banned = writer.append(submission(45, Some((61, NOW + 500)))).await;
    assert!(matches!(
        banned,
        Err(AppendError::Withheld(Withheld::Banned { .. }))
    ));
}

#[tokio::test]
async fn a_node_that_was_evicted_while_it_attested_gets_no_svid() {
    let desk = Desk::with_certificates().await;
    let registry = &desk.registry;
    let record = async || {
        registry
            .record_first_svid(&node("n1"), &[7], at(NOW + 60))
            .await
            .unwrap()
    };
    assert_eq!(record().await, Standing::Good);
    desk.fate("n1", NodeFate::Evicted).await.unwrap();
    assert_eq!(record().await, Standing::Replaced);
    desk.attest(5, "n1", &[]).await.unwrap();
    assert_eq!(record().await, Standing::Good);
}

#[tokio::test]
async fn revoking_again_reaches_further_and_never_back() {
    let desk = Desk::with_certificates().await;
    desk.revoke(Target::Id(id("web"))).await;
    let earlier = NewRevocation {
        cut: at(NOW - HOUR),
        until: now(),
        ..new(Target::Id(id("web")))
    };
    let effect = desk
        .registry
        .revoke(&earlier, NodeFate::Stays, now(), false)
        .await
        .unwrap();
    assert_eq!(effect.revocation.cut, now());
    assert_eq!(effect.revocation.until, at(NOW + 24 * HOUR));
    assert_eq!(effect.revocation.version, 2);
}

#[tokio::test]
async fn everything_issued_before_is_meant_even_what_a_clock_ahead_has_issued() {
    let desk = Desk::with_certificates().await;
    let ahead = issued(30, id("web"), "n1", NOW + 500);
    desk.registry.record_issued(&[ahead], now()).await.unwrap();
    let effect = desk.revoke(Target::Id(id("web"))).await;
    assert_eq!(effect.certificates, 3);
    assert_eq!(effect.revocation.cut, at(NOW + 500));
}

/// A token that a CA whose clock stands at that moment has issued.
fn token_of(number: u32, service_account: &str, on: &str, moment: u64) -> Submission {
    let node_number = on.trim_start_matches('n').parse().unwrap();
    let record = Issuance {
        document: Document::Jwt,
        serial: node_serial(at(moment), number, node_number, [7; 9]).to_vec(),
        spiffe_id: id(service_account),
        node: Some(node(on)),
        not_before: moment,
        not_after: moment + 300,
        sha256: Hash::sha256(b"a token"),
    };
    Submission {
        entry: Entry {
            at: moment,
            caller: Caller::Node(node(on)),
            record: Record::Issuance(record),
        },
        issued: None,
        shown: None,
        signer: None,
    }
}

#[tokio::test]
async fn a_revocation_reaches_the_tokens_of_a_ca_whose_clock_is_ahead() {
    let desk = Desk::with_certificates().await;
    let (writer, work) = desk.registry.log_writer();
    tokio::spawn(work);
    let tokens = [
        token_of(1, "web", "n2", NOW + 300),
        token_of(2, "api", "n1", NOW + 200),
        token_of(3, "api", "n1", NOW + 250),
        // The clock that is right comes last.
        token_of(4, "web", "n2", NOW),
    ];
    for token in tokens {
        writer.append(token).await.unwrap();
    }
    for (target, moment) in [
        (Target::Id(id("web")), NOW + 300),
        (Target::Node(node("n1")), NOW + 250),
        (Target::Id(id("other")), NOW),
        // It is meant by itself: there is nothing to reach.
        (Target::Serial(serial(9)), NOW),
    ] {
        let revoked = desk.revoke(target.clone()).await.revocation;
        assert_eq!(revoked.at, at(moment), "{target}");
    }
}

#[tokio::test]
async fn a_second_revocation_by_a_clock_that_is_behind_lets_nothing_through_again() {
    let desk = Desk::with_certificates().await;
    let target = Target::Id(id("web"));
    desk.revoke(target.clone()).await;
    let again = desk
        .registry
        .revoke(&new(target), NodeFate::Stays, at(NOW - 300), false)
        .await
        .unwrap();
    assert_eq!(again.revocation.at, now());
    assert_eq!(again.revocation.version, 2);
}

#[tokio::test]
async fn a_node_goes_with_every_certificate_it_asked_for_and_with_no_other() {
    let desk = Desk::with_certificates().await;
    let effect = desk.fate("n1", NodeFate::Stays).await.unwrap();
    assert_eq!(effect.certificates, 3);
    assert_eq!(effect.spiffe_ids, [id("api"), id("web"), own_id("n1")]);
    assert_eq!(desk.listed(now()).await, [serial(1), serial(3), serial(4)]);
    let rows = desk.registry.revocations().await.unwrap();
    assert_eq!(rows.len(), 1, "one for all: {rows:?}");
    assert!(desk.registry.node(&node("n1")).await.unwrap().is_some());
    desk.attest(3, "n1", &[]).await.unwrap();
}

#[tokio::test]
async fn certificates_that_do_not_name_their_node_go_with_it_one_by_one() {
    let desk = Desk::with_certificates().await;
    let old = |number| SerialNumber::new(&[number; 16]).unwrap();
    for (number, spiffe_id, on) in [
        (1, id("web"), "n1"),
        (2, id("web"), "n2"),
        (3, own_id("n1"), "n1"),
    ] {
        let one = Issued {
            serial: old(number),
            ..issued(0, spiffe_id, on, NOW - 10)
        };
        desk.registry
            .record_issued(&[one], now())
            .await
            .unwrap()
            .remove(0)
            .unwrap();
    }
    desk.fate("n1", NodeFate::Stays).await.unwrap();
    let rows = desk.registry.revocations().await.unwrap();
    let caused = rows.iter().filter(|row| row.cause.as_deref() == Some("node:n1"));
    let caused: Vec<_> = caused.map(|row| row.target.clone()).collect();
    assert_eq!(
        caused,
        [Target::Serial(old(1))],
        "beside the node itself: {rows:?}"
    );
}

#[tokio::test]
async fn a_node_that_asked_for_more_than_can_be_counted_off_is_banned_by_one_row() {
    const MANY: u32 = 100_010;
    let desk = Desk::with_two_nodes().await;
    let all: Vec<_> = (0..MANY)
        .map(|number| Issued {
            serial: serial_on("n1", number),
            ..issued(0, id("web"), "n1", NOW - 10)
        })
        .collect();
    desk.registry.record_issued(&all, now()).await.unwrap();
    let effect = desk.fate("n1", NodeFate::Banned).await.unwrap();
    assert_eq!(effect.certificates, usize::try_from(MANY).unwrap());
    assert_eq!(desk.registry.revocations().await.unwrap().len(), 1);
    assert_eq!(desk.news(Revision(0)).await.revocations.len(), 1);
    assert_eq!(desk.listed(now()).await.len(), usize::try_from(MANY).unwrap());
}

#[tokio::test]
async fn a_banned_node_is_out_of_the_view_and_its_tokens_are_refused_until_it_is_evicted() {
    let desk = Desk::with_certificates().await;
    desk.registry
        .create_token(&token(3, "n1", &[]), now())
        .await
        .unwrap();
    let seen = desk.revision();
    let ban = desk.fate("n1", NodeFate::Banned).await.unwrap().revocation;
    assert!(ban.banned && ban.node_number.is_some());

    let news = desk.news(seen).await;
    assert_eq!(news.removed_nodes, [node("n1")]);
    assert_eq!(news.revocations.len(), 1);
    let all = desk.news(Revision(0)).await;
    assert_eq!(all.nodes.len(), 1, "not in a snapshot either");
    assert_eq!(all.revocations.len(), 1);

    let made = desk.registry.create_token(&token(4, "n1", &[]), now()).await;
    assert!(matches!(made, Err(CreateTokenError::Banned { .. })));
    let used = desk.registry.consume_token(&shown(3), now()).await;
    assert!(matches!(used, Err(ConsumeError::Unknown)), "{used:?}");
    let withheld = desk.registry.may_issue(&id("web"), &node("n1")).await.unwrap();
    assert!(matches!(withheld, Err(Withheld::Banned { .. })));

    let before = desk.registry.node(&node("n1")).await.unwrap().unwrap();
    let evicted = desk.fate("n1", NodeFate::Evicted).await.unwrap().revocation;
    assert!(!evicted.banned && desk.registry.ban(&node("n1")).await.unwrap().is_none());
    assert!(desk.registry.node(&node("n1")).await.unwrap().is_none());
    let third = desk.attest(5, "n3", &["10.244.1.0/24"]).await.unwrap();
    assert!(third.number > before.number, "a number has one owner for good");
    let back = desk.attest(6, "n1", &["10.244.7.0/24"]).await.unwrap();
    assert_eq!(back.number, before.number);
    assert_eq!(back.addresses, Vec::<std::net::IpAddr>::new());
}

#[tokio::test]
async fn a_ban_outlives_every_certificate() {
    let desk = Desk::with_certificates().await;
    desk.fate("n1", NodeFate::Banned).await.unwrap();
    let later = at(NOW + 48 * HOUR);
    desk.registry
        .revoke(
            &NewRevocation {
                closed: false,
                ..new(Target::Serial(serial(9)))
            },
            NodeFate::Stays,
            later,
            false,
        )
        .await
        .unwrap();
    assert!(desk.registry.ban(&node("n1")).await.unwrap().is_some());
    let rows = desk.registry.revocations().await.unwrap();
    assert_eq!(rows.len(), 2, "its certificates' rows are gone by now: {rows:?}");
}

#[tokio::test]
async fn a_node_that_nobody_knows_is_not_banned() {
    let desk = Desk::with_certificates().await;
    let typo = desk.fate("m1", NodeFate::Banned).await;
    assert!(matches!(typo, Err(RevokeError::UnknownNode(_))));
    desk.registry
        .create_token(&token(3, "n9", &[]), now())
        .await
        .unwrap();
    desk.fate("n9", NodeFate::Banned).await.unwrap();
    desk.fate("n9", NodeFate::Evicted).await.unwrap();
}

#[tokio::test]
async fn certificates_are_forgotten_some_time_after_they_expire_and_this_happens_again_and_again() {
    let desk = Desk::with_certificates().await;
    for round in 1..3_u8 {
        let moment = NOW + u64::from(round) * 2 * HOUR;
        let one = Issued {
            not_after: at(moment + HOUR),
            ..issued(50 + round, id("web"), "n1", moment)
        };
        desk.registry
            .record_issued(&[one], at(moment))
            .await
            .unwrap()
            .remove(0)
            .unwrap();
        let effect = desk
            .registry
            .revoke(
                &NewRevocation {
                    cut: at(moment + HOUR),
                    ..new(Target::Id(id("web")))
                },
                NodeFate::Stays,
                // Long before any of them ends: only what is still in the table can be meant.
                UnixTime::since_unix_epoch(Duration::ZERO),
                true,
            )
            .await
            .unwrap();
        assert_eq!(effect.certificates, 1, "round {round}");
    }
}
