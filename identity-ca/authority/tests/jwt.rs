//! What a JWT-SVID says, and what becomes of its key.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its token has failed")]

use std::time::Duration;

use signet_authority::{JwtAuthority, JwtSigningKey, MAX_JWT_SVID_LIFE, Serial, TokenIssueError};
use signet_spiffe::{
    Audience, JwtBundleSet, JwtSvidError, SpiffeId, TokenError, TrustDomain, UnixTime, VerifiedJwtSvid,
    verify_jwt_svid,
};

const WEB: &str = "spiffe://td/ns/shop/sa/web";

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn authority(beside: &[&JwtSigningKey]) -> JwtAuthority {
    let beside = beside.iter().map(|key| key.public().clone());
    let domain = TrustDomain::parse("td").unwrap();
    JwtAuthority::new(domain, JwtSigningKey::generate().unwrap(), beside).unwrap()
}

fn serial() -> Serial {
    Serial::from_random([7; 16])
}

fn audience(name: &str) -> Audience {
    Audience::new(&[name.to_owned()]).unwrap()
}

fn issue(authority: &JwtAuthority, life: Duration) -> String {
    let id = SpiffeId::parse(WEB).unwrap();
    let issued = authority.issue(&id, &audience("db"), life, serial(), at(1000));
    issued.unwrap().token.to_string()
}

fn verify(token: &str, authority: &JwtAuthority, now: u64) -> Result<VerifiedJwtSvid, JwtSvidError> {
    verify_jwt_svid(
        token,
        &JwtBundleSet::single(authority.bundle().clone()),
        "db",
        at(now),
    )
}

#[test]
fn spiffe_row_26_27_and_28_a_token_says_who_for_whom_and_until_when() {
    let authority = authority(&[]);
    let token = issue(&authority, Duration::from_mins(5));
    let verified = verify(&token, &authority, 1299).unwrap();
    assert_eq!(verified.id().as_str(), WEB);
    assert_eq!(verified.audience(), ["db"]);
    assert_eq!(verified.key_id(), authority.bundle().keys()[0].id());
    assert_eq!(verified.claims()["jti"], "07".repeat(16));
    assert!(matches!(
        verify(&token, &authority, 1300),
        Err(JwtSvidError::Token(TokenError::Expired { .. }))
    ));
}

#[test]
fn no_token_lives_longer_than_the_maximum_nor_not_at_all() {
    let authority = authority(&[]);
    let token = issue(&authority, Duration::MAX);
    let end = 1000 + MAX_JWT_SVID_LIFE.as_secs();
    assert_eq!(verify(&token, &authority, 1000).unwrap().expires(), at(end));
    let id = SpiffeId::parse(WEB).unwrap();
    let none = authority.issue(
        &id,
        &audience("db"),
        Duration::from_millis(999),
        serial(),
        at(1000),
    );
    assert!(matches!(none, Err(TokenIssueError::NoLife)));
}

#[test]
fn no_token_is_made_for_another_trust_domain_or_for_the_authority_itself() {
    let authority = authority(&[]);
    let refused = |id: &str| {
        let id = SpiffeId::parse(id).unwrap();
        let life = Duration::from_mins(5);
        authority
            .issue(&id, &audience("db"), life, serial(), at(1000))
            .unwrap_err()
    };
    assert!(matches!(
        refused("spiffe://other/web"),
        TokenIssueError::TrustDomain { .. }
    ));
    assert!(matches!(refused("spiffe://td"), TokenIssueError::RootPath { .. }));
}

#[test]
fn a_key_is_published_before_it_signs_and_after() {
    let (next, old) = (
        JwtSigningKey::generate().unwrap(),
        JwtSigningKey::generate().unwrap(),
    );
    let (next_id, old_id) = (next.public().id().to_owned(), old.public().id().to_owned());
    let now = authority(&[&next, &old]);
    let ids: Vec<_> = now
        .bundle()
        .keys()
        .iter()
        .map(signet_spiffe::JwtKey::id)
        .collect();
    assert_eq!(ids[1..], [next_id.as_str(), old_id.as_str()]);
    let signs = verify(&issue(&now, Duration::from_mins(5)), &now, 1000).unwrap();
    assert_eq!(signs.key_id(), ids[0], "only the active key signs");
    let before = now.bundle().keys()[0].clone();
    let domain = TrustDomain::parse("td").unwrap();
    let later = JwtAuthority::new(domain, next, [before]).unwrap();
    assert!(verify(&issue(&later, Duration::from_mins(5)), &now, 1000).is_ok());
    assert!(verify(&issue(&now, Duration::from_mins(5)), &later, 1000).is_ok());
}

#[test]
fn neither_key_nor_token_is_shown() {
    let key = JwtSigningKey::generate().unwrap();
    let shown = format!("{key:?}");
    assert_eq!(shown, format!("JwtSigningKey({})", key.public().id()));
    let authority = authority(&[]);
    let id = SpiffeId::parse(WEB).unwrap();
    let life = Duration::from_mins(5);
    let issued = authority
        .issue(&id, &audience("db"), life, serial(), at(1000))
        .unwrap();
    let signature = issued.token.rsplit('.').next().unwrap();
    assert!(!format!("{issued:?}").contains(signature));
}
