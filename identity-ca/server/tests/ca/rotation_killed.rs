//! A CA that is killed in the middle of a step: the real daemon, and SIGKILL.

use std::time::Duration;

use signet_proto::ca::v1::authority_service_client::AuthorityServiceClient;
use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use signet_proto::ca::v1::{
    AcknowledgeBundleRequest, ActivateAuthorityRequest, Authority, IssueX509SvidRequest,
    ListAuthoritiesRequest, PrepareAuthorityRequest, RevokeAuthorityRequest, SyncRequest,
    TaintAuthorityRequest,
};
use signet_spiffe::{UnixTime, verify_x509_svid};
use signet_tls::SvidKeyPair;
use tonic::transport::Channel;

use crate::daemon::{Daemon, prepare};
use crate::running::{chain, dial, request};

type Authorities = AuthorityServiceClient<Channel>;

async fn list(mut authorities: Authorities) -> Vec<Authority> {
    let list = authorities
        .list_authorities(ListAuthoritiesRequest {})
        .await
        .unwrap();
    let mut all = list.into_inner().authorities;
    all.retain(|one| one.kind == "x509");
    all
}

fn in_state<'a>(all: &'a [Authority], state: &str) -> Option<&'a Authority> {
    all.iter().find(|one| one.state == state)
}

/// What is next: prepare, activate, taint, revoke, and again.
async fn step(mut authorities: Authorities, all: Vec<Authority>) {
    let kind = "x509".to_owned();
    // It may be killed before it answers, or have been done before: the state tells.
    if let Some(one) = in_state(&all, "tainted") {
        let request = RevokeAuthorityRequest {
            kind,
            id: one.id.clone(),
            reason: "test".to_owned(),
            rehearse: false,
            force: true,
        };
        let _ = authorities.revoke_authority(request).await;
    } else if let Some(one) = in_state(&all, "old") {
        let request = TaintAuthorityRequest {
            kind,
            id: one.id.clone(),
            rehearse: false,
        };
        let _ = authorities.taint_authority(request).await;
    } else if in_state(&all, "prepared").is_some() {
        let request = ActivateAuthorityRequest {
            kind,
            acknowledged: true,
            ..ActivateAuthorityRequest::default()
        };
        let _ = authorities.activate_authority(request).await;
    } else {
        let _ = authorities
            .prepare_authority(PrepareAuthorityRequest { kind })
            .await;
    }
}

async fn acknowledge(node: &mut NodeServiceClient<Channel>) {
    let sync = SyncRequest {
        addresses: vec!["127.0.0.1".to_owned()],
        session_port: 4250,
        ..SyncRequest::default()
    };
    let Ok(stream) = node.sync(sync).await else {
        return;
    };
    if let Ok(Some(update)) = stream.into_inner().message().await
        && let Some(bundle) = update.bundle
    {
        let request = AcknowledgeBundleRequest {
            sequence: bundle.sequence,
            mark: bundle.mark,
        };
        node.acknowledge_bundle(request).await.unwrap();
    }
}

async fn connect(ca: &Daemon, identity: &SvidKeyPair) -> NodeServiceClient<Channel> {
    dial(ca.address, Some(identity), ca.bundles().await)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_that_is_killed_in_any_step_goes_on_with_one_authority_that_signs_what_counts() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ca.sock");
    let mut ca = Daemon::start(directory.path());
    let (mut identity, registration) = prepare(&ca).await;
    for round in 0..24_u64 {
        let authorities = Authorities::new(signet_uds::connect(&socket).unwrap());
        let mut node = connect(&ca, &identity).await;
        // A new SVID of the node, so that no revocation locks it out.
        let (key, csr) = request();
        let renewed = node
            .renew_node_svid(signet_proto::ca::v1::RenewNodeSvidRequest { csr })
            .await
            .unwrap();
        identity = crate::running::pair(&key, &renewed.into_inner());
        node = connect(&ca, &identity).await;
        acknowledge(&mut node).await;
        let all = list(authorities.clone()).await;
        let under_way = tokio::spawn(step(authorities, all));
        tokio::time::sleep(Duration::from_micros(700 * (round % 12))).await;
        ca.kill();
        under_way.await.unwrap();
        ca = Daemon::start(directory.path());
        let all = list(Authorities::new(signet_uds::connect(&socket).unwrap())).await;
        let active: Vec<_> = all.iter().filter(|one| one.state == "active").collect();
        assert_eq!(active.len(), 1, "{all:?}");
        assert!(all.iter().filter(|one| one.state == "prepared").count() <= 1);
        let bundles = ca.bundles().await;
        let published = all
            .iter()
            .filter(|one| !matches!(one.state.as_str(), "retired" | "revoked"));
        let own = bundles
            .get(&crate::running::domain())
            .unwrap()
            .authorities()
            .len();
        assert_eq!(published.count(), own);
        // The node's SVID may be of one that was revoked just now.
        let call = IssueX509SvidRequest {
            registration: registration.clone(),
            csr: request().1,
        };
        match connect(&ca, &identity).await.issue_x509_svid(call).await {
            Ok(svid) => {
                let verified =
                    verify_x509_svid(&chain(&svid.into_inner()), &bundles, UnixTime::now()).unwrap();
                assert_eq!(verified.authorities()[0].to_string(), active[0].id);
            }
            Err(refused) => panic!("round {round}: {refused}"),
        }
    }
    let all = list(Authorities::new(signet_uds::connect(&socket).unwrap())).await;
    assert!(all.len() > 1, "nothing came of any step: {all:?}");
}
