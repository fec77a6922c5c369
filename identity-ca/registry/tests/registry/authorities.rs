//! The life of signing authorities.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, SanType};
use signet_log::{Caller, Document, Entry, Hash, Issuance, Record};
use signet_registry::{
    Adopted, AppendError, AuthorityError, NewAuthority, NewRevocation, NodeFate, Position, Registry,
    RevokeError, SignedBy, StoredAuthority, Submission, Target, Withheld,
};
use signet_rotation::{AuthorityId, AuthorityKind, Enough, PUBLISH_INTERVAL, State, StepError};
use signet_spiffe::{JwtBundle, JwtKey, KeyId, NodeName, TrustDomain, UnixTime};

use crate::backend;
use crate::desk::{Desk, NOW, at, now};

const DAY: u64 = 24 * 3600;
const X509: AuthorityKind = AuthorityKind::X509;
const JWT: AuthorityKind = AuthorityKind::Jwt;

fn domain() -> TrustDomain {
    TrustDomain::parse("td").unwrap()
}

fn key_id(number: u8) -> KeyId {
    KeyId::new(&[number; 20]).unwrap()
}

fn name(number: u8) -> AuthorityId {
    key_id(number).to_string().parse().unwrap()
}

pub(crate) fn x509(number: u8) -> NewAuthority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![SanType::URI("spiffe://td".try_into().unwrap())];
    let root = params.self_signed(&key).unwrap().der().clone();
    NewAuthority {
        kind: X509,
        id: name(number),
        public: StoredAuthority::chain_to_bytes(&[root]),
        key: vec![number],
        not_before: now(),
        not_after: at(NOW + 400 * DAY),
    }
}

fn jwt() -> NewAuthority {
    let key = KeyPair::generate().unwrap();
    let key = JwtKey::p256(key.der_bytes()).unwrap();
    let id = key.id().parse().unwrap();
    NewAuthority {
        kind: JWT,
        id,
        public: JwtBundle::new(domain(), vec![key])
            .unwrap()
            .to_jwks()
            .into_bytes(),
        key: vec![0],
        not_before: now(),
        not_after: at(NOW + 4000 * DAY),
    }
}

/// With an authority of each kind, and that is number 1.
async fn begun() -> Registry {
    let registry = backend::registry().await;
    registry.bind_trust_domain(&domain()).await.unwrap();
    let first = registry.adopt_authorities(vec![x509(1), jwt()], now()).await;
    assert_eq!(first.unwrap(), Adopted::Yes);
    registry
}

async fn states(registry: &Registry, kind: AuthorityKind) -> Vec<State> {
    let all = registry.authorities().await.unwrap();
    all.of(kind).map(|one| one.life.state).collect()
}

async fn sequence(registry: &Registry) -> (u64, usize) {
    let bundle = registry.authorities().await.unwrap().bundle.unwrap();
    (bundle.sequence, bundle.x509.authorities().len())
}

async fn activate(registry: &Registry, enough: Enough, moment: UnixTime) -> Result<(), AuthorityError> {
    let done = registry
        .activate_authority(X509, None, PUBLISH_INTERVAL, enough, moment, false)
        .await;
    done.map(drop)
}

fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

/// A node that attested and has an SVID for a day.
async fn attested(registry: Registry, number: u8, name: &str) -> Registry {
    let desk = Desk { registry };
    desk.attest(number, name, &[]).await.unwrap();
    let done = desk
        .registry
        .record_first_svid(&node(name), &[number], at(NOW + DAY))
        .await;
    assert_eq!(done.unwrap(), signet_registry::Standing::Good);
    desk.registry
}

async fn acknowledge(registry: &Registry, name: &str) -> bool {
    let bundle = registry.authorities().await.unwrap().bundle.unwrap();
    let name = node(name);
    let done = registry.acknowledge_bundle(&name, bundle.sequence, &bundle.mark);
    done.await.unwrap()
}

#[tokio::test]
async fn the_first_authorities_are_active_and_are_the_first_bundle() {
    let registry = begun().await;
    assert_eq!(sequence(&registry).await, (1, 1));
    let all = registry.authorities().await.unwrap();
    assert_eq!(all.active(X509).unwrap().life.sequence, 1);
    assert_eq!(all.active(JWT).unwrap().key, Some(vec![0]));
    // Another CA that comes with keys of its own takes those that there are.
    let second = registry.adopt_authorities(vec![x509(2), jwt()], now()).await;
    assert_eq!(second.unwrap(), Adopted::No);
    assert_eq!(states(&registry, X509).await, [State::Active]);
}

#[tokio::test]
async fn a_life_from_prepared_to_retired_and_what_is_published_on_the_way() {
    let registry = begun().await;
    let before = registry.log_size().await.unwrap();
    let position = Desk {
        registry: registry.clone(),
    }
    .position(registry.revision())
    .await;
    let made = registry
        .prepare_authority(x509(2), PUBLISH_INTERVAL, now())
        .await
        .unwrap();
    assert_eq!((made.life.sequence, sequence(&registry).await), (2, (2, 2)));
    let told = registry
        .changes_since(&node("n1"), position)
        .await
        .unwrap()
        .unwrap();
    assert!(told.bundle && !told.snapshot);
    let again = registry.prepare_authority(x509(3), PUBLISH_INTERVAL, now()).await;
    assert!(matches!(
        again,
        Err(AuthorityError::Step(StepError::AlreadyPrepared { .. }))
    ));
    let later = NOW + PUBLISH_INTERVAL.as_secs();
    activate(&registry, Enough::Time, at(later - 1))
        .await
        .unwrap_err();
    activate(&registry, Enough::Time, at(later)).await.unwrap();
    assert_eq!(states(&registry, X509).await, [State::Old, State::Active]);
    let taint = registry.taint_authority(X509, &name(2), at(later), false).await;
    assert!(matches!(
        taint,
        Err(AuthorityError::Step(StepError::State { .. }))
    ));
    registry
        .taint_authority(X509, &name(1), at(later), false)
        .await
        .unwrap();
    assert_eq!(sequence(&registry).await, (2, 2), "the content is the same");
    let week = Duration::from_secs(7 * DAY);
    let early = registry
        .retire_authority(X509, &name(1), week, at(later + DAY), false)
        .await;
    assert!(matches!(
        early,
        Err(AuthorityError::Step(StepError::Alive { .. }))
    ));
    registry.forget_key(X509, &name(1)).await.unwrap();
    assert!(
        registry.authorities().await.unwrap().all[0].key.is_some(),
        "it is not over"
    );
    registry
        .retire_authority(X509, &name(1), week, at(later + 7 * DAY), false)
        .await
        .unwrap();
    assert_eq!(sequence(&registry).await, (3, 1));
    registry.forget_key(X509, &name(1)).await.unwrap();
    assert_eq!(registry.authorities().await.unwrap().all[0].key, None);
    // prepare: content and authority; activate: two; taint; retire: content and authority.
    assert_eq!(registry.log_size().await.unwrap(), before + 7);
}

#[tokio::test]
async fn nodes_that_have_not_said_that_they_have_it_are_waited_for_and_no_others() {
    let registry = attested(attested(begun().await, 1, "n1").await, 2, "n2").await;
    let registry = attested(registry, 3, "n3").await;
    let revoke = |name: &str, fate| {
        let new = NewRevocation {
            target: Target::Node(node(name)),
            cut: now(),
            until: at(NOW + DAY),
            reason: "gone".to_owned(),
            asker: "uid:0".to_owned(),
            closed: false,
        };
        let registry = registry.clone();
        async move { registry.revoke(&new, fate, now(), false).await.map(drop) }
    };
    revoke("n3", NodeFate::Banned).await.unwrap();
    assert!(acknowledge(&registry, "n1").await && acknowledge(&registry, "n2").await);
    registry
        .prepare_authority(x509(2), PUBLISH_INTERVAL, now())
        .await
        .unwrap();
    let missing = async |moment| {
        let missing = registry.unacknowledged(2, moment).await.unwrap();
        missing
            .iter()
            .map(|missing| missing.node.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(missing(now()).await, ["n1", "n2"]);
    let refused = activate(&registry, Enough::Acknowledged, now())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("n1, n2"), "{refused}");
    assert!(acknowledge(&registry, "n1").await);
    // Of another bundle, or another history, a word tells nothing.
    let mark = registry.authorities().await.unwrap().bundle.unwrap().mark;
    for (sequence, mark) in [(1, mark.as_str()), (3, &mark), (2, ""), (2, "00")] {
        let counted = registry.acknowledge_bundle(&node("n2"), sequence, mark).await;
        assert!(!counted.unwrap(), "{sequence} {mark}");
    }
    assert_eq!(missing(now()).await, ["n2"]);
    assert_eq!(missing(at(NOW + DAY)).await, [""; 0], "its SVID has ended");
    revoke("n2", NodeFate::Evicted).await.unwrap();
    activate(&registry, Enough::Acknowledged, now()).await.unwrap();
}

fn signed_by(signer: SignedBy) -> Submission {
    Submission {
        entry: Entry {
            at: NOW,
            caller: Caller::Ca,
            record: Record::Issuance(Issuance {
                document: Document::X509,
                serial: vec![1],
                spiffe_id: crate::desk::id("web"),
                node: None,
                not_before: NOW,
                not_after: NOW + 60,
                sha256: Hash::sha256(b"x"),
            }),
        },
        issued: None,
        shown: None,
        signer: Some(signer),
    }
}

#[tokio::test]
async fn what_another_authority_signs_now_is_not_logged_and_so_not_handed_out() {
    let registry = begun().await;
    let (writer, work) = registry.log_writer();
    tokio::spawn(work);
    let submission = |signer| signed_by(SignedBy::Active(X509, signer));
    writer.append(submission(name(1))).await.unwrap();
    registry
        .prepare_authority(x509(2), PUBLISH_INTERVAL, now())
        .await
        .unwrap();
    let size = registry.log_size().await.unwrap();
    let early = writer.append(submission(name(2))).await;
    assert!(matches!(early, Err(AppendError::Withheld(Withheld::Superseded))));
    activate(&registry, Enough::Time, at(NOW + DAY)).await.unwrap();
    let late = writer.append(submission(name(1))).await;
    assert!(matches!(late, Err(AppendError::Withheld(Withheld::Superseded))));
    assert_eq!(
        registry.log_size().await.unwrap(),
        size + 2,
        "none of them is there"
    );
    writer.append(submission(name(2))).await.unwrap();
}

#[tokio::test]
async fn of_the_ca_itself_a_former_authority_signs_until_it_is_tainted_and_no_other_ever() {
    let registry = begun().await;
    let (writer, work) = registry.log_writer();
    tokio::spawn(work);
    let logged = async |number| {
        let done = writer.append(signed_by(SignedBy::Former(name(number)))).await;
        match done {
            Ok(()) => true,
            Err(AppendError::Withheld(Withheld::Superseded)) => false,
            Err(error) => panic!("{error}"),
        }
    };
    registry
        .prepare_authority(x509(2), PUBLISH_INTERVAL, now())
        .await
        .unwrap();
    assert!(logged(1).await, "it signs");
    assert!(!logged(2).await, "its time has not come");
    assert!(!logged(3).await, "nobody knows it");
    activate(&registry, Enough::Time, at(NOW + DAY)).await.unwrap();
    assert!(logged(1).await, "it did");
    let old_for_others = writer.append(signed_by(SignedBy::Active(X509, name(1)))).await;
    assert!(matches!(
        old_for_others,
        Err(AppendError::Withheld(Withheld::Superseded))
    ));
    registry
        .taint_authority(X509, &name(1), at(NOW + DAY), false)
        .await
        .unwrap();
    assert!(!logged(1).await, "its key may be somebody else's");
}

#[tokio::test]
async fn an_authority_is_revoked_together_with_its_place_in_the_bundle() {
    let registry = begun().await;
    registry
        .prepare_authority(x509(2), PUBLISH_INTERVAL, now())
        .await
        .unwrap();
    let revoke = |number, rehearse| {
        let new = NewRevocation {
            target: Target::Authority(key_id(number)),
            cut: now(),
            until: at(NOW + DAY),
            reason: "stolen".to_owned(),
            asker: "uid:0".to_owned(),
            closed: false,
        };
        let registry = registry.clone();
        async move { registry.revoke(&new, NodeFate::Stays, now(), rehearse).await }
    };
    assert!(
        matches!(revoke(1, false).await, Err(RevokeError::Step(_))),
        "it signs"
    );
    assert!(registry.knows(&Target::Authority(key_id(2))).await.unwrap());
    assert!(!registry.knows(&Target::Authority(key_id(9))).await.unwrap());
    revoke(2, true).await.unwrap();
    assert_eq!(
        states(&registry, X509).await,
        [State::Active, State::Prepared],
        "rehearsed"
    );
    revoke(2, false).await.unwrap();
    assert_eq!(states(&registry, X509).await, [State::Active, State::Revoked]);
    assert_eq!(sequence(&registry).await, (3, 1));
    let told = registry
        .changes_since(&node("n1"), Position::default())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(told.revocations.len(), 1);
    // One that is nobody's is a revocation alone.
    revoke(9, false).await.unwrap();
    assert_eq!(sequence(&registry).await, (3, 1));
}

#[tokio::test]
async fn a_jwt_key_is_revoked_by_being_taken_out() {
    let registry = begun().await;
    let next = jwt();
    let id = next.id.clone();
    registry
        .prepare_authority(next, PUBLISH_INTERVAL, now())
        .await
        .unwrap();
    let keys = async || {
        let bundle = registry.authorities().await.unwrap().bundle.unwrap();
        bundle
            .jwt
            .keys()
            .iter()
            .map(|key| key.id().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(keys().await.contains(&id.to_string()));
    registry.revoke_jwt_authority(&id, now(), false).await.unwrap();
    assert!(!keys().await.contains(&id.to_string()));
    assert_eq!(states(&registry, JWT).await.len(), 2);
}
