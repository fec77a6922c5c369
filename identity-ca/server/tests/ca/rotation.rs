//! Signing authorities come and go, and nobody is lost.

use std::time::Duration;

use signet_ca::Storage;
use signet_proto::ca::v1::{
    AcknowledgeBundleRequest, ActivateAuthorityRequest, Authority, GetCrlRequest, IssueX509SvidRequest,
    ListAuthoritiesRequest, PrepareAuthorityRequest, RenewNodeSvidRequest, RetireAuthorityRequest,
    RevokeAuthorityRequest, StatusRequest, Svid, TaintAuthorityRequest,
};
use signet_proto::view::v1::TrustBundle;
use signet_spiffe::verify_x509_svid;
use tonic::{Code, Status};

use crate::running::{Follower, Running, TestNode, chain, domain, pair, request};

pub(crate) const X509: &str = "x509";
const INTERVAL: Duration = Duration::from_mins(25);

impl Running {
    pub(crate) async fn authorities_of(&self, kind: &str) -> Vec<Authority> {
        let list = self
            .authorities
            .clone()
            .list_authorities(ListAuthoritiesRequest {})
            .await;
        let mut all = list.unwrap().into_inner().authorities;
        all.retain(|one| one.kind == kind);
        all
    }

    pub(crate) async fn states(&self, kind: &str) -> Vec<String> {
        let all = self.authorities_of(kind).await;
        all.into_iter().map(|one| one.state).collect()
    }

    pub(crate) async fn prepare(&self, kind: &str) -> Result<Authority, Status> {
        let request = PrepareAuthorityRequest {
            kind: kind.to_owned(),
        };
        let done = self.authorities.clone().prepare_authority(request).await?;
        Ok(done.into_inner().authority.unwrap())
    }

    pub(crate) async fn activate(&self, kind: &str, acknowledged: bool) -> Result<Vec<String>, Status> {
        let request = ActivateAuthorityRequest {
            kind: kind.to_owned(),
            id: String::new(),
            acknowledged,
            rehearse: false,
        };
        let done = self.authorities.clone().activate_authority(request).await?;
        Ok(done.into_inner().nodes)
    }

    pub(crate) async fn taint(&self, id: &str) -> Result<(), Status> {
        let request = TaintAuthorityRequest {
            kind: X509.to_owned(),
            id: id.to_owned(),
            rehearse: false,
        };
        self.authorities.clone().taint_authority(request).await.map(drop)
    }

    pub(crate) async fn retire(&self, id: &str) -> Result<(), Status> {
        let request = RetireAuthorityRequest {
            kind: X509.to_owned(),
            id: id.to_owned(),
            rehearse: false,
        };
        self.authorities.clone().retire_authority(request).await.map(drop)
    }

    pub(crate) async fn revoke_authority(&self, id: &str, force: bool) -> Result<(), Status> {
        let request = RevokeAuthorityRequest {
            kind: X509.to_owned(),
            id: id.to_owned(),
            reason: "stolen".to_owned(),
            rehearse: false,
            force,
        };
        self.authorities.clone().revoke_authority(request).await.map(drop)
    }
}

impl TestNode {
    pub(crate) async fn acknowledge(&self, bundle: &TrustBundle) -> bool {
        let request = AcknowledgeBundleRequest {
            sequence: bundle.sequence,
            mark: bundle.mark.clone(),
        };
        let done = self.client.clone().acknowledge_bundle(request).await;
        done.unwrap().into_inner().counted
    }

    async fn svid_of(&self, registration: &str) -> Result<Svid, Status> {
        let call = IssueX509SvidRequest {
            registration: registration.to_owned(),
            csr: request().1,
        };
        Ok(self.client.clone().issue_x509_svid(call).await?.into_inner())
    }

    /// With a new SVID, on a new connection.
    async fn renewed(self, ca: &Running) -> Self {
        let (key, csr) = request();
        let svid = self
            .client
            .clone()
            .renew_node_svid(RenewNodeSvidRequest { csr })
            .await;
        let identity = pair(&key, &svid.unwrap().into_inner());
        let client = ca.client(Some(&identity)).await.unwrap();
        Self {
            identity,
            client,
            ..self
        }
    }
}

/// The next bundle that is pushed.
pub(crate) async fn next_bundle(follower: &mut Follower) -> TrustBundle {
    loop {
        if let Some(bundle) = follower.next().await.bundle {
            return bundle;
        }
    }
}

/// Which authority signed.
pub(crate) fn signer(svid: &Svid, ca: &Running) -> String {
    let verified = verify_x509_svid(&chain(svid), &ca.bundles(), ca.now()).unwrap();
    verified.authorities()[0].to_string()
}

#[tokio::test]
async fn spiffe_row_62_no_authority_signs_before_everybody_who_polls_has_it_and_the_old_one_leaves_in_the_end()
 {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let mut follower = node.follow(0).await;
    let first = next_bundle(&mut follower).await;
    let web = ca.register("spiffe://td/web", "n1", "unix:uid:1").await.unwrap();
    let before = node.svid_of(&web.id).await.unwrap();
    let next = ca.prepare(X509).await.unwrap();
    let second = next_bundle(&mut follower).await;
    assert_eq!(
        (first.sequence, second.sequence, second.x509_authorities.len()),
        (1, 2, 2)
    );
    assert_eq!(second.x509_authorities[0], first.x509_authorities[0]);
    // Published, and not used: neither by an operator nor for an SVID.
    let refused = ca.activate(X509, false).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("for another"), "{refused}");
    assert_eq!(
        signer(&node.svid_of(&web.id).await.unwrap(), &ca),
        signer(&before, &ca)
    );
    ca.put_clock_ahead(INTERVAL);
    ca.activate(X509, false).await.unwrap();
    let after = node.svid_of(&web.id).await.unwrap();
    assert_eq!(signer(&after, &ca), next.id);
    // What the old one signed counts, until all of it has ended.
    assert_ne!(signer(&before, &ca), next.id);
    let old = ca.authorities_of(X509).await.remove(0);
    assert_eq!(
        (old.state.as_str(), old.nodes.as_slice()),
        ("old", ["n1".to_owned()].as_slice())
    );
    assert_eq!(
        ca.retire(&old.id).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    ca.put_clock_ahead(Duration::from_hours(8 * 24));
    ca.retire(&old.id).await.unwrap();
    assert_eq!(ca.states(X509).await, ["retired", "active"]);
    let key = &ca.authorities_of(X509).await[0].key_manager;
    assert!(key.is_empty() || key == "memory");
    assert_eq!(ca.bundles().get(&domain()).unwrap().authorities().len(), 1);
}

#[tokio::test]
async fn by_the_word_of_all_nodes_an_authority_signs_earlier_and_those_that_said_nothing_are_named() {
    let ca = Running::in_memory().await;
    let (one, two) = (ca.node("n1", &[]).await, ca.node("n2", &[]).await);
    let mut follower = one.follow(0).await;
    follower.next().await;
    ca.prepare(X509).await.unwrap();
    let bundle = next_bundle(&mut follower).await;
    assert!(one.acknowledge(&bundle).await);
    let stale = TrustBundle {
        sequence: 1,
        ..bundle.clone()
    };
    assert!(!two.acknowledge(&stale).await);
    let refused = ca.activate(X509, true).await.unwrap_err();
    assert!(refused.message().ends_with("n2"), "{refused}");
    let listed = ca.authorities_of(X509).await;
    assert_eq!(
        (listed[1].state.as_str(), listed[1].missing.as_slice()),
        ("prepared", ["n2".to_owned()].as_slice())
    );
    assert!(two.acknowledge(&bundle).await);
    ca.activate(X509, true).await.unwrap();
    assert_eq!(ca.states(X509).await, ["old", "active"]);
    // Nobody has to have a certificate of the CA's own that the old one signed.
    let status = ca
        .operator
        .clone()
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(!status.root_sha256.is_empty() && status.bundle_pem.matches("BEGIN").count() == 2);
}

#[tokio::test]
async fn spiffe_row_62_without_an_operator_the_next_one_is_prepared_published_and_then_signs() {
    let directory = tempfile::tempdir().unwrap();
    let life = Duration::from_hours(240);
    let ca = Running::configured(Storage::Memory, directory, |config| {
        // The node's SVID outlives half of an authority.
        config.node_svid_ttl = Duration::from_hours(168);
        config.rotation.authority_life = life;
        config.rotation.jwt_key_life = life;
    })
    .await
    .unwrap();
    let node = ca.node("n1", &[]).await;
    let web = ca.register("spiffe://td/web", "n1", "unix:uid:1").await.unwrap();
    let mut follower = node.follow(0).await;
    let mut bundle = next_bundle(&mut follower).await;
    ca.put_clock_ahead(life / 2);
    // A node's word has the CA look what is due.
    assert!(node.acknowledge(&bundle).await);
    while bundle.x509_authorities.len() < 2 || bundle.sequence < 3 {
        bundle = next_bundle(&mut follower).await;
    }
    for kind in [X509, "jwt"] {
        assert_eq!(ca.states(kind).await, ["active", "prepared"]);
    }
    // Everybody has it, and the time has not passed.
    ca.put_clock_ahead(INTERVAL.saturating_sub(Duration::from_mins(1)));
    assert!(node.acknowledge(&bundle).await);
    let first = ca.authorities_of(X509).await.remove(0).id;
    assert_eq!(signer(&node.svid_of(&web.id).await.unwrap(), &ca), first);
    ca.put_clock_ahead(Duration::from_mins(1));
    while ca.states(X509).await != ["old", "active"] || ca.states("jwt").await != ["old", "active"] {
        node.acknowledge(&bundle).await;
    }
    let second = ca.authorities_of(X509).await.remove(1).id;
    assert_eq!(signer(&node.svid_of(&web.id).await.unwrap(), &ca), second);
}

#[tokio::test]
async fn whoever_wants_to_turn_by_hand_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let ca = Running::configured(Storage::Memory, directory, |config| {
        config.node_svid_ttl = Duration::from_hours(168);
        config.rotation.authority_life = Duration::from_hours(240);
        config.rotation.automatic = false;
    })
    .await
    .unwrap();
    let node = ca.node("n1", &[]).await;
    let bundle = next_bundle(&mut node.follow(0).await).await;
    ca.put_clock_ahead(Duration::from_hours(130));
    assert!(node.acknowledge(&bundle).await);
    tokio::task::yield_now().await;
    assert_eq!(ca.states(X509).await, ["active"]);
    ca.prepare(X509).await.unwrap();
    let again = ca.prepare(X509).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_tainted_authority_is_told_of_and_a_revoked_one_takes_all_with_it() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let mut follower = node.follow(0).await;
    let mut bundle = next_bundle(&mut follower).await;
    ca.prepare(X509).await.unwrap();
    while bundle.x509_authorities.len() < 2 {
        bundle = next_bundle(&mut follower).await;
    }
    node.acknowledge(&bundle).await;
    let old = ca.authorities_of(X509).await.remove(0).id;
    for refused in [ca.taint(&old).await, ca.revoke_authority(&old, true).await] {
        let refused = refused.unwrap_err();
        assert!(refused.message().contains("it signs"), "{refused}");
    }
    ca.activate(X509, true).await.unwrap();
    ca.taint(&old).await.unwrap();
    while bundle.tainted_x509.is_empty() {
        bundle = next_bundle(&mut follower).await;
    }
    assert_eq!(
        (bundle.tainted_x509.as_slice(), bundle.sequence),
        ([old.clone()].as_slice(), 2)
    );
    // A node that would be locked out is named.
    let refused = ca.revoke_authority(&old, false).await.unwrap_err();
    assert!(refused.message().contains("n1"), "{refused}");
    let stale = ca.client(Some(&node.identity)).await.unwrap();
    // Serial numbers count in seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let node = node.renewed(&ca).await;
    node.acknowledge(&bundle).await;
    ca.revoke_authority(&old, false).await.unwrap();
    assert_eq!(ca.states(X509).await, ["revoked", "active"]);
    assert_eq!(ca.bundles().get(&domain()).unwrap().authorities().len(), 1);
    let gone = stale.clone().get_crl(GetCrlRequest {}).await.unwrap_err();
    assert_eq!(gone.code(), Code::Unauthenticated, "{gone}");
    node.client.clone().get_crl(GetCrlRequest {}).await.unwrap();
}

#[tokio::test]
async fn there_is_a_revocation_list_of_each_authority_in_the_bundle() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let lists = async || {
        let answer = ca
            .operator
            .clone()
            .get_crl(GetCrlRequest {})
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.pem.matches("BEGIN X509 CRL").count(), answer.lists.len());
        assert_eq!(answer.lists[0].der, answer.der);
        answer.lists.len()
    };
    assert_eq!(lists().await, 1);
    ca.prepare(X509).await.unwrap();
    assert_eq!(lists().await, 2);
    let for_node = node
        .client
        .clone()
        .get_crl(GetCrlRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(for_node.lists.len(), 2);
}
