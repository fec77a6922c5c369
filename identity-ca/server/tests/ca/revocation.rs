//! Revocation, bans and eviction: from the operator's call to what nodes hear, what the CA refuses, and what the list says.

use std::time::Duration;

use rcgen::KeyPair;
use signet_proto::ca::v1::revoke_request::Subject;
use signet_proto::ca::v1::{
    BanNodeRequest, EvictNodeRequest, GetCrlRequest, GetCrlResponse, IssueX509SvidRequest,
    ListRevocationsRequest, RenewNodeSvidRequest, ReopenRequest, RevocationEntry, RevokeRequest,
    RevokeResponse, Svid,
};
use signet_proto::view::v1::{Revocation, revocation};
use signet_spiffe::{UnixTime, verify_x509_svid};
use tonic::{Code, Status};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::running::{Running, TestNode, chain, request};

const WEB: &str = "spiffe://td/ns/shop/sa/web";

fn because(subject: Subject) -> RevokeRequest {
    RevokeRequest {
        subject: Some(subject),
        reason: "key-compromise".to_owned(),
        ..RevokeRequest::default()
    }
}

impl Running {
    async fn revoke(&self, request: RevokeRequest) -> Result<RevokeResponse, Status> {
        Ok(self.operator.clone().revoke(request).await?.into_inner())
    }

    async fn ban(&self, node: &str) -> Result<RevokeResponse, Status> {
        let request = BanNodeRequest {
            node: node.to_owned(),
            reason: "stolen".to_owned(),
            rehearse: false,
        };
        Ok(self.operator.clone().ban_node(request).await?.into_inner())
    }

    async fn crl(&self) -> GetCrlResponse {
        self.operator
            .clone()
            .get_crl(GetCrlRequest {})
            .await
            .unwrap()
            .into_inner()
    }

    async fn revocations(&self) -> Vec<RevocationEntry> {
        let mut operator = self.operator.clone();
        let list = operator.list_revocations(ListRevocationsRequest {}).await;
        list.unwrap().into_inner().revocations
    }

    /// Serial numbers on the list, hexadecimal; the list is checked against the root first.
    async fn listed(&self) -> Vec<String> {
        let answer = self.crl().await;
        let (rest, list) = CertificateRevocationList::from_der(&answer.der).unwrap();
        assert!(rest.is_empty());
        let root = self.server.bundle().authorities()[0].clone();
        let (_, root) = X509Certificate::from_der(&root).unwrap();
        list.verify_signature(root.public_key()).unwrap();
        assert_eq!(list.issuer(), root.subject());
        let serials = list.iter_revoked_certificates();
        serials.map(|entry| format!("{:032x}", entry.serial())).collect()
    }
}

impl TestNode {
    async fn issue(&self, registration: &str) -> Result<Svid, Status> {
        let (_, csr) = request();
        let request = IssueX509SvidRequest {
            registration: registration.to_owned(),
            csr,
        };
        Ok(self.client.clone().issue_x509_svid(request).await?.into_inner())
    }

    async fn list(&self) -> Result<GetCrlResponse, Status> {
        let list = self.client.clone().get_crl(GetCrlRequest {}).await?;
        Ok(list.into_inner())
    }

    async fn renew(&self) -> Result<Svid, Status> {
        let (_, csr): (KeyPair, _) = request();
        let request = RenewNodeSvidRequest { csr };
        Ok(self.client.clone().renew_node_svid(request).await?.into_inner())
    }
}

fn serial(ca: &Running, svid: &Svid) -> String {
    let svid = verify_x509_svid(&chain(svid), &ca.bundles(), UnixTime::now()).unwrap();
    signet_spiffe::SerialNumber::new(svid.serial())
        .unwrap()
        .to_string()
}

fn padded(serial: &str) -> String {
    format!("{serial:0>32}")
}

#[tokio::test]
async fn a_revoked_serial_is_pushed_at_once_and_told_again_to_who_was_away_and_stands_on_the_list() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let web = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    let svid = node.issue(&web.id).await.unwrap();
    let serial = serial(&ca, &svid);
    let parsed: signet_spiffe::SerialNumber = serial.parse().unwrap();
    assert_eq!(parsed.node(), Some(1), "it names the node that asked");
    let mut stream = node.follow(0).await;
    let seen = stream.next().await;
    assert!(seen.revocations.is_empty() && ca.listed().await.is_empty());

    let answer = ca.revoke(because(Subject::Serial(serial.clone()))).await.unwrap();
    assert_eq!((answer.certificates, answer.connected), (1, 1));
    assert_eq!(answer.spiffe_ids, [WEB]);
    let update = stream.next().await;
    let [told] = update.revocations.as_slice() else {
        panic!("{update:?}")
    };
    assert_eq!(told.owner, WEB);
    assert!(matches!(&told.subject, Some(revocation::Subject::Serial(_))));
    assert_eq!(told.until, svid.not_after.max(told.until));
    drop(stream);

    let resumed = node.follow(&seen).await.next().await;
    assert!(!resumed.snapshot);
    assert_eq!(resumed.revocations, std::slice::from_ref(told));
    assert_eq!(
        node.follow(0).await.next().await.revocations,
        std::slice::from_ref(told)
    );
    assert_eq!(ca.listed().await, [padded(&serial)]);
    node.issue(&web.id)
        .await
        .expect("one certificate was revoked, not the identity");
}

#[tokio::test]
async fn a_revoked_id_gets_no_certificate_until_it_is_reopened_and_then_one_that_counts() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let web = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    let other = ca
        .register("spiffe://td/ns/shop/sa/api", "n1", "unix:uid:1")
        .await
        .unwrap();
    let old = serial(&ca, &node.issue(&web.id).await.unwrap());
    let revoked = ca
        .revoke(because(Subject::SpiffeId(WEB.to_owned())))
        .await
        .unwrap();
    let cut = revoked.revocation.unwrap().revocation.unwrap().not_before;
    let refused = node.issue(&web.id).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("signet ca reopen"), "{refused}");
    node.issue(&other.id).await.expect("others go on");

    let reopen = ReopenRequest {
        spiffe_id: WEB.to_owned(),
    };
    ca.operator.clone().reopen(reopen).await.unwrap();
    let new = node.issue(&web.id).await.unwrap();
    let verified = verify_x509_svid(&chain(&new), &ca.bundles(), UnixTime::now()).unwrap();
    assert!(i64::try_from(verified.not_before().as_secs()).unwrap() > cut);
    assert_eq!(
        ca.listed().await,
        [padded(&old)],
        "the new one is not on the list"
    );
}

#[tokio::test]
async fn a_banned_node_hears_why_and_gets_nothing_until_it_is_evicted_and_attests_anew() {
    let ca = Running::in_memory().await;
    let (one, two) = (ca.node("n1", &[]).await, ca.node("n2", &[]).await);
    let web = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    one.issue(&web.id).await.unwrap();
    let mut at_two = two.announce(0, &["192.0.2.2"]).await.unwrap();
    at_two.next().await;
    let mut at_one = one.follow(0).await;
    at_one.next().await;
    at_two.next().await;
    let token = ca.token("n1", &[]).await.unwrap();

    let answer = ca.ban("n1").await.unwrap();
    assert_eq!(answer.certificates, 2);
    for stream in [&mut at_one, &mut at_two] {
        let update = stream.next().await;
        assert_eq!(update.removed_nodes, ["n1"]);
        let banned = |revocation: &&Revocation| revocation.banned && revocation.node_id == 1;
        assert_eq!(update.revocations.iter().filter(banned).count(), 1);
        assert_eq!(update.revocations.len(), 1, "for all that it asked for");
    }
    let end = at_one.end().await;
    assert_eq!(end.code(), Code::PermissionDenied);
    assert!(
        end.message().contains("banned") && end.message().contains("stolen"),
        "{end}"
    );
    for refused in [one.renew().await, one.issue(&web.id).await] {
        assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    }
    // The client's side of TLS 1.3 may be done before the server has refused.
    if let Ok(client) = ca.client(Some(&one.identity)).await {
        assert!(TestNode { client, ..one }.renew().await.is_err());
    }
    assert!(ca.attest_with(&token).await.is_err());
    let refused = ca.token("n1", &[]).await.unwrap_err();
    assert!(refused.message().contains("signet ca evict"), "{refused}");
    two.renew().await.expect("the other node goes on");
    assert_eq!(ca.listed().await.len(), 2);

    let evict = EvictNodeRequest {
        node: "n1".to_owned(),
        reason: "found again".to_owned(),
        rehearse: false,
    };
    ca.operator.clone().evict_node(evict).await.unwrap();
    let back = ca.node("n1", &[]).await;
    back.renew().await.unwrap();
    back.issue(&web.id).await.unwrap();
    let update = loop {
        let update = at_two.next().await;
        if !update.nodes.is_empty() {
            break update;
        }
    };
    assert_eq!((update.nodes[0].name.as_str(), update.nodes[0].id), ("n1", 1));
}

#[tokio::test]
async fn a_revoked_node_may_attest_anew_at_once() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    ca.revoke(because(Subject::Node("n1".to_owned()))).await.unwrap();
    assert_eq!(node.renew().await.unwrap_err().code(), Code::Unauthenticated);
    let back = ca.node("n1", &[]).await;
    back.renew()
        .await
        .expect("what was issued after the revocation counts");
}

#[tokio::test]
async fn a_rehearsal_revokes_nothing() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let rehearsal = RevokeRequest {
        rehearse: true,
        ..because(Subject::Node("n1".to_owned()))
    };
    assert_eq!(ca.revoke(rehearsal).await.unwrap().certificates, 1);
    node.renew().await.unwrap();
    assert!(ca.revocations().await.is_empty());
}

#[tokio::test]
async fn what_an_operator_should_not_do_by_mistake_is_refused() {
    let ca = Running::in_memory().await;
    let own = ca.server.bundle().key_ids().next().unwrap().to_string();
    let id = |text: &str| Subject::SpiffeId(text.to_owned());
    for (subject, code) in [
        (Subject::Authority(own), Code::FailedPrecondition),
        (id("spiffe://td/signet/ca"), Code::InvalidArgument),
        (id("spiffe://td/signet/node/n1"), Code::InvalidArgument),
        (id("spiffe://other/web"), Code::InvalidArgument),
        (Subject::Serial("xyz".to_owned()), Code::InvalidArgument),
        (Subject::Node("n1".to_owned()), Code::NotFound),
    ] {
        let refused = ca.revoke(because(subject.clone())).await.unwrap_err();
        assert_eq!(refused.code(), code, "{subject:?}: {refused}");
    }
    for reason in ["", " ", "a\nb", &"x".repeat(257)] {
        let request = RevokeRequest {
            reason: reason.to_owned(),
            ..because(id(WEB))
        };
        assert_eq!(
            ca.revoke(request).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
    assert_eq!(
        ca.revoke(RevokeRequest::default()).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn what_the_ca_knows_nothing_of_is_revoked_only_by_force() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let ghost = Subject::SpiffeId("spiffe://td/ns/shop/sa/ghost".to_owned());
    let unknown = [
        Subject::Serial("77".to_owned()),
        ghost,
        Subject::Authority("ab".repeat(20)),
    ];
    for subject in unknown {
        for rehearse in [true, false] {
            let request = RevokeRequest {
                rehearse,
                ..because(subject.clone())
            };
            let refused = ca.revoke(request).await.unwrap_err();
            assert_eq!(refused.code(), Code::NotFound, "{subject:?}");
            assert!(refused.message().contains("--force"), "{refused}");
        }
        assert!(ca.revocations().await.is_empty(), "{subject:?}");
    }
    let forced = RevokeRequest {
        force: true,
        ..because(Subject::Serial("77".to_owned()))
    };
    ca.revoke(forced).await.unwrap();
    ca.revoke(because(Subject::Serial("77".to_owned())))
        .await
        .expect("once more is no slip");
    let own = serial(&ca, node.answer.svid.as_ref().unwrap());
    ca.revoke(because(Subject::Serial(own))).await.unwrap();
    let registered = ca.register(WEB, "n1", "unix:uid:1").await.unwrap();
    assert_eq!(registered.spiffe_id, WEB);
    ca.revoke(because(Subject::SpiffeId(WEB.to_owned())))
        .await
        .unwrap();
}

#[tokio::test]
async fn nodes_that_are_in_get_the_list_one_for_all_until_it_changes_or_ages() {
    let ca = Running::in_memory().await;
    let (node, other) = (ca.node("n1", &[]).await, ca.node("n2", &[]).await);
    let before = node.list().await.unwrap();
    assert_eq!(before.certificates, 0);
    assert_eq!(other.list().await.unwrap().der, before.der);
    assert!(
        before.this_update <= before.next_update - 3600 - 300,
        "for slow clocks"
    );

    ca.ban("n2").await.unwrap();
    let after = node.list().await.unwrap();
    assert!(after.certificates == 1 && after.number > before.number);
    assert!(
        after.pem.is_empty() && !ca.crl().await.pem.is_empty(),
        "for operators alone"
    );
    assert!(other.list().await.is_err(), "it is banned");
    ca.put_clock_ahead(Duration::from_mins(20));
    let renewed = node.list().await.unwrap();
    assert!(renewed.next_update > after.next_update && renewed.number == after.number);
}

#[tokio::test]
async fn a_restarted_ca_still_refuses_and_the_list_goes_on_where_it_was() {
    let ca = Running::on_disk(tempfile::tempdir().unwrap()).await;
    let node = ca.node("n1", &[]).await;
    ca.ban("n1").await.unwrap();
    let before = ca.crl().await;
    let directory = ca.stop().await;
    let ca = Running::on_disk(directory).await;
    let after = ca.crl().await;
    assert_eq!(after.certificates, 1);
    assert!(after.number >= before.number);
    assert!(after.next_update > after.this_update && after.pem.starts_with("-----BEGIN X509 CRL"));
    if let Ok(client) = ca.client(Some(&node.identity)).await {
        assert!(TestNode { client, ..node }.renew().await.is_err());
    }
    let list = ca.revocations().await;
    assert_eq!(list.len(), 1);
    assert!(list[0].by.starts_with("uid:"), "{list:?}");
    ca.put_clock_ahead(Duration::from_hours(25));
    assert_eq!(
        ca.crl().await.certificates,
        0,
        "expired certificates leave the list"
    );
}

#[tokio::test]
async fn the_list_of_a_revoked_node_has_every_certificate_that_the_node_asked_for() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let mut wanted = vec![padded(&serial(&ca, node.answer.svid.as_ref().unwrap()))];
    for number in 0..3 {
        let id = format!("spiffe://td/ns/shop/sa/w{number}");
        let registration = ca.register(&id, "n1", "unix:uid:1").await.unwrap();
        wanted.push(padded(&serial(&ca, &node.issue(&registration.id).await.unwrap())));
    }
    ca.revoke(because(Subject::Node("n1".to_owned()))).await.unwrap();
    wanted.sort();
    assert_eq!(ca.listed().await, wanted);
}
