//! By the key of a certificate: who is admitted, and who is not allowed to be.

use rcgen::{DnType, KeyUsagePurpose};
use signet_ca::NameRule;
use signet_log::Caller;
use signet_proto::ca::v1::{
    BanNodeRequest, DisallowNodeRequest, EvictNodeRequest, ListNodeEntriesRequest, ListNodesRequest,
    NodeEvidence, ReadLogRequest, RenewNodeSvidRequest, node_evidence::Proof,
};
use signet_spiffe::{UnixTime, verify_x509_svid};
use tonic::{Code, Status};

use super::device::{DeviceAuthority, params};
use super::exchange::Attested;
use crate::running::{Running, chain, pair, request};

fn refused(outcome: Result<Attested, Status>, code: Code, why: &str) {
    let status = outcome.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(why), "{status}");
}

#[tokio::test]
async fn who_has_the_key_is_admitted_as_its_entry_says() {
    let machines = DeviceAuthority::new();
    let ca = machines.ca(None).await;
    let machine = machines.device("n1.nodes.example");
    ca.allow("n1", &["10.244.1.0/24"], &["x509pop dns:n1.nodes.example"])
        .await
        .unwrap();
    let Attested { key, answer } = ca.attest_by(&machine, "n1").await.unwrap();
    let node = answer.node.unwrap();
    assert_eq!((node.name.as_str(), node.id), ("n1", 1));
    assert_eq!(node.pod_cidrs, ["10.244.1.0/24"]);
    let svid = answer.svid.unwrap();
    let verified = verify_x509_svid(&chain(&svid), &ca.bundles(), UnixTime::now()).unwrap();
    assert_eq!(verified.id().as_str(), "spiffe://td/signet/node/n1");
    // And it is a node like any other.
    let mut client = ca.client(Some(&pair(&key, &svid))).await.unwrap();
    let csr = request().1;
    client
        .renew_node_svid(RenewNodeSvidRequest { csr })
        .await
        .unwrap();
}

#[tokio::test]
async fn the_issuance_log_names_the_entry_and_the_certificate() {
    let machines = DeviceAuthority::new();
    let ca = machines.ca(None).await;
    let machine = machines.device("n1.example");
    ca.allow("n1", &[], &["x509pop dns:n1.example"]).await.unwrap();
    ca.attest_by(&machine, "n1").await.unwrap();
    let request = ReadLogRequest { start: 0, limit: 0 };
    let mut read = ca.operator.clone().read_log(request).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while let Some(page) = read.message().await.unwrap() {
        for entry in page.entries {
            let entry = signet_log::Entry::decode(&entry.leaf).unwrap();
            if let signet_log::Record::Change(change) = &entry.record {
                seen.push((change.kind.as_str(), entry.caller.clone()));
            } else {
                seen.push(("issuance", entry.caller.clone()));
            }
        }
    }
    let by_key = |kind: &str| {
        seen.iter().any(|(of, caller)| {
            *of == kind && matches!(caller, Caller::X509Pop(sha256) if *sha256 != [0; 32])
        })
    };
    assert!(by_key("node") && by_key("issuance"), "{seen:?}");
    assert!(
        seen.iter()
            .any(|(of, caller)| *of == "node entry" && matches!(caller, Caller::Operator { .. })),
        "{seen:?}"
    );
}

#[tokio::test]
async fn without_an_entry_that_fits_a_key_opens_nothing() {
    let machines = DeviceAuthority::new();
    let ca = machines.ca(None).await;
    let machine = machines.device("n1.example");
    refused(
        ca.attest_by(&machine, "n1").await,
        Code::PermissionDenied,
        "may not attest",
    );
    ca.allow("n1", &[], &["x509pop dns:other.example"]).await.unwrap();
    refused(
        ca.attest_by(&machine, "n1").await,
        Code::PermissionDenied,
        "dns:other.example",
    );
    // All that is asked for has to be there.
    let both = ["x509pop dns:n1.example", "x509pop cn:another machine"];
    ca.allow("n1", &[], &both).await.unwrap();
    refused(
        ca.attest_by(&machine, "n1").await,
        Code::PermissionDenied,
        "cn:another machine",
    );
    // Whoever has any certificate of the authority's is not whoever it likes to be.
    ca.allow("n1", &[], &["x509pop"]).await.unwrap();
    refused(
        ca.attest_by(&machine, "n1").await,
        Code::PermissionDenied,
        "asks for nothing",
    );
    ca.allow("n1", &[], &["tpm_devid dns:n1.example"]).await.unwrap();
    refused(
        ca.attest_by(&machine, "n1").await,
        Code::PermissionDenied,
        "by x509pop",
    );
    ca.allow("n1", &[], &["x509pop dns:n1.example"]).await.unwrap();
    ca.attest_by(&machine, "n1").await.unwrap();
    refused(
        ca.attest_by(&machine, "n2").await,
        Code::PermissionDenied,
        "may not attest",
    );
    let request = DisallowNodeRequest { node: "n1".into() };
    ca.operator.clone().disallow_node(request.clone()).await.unwrap();
    refused(
        ca.attest_by(&machine, "n1").await,
        Code::PermissionDenied,
        "may not attest",
    );
    let again = ca.operator.clone().disallow_node(request).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
}

#[tokio::test]
async fn a_certificate_that_carries_a_name_is_for_that_node_alone() {
    let machines = DeviceAuthority::new();
    let ca = machines.ca(Some(NameRule::Dns)).await;
    for node in ["n1", "n2"] {
        ca.allow(node, &[], &["x509pop"]).await.unwrap();
    }
    let machine = machines.device("n1.nodes.example");
    ca.attest_by(&machine, "n1").await.unwrap();
    refused(
        ca.attest_by(&machine, "n2").await,
        Code::PermissionDenied,
        "not for the node n2",
    );
    let ca = machines.ca(Some(NameRule::CommonName)).await;
    ca.allow("n3", &[], &["x509pop"]).await.unwrap();
    let mut named = params("a.example");
    named.distinguished_name.push(DnType::CommonName, "n3");
    ca.attest_by(&machines.certify(&named), "n3").await.unwrap();
    refused(
        ca.attest_by(&machine, "n3").await,
        Code::PermissionDenied,
        "common name",
    );
}

#[tokio::test]
async fn a_node_that_comes_back_keeps_its_number_and_its_earlier_svid_counts_no_more() {
    let machines = DeviceAuthority::new();
    let ca = machines.ca(None).await;
    let machine = machines.device("n1.example");
    ca.allow("n1", &[], &["x509pop dns:n1.example"]).await.unwrap();
    let first = ca.attest_by(&machine, "n1").await.unwrap();
    let again = ca.attest_by(&machine, "n1").await.unwrap();
    let number = |attested: &Attested| attested.answer.node.as_ref().unwrap().id;
    assert_eq!(number(&first), number(&again));
    let earlier = pair(&first.key, first.answer.svid.as_ref().unwrap());
    let mut client = ca.client(Some(&earlier)).await.unwrap();
    let csr = request().1;
    let refused = client
        .renew_node_svid(RenewNodeSvidRequest { csr })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("replaced"), "{refused}");
}

#[tokio::test]
async fn a_banned_node_stays_out_and_an_evicted_one_needs_a_new_entry() {
    let machines = DeviceAuthority::new();
    let ca = machines.ca(None).await;
    let machine = machines.device("n1.example");
    let allow = || ca.allow("n1", &["10.244.1.0/24"], &["x509pop dns:n1.example"]);
    allow().await.unwrap();
    // Before it ever came: an entry is enough to be banned.
    let ban = BanNodeRequest {
        node: "n1".into(),
        reason: "stolen".into(),
        rehearse: false,
    };
    ca.operator.clone().ban_node(ban).await.unwrap();
    refused(
        ca.attest_by(&machine, "n1").await,
        Code::PermissionDenied,
        "banned: stolen",
    );
    let status = allow().await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    let evict = EvictNodeRequest {
        node: "n1".into(),
        reason: "found again".into(),
        rehearse: false,
    };
    ca.operator.clone().evict_node(evict.clone()).await.unwrap();
    refused(
        ca.attest_by(&machine, "n1").await,
        Code::PermissionDenied,
        "may not attest",
    );
    allow().await.unwrap();
    let number = ca
        .attest_by(&machine, "n1")
        .await
        .unwrap()
        .answer
        .node
        .unwrap()
        .id;
    ca.operator.clone().evict_node(evict).await.unwrap();
    refused(
        ca.attest_by(&machine, "n1").await,
        Code::PermissionDenied,
        "may not attest",
    );
    let nodes = ca.operator.clone().list_nodes(ListNodesRequest {}).await.unwrap();
    assert!(nodes.into_inner().nodes.is_empty());
    allow().await.unwrap();
    assert_eq!(
        ca.attest_by(&machine, "n1")
            .await
            .unwrap()
            .answer
            .node
            .unwrap()
            .id,
        number
    );
}

#[tokio::test]
async fn an_entry_promises_its_addresses_to_its_node_alone() {
    let ca = Running::in_memory().await;
    let entry = ca
        .allow("n1", &["10.244.1.0/24"], &["x509pop dns:a"])
        .await
        .unwrap();
    assert_eq!(entry.ways, ["x509pop dns:a"]);
    for refused in [
        ca.allow("n2", &["10.244.0.0/16"], &["x509pop dns:b"])
            .await
            .map(drop),
        ca.token("n2", &["10.244.1.128/25"]).await.map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("n1"), "{refused}");
    }
    // The same node may have both, and another entry in place of this one.
    ca.token("n1", &["10.244.1.0/24"]).await.unwrap();
    ca.allow("n1", &["10.244.1.0/24"], &["x509pop cn:c", "tpm_devid"])
        .await
        .unwrap();
    let entries = ca
        .operator
        .clone()
        .list_node_entries(ListNodeEntriesRequest {})
        .await;
    let entries = entries.unwrap().into_inner().entries;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].ways, ["x509pop cn:c", "tpm_devid"]);
}

#[tokio::test]
async fn an_entry_that_makes_no_sense_is_refused() {
    let ca = Running::in_memory().await;
    for (node, ways) in [
        ("n1", &[][..]),
        ("N1", &["x509pop"]),
        ("n1", &["x509"]),
        ("n1", &["x509pop dns:*.example"]),
        ("n1", &["x509pop ek-sha256:00"]),
        ("n1", &["x509pop dns:a"; 17]),
    ] {
        let refused = ca.allow(node, &[], ways).await.unwrap_err();
        assert_eq!(
            refused.code(),
            Code::InvalidArgument,
            "{node} {ways:?}: {refused}"
        );
    }
    let ek = format!("x509pop ek-sha256:{}", "0".repeat(64));
    let refused = ca.allow("n1", &[], &[&ek]).await.unwrap_err();
    assert!(refused.message().contains("TPM"), "{refused}");
}

#[tokio::test]
async fn every_kind_of_certificate_that_is_not_a_node_s_is_refused_with_its_cause() {
    let machines = DeviceAuthority::new();
    let ca = machines.ca(None).await;
    ca.allow("n1", &[], &["x509pop dns:n1.example"]).await.unwrap();
    let stranger = DeviceAuthority::new();
    let attest =
        async |params: &rcgen::CertificateParams| ca.attest_by(&machines.certify(params), "n1").await;
    refused(
        ca.attest_by(&stranger.device("n1.example"), "n1").await,
        Code::Unauthenticated,
        "does not lead to an authority",
    );
    let mut expired = params("n1.example");
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    refused(attest(&expired).await, Code::Unauthenticated, "not valid now");
    let mut early = params("n1.example");
    early.not_before = rcgen::date_time_ymd(2090, 1, 1);
    refused(attest(&early).await, Code::Unauthenticated, "not valid now");
    let mut authority = params("n1.example");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    refused(attest(&authority).await, Code::Unauthenticated, "an authority's");
    let mut encrypts = params("n1.example");
    encrypts.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    refused(attest(&encrypts).await, Code::Unauthenticated, "digitalSignature");
    let mut unused = params("n1.example");
    unused.key_usages = vec![];
    refused(attest(&unused).await, Code::Unauthenticated, "digitalSignature");
    let mut signs_code = params("n1.example");
    signs_code.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::CodeSigning];
    refused(
        attest(&signs_code).await,
        Code::Unauthenticated,
        "does not lead to an authority",
    );
    let mut nothing = machines.device("n1.example");
    nothing.chain = vec![];
    let (_, csr) = request();
    for (chain, why) in [
        (vec![], "there is no certificate"),
        (vec![vec![0x30; 9000]], "8192"),
        (vec![vec![0x30; 10]; 9], "at most 8"),
        (vec![b"nonsense".to_vec()], "malformed"),
    ] {
        nothing.chain = chain;
        let mut exchange = ca.connect().await.begin().await.unwrap();
        exchange.show(nothing.evidence("n1", &csr)).await;
        let status = exchange.challenge().await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(status.message().contains(why), "{status}");
    }
    attest(&params("n1.example")).await.unwrap();
}

#[tokio::test]
async fn a_ca_that_was_given_no_authorities_admits_nobody_by_certificate() {
    let ca = Running::in_memory().await;
    ca.allow("n1", &[], &["x509pop dns:n1.example"]).await.unwrap();
    let machine = DeviceAuthority::new().device("n1.example");
    let outcome = ca.attest_by(&machine, "n1").await;
    refused(outcome, Code::FailedPrecondition, "--x509pop-ca");
}

#[tokio::test]
async fn a_join_token_takes_the_same_exchange_in_one_step_and_once() {
    let ca = Running::in_memory().await;
    let token = ca.token("n1", &[]).await.unwrap();
    let shown = NodeEvidence {
        node: "n1".into(),
        csr: request().1,
        proof: Some(Proof::JoinToken(token)),
    };
    let mut exchange = ca.connect().await.begin().await.unwrap();
    exchange.show(shown.clone()).await;
    assert_eq!(exchange.admitted().await.unwrap().node.unwrap().name, "n1");
    let mut replayed = ca.connect().await.begin().await.unwrap();
    replayed.show(shown).await;
    let refused = replayed.admitted().await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("join token was refused"), "{refused}");
}
