//! What registrations say of their SVIDs, from the operator to the certificate.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, SignatureAlgorithm};
use signet_proto::ca::v1::{
    IssueJwtSvidRequest, IssueX509SvidRequest, RegisterAllRequest, RegisterRequest, Texts,
    UpdateRegistrationRequest,
};
use signet_spiffe::{UnixTime, verify_x509_svid};
use tonic::Code;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::running::{Running, TestNode, chain};

const WEB: &str = "spiffe://td/ns/shop/sa/web";

fn web() -> RegisterRequest {
    RegisterRequest {
        spiffe_id: WEB.to_owned(),
        node: "n1".to_owned(),
        selectors: vec!["unix:uid:1000".to_owned()],
        hint: "public".to_owned(),
        dns_names: vec!["web.example".to_owned(), "a.example".to_owned()],
        key_type: "p384".to_owned(),
        ttl: 600,
        jwt_ttl: 1200,
        ..RegisterRequest::default()
    }
}

fn csr(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // What a request wishes for is not what it gets.
    params.subject_alt_names = vec![rcgen::SanType::DnsName("wished.example".try_into().unwrap())];
    let key = KeyPair::generate_for(algorithm).unwrap();
    params.serialize_request(&key).unwrap().der().to_vec()
}

async fn issue(
    node: &TestNode,
    registration: &str,
    algorithm: &'static SignatureAlgorithm,
) -> Result<signet_proto::ca::v1::Svid, tonic::Status> {
    let call = IssueX509SvidRequest {
        registration: registration.to_owned(),
        csr: csr(algorithm),
    };
    Ok(node.client.clone().issue_x509_svid(call).await?.into_inner())
}

fn names(leaf: &[u8]) -> Vec<String> {
    let (_, leaf) = X509Certificate::from_der(leaf).unwrap();
    let san = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(san.critical);
    let name = |name: &GeneralName<'_>| {
        let (GeneralName::URI(name) | GeneralName::DNSName(name)) = name else {
            panic!("{name:?}")
        };
        (*name).to_owned()
    };
    san.value.general_names.iter().map(name).collect()
}

#[tokio::test]
async fn a_certificate_has_the_names_and_the_kind_of_key_that_its_registration_says() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let made = ca.operator.clone().register(web()).await.unwrap().into_inner();
    assert_eq!(made.dns_names, ["a.example", "web.example"]);
    assert_eq!((made.key_type.as_str(), made.hint.as_str()), ("p384", "public"));
    let refused = issue(&node, &made.id, &rcgen::PKCS_ECDSA_P256_SHA256)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("p384"), "{refused}");
    let svid = issue(&node, &made.id, &rcgen::PKCS_ECDSA_P384_SHA384)
        .await
        .unwrap();
    assert_eq!(names(&svid.chain[0]), [WEB, "a.example", "web.example"]);
    let verified = verify_x509_svid(&chain(&svid), &ca.bundles(), UnixTime::now()).unwrap();
    assert_eq!(verified.id().as_str(), WEB);
    assert_eq!(
        verified.not_after().as_secs() - verified.not_before().as_secs(),
        300 + 600
    );
    let call = IssueJwtSvidRequest {
        registration: made.id.clone(),
        audience: vec!["db".to_owned()],
    };
    let token = node
        .client
        .clone()
        .issue_jwt_svid(call)
        .await
        .unwrap()
        .into_inner();
    let life = token.expires - i64::try_from(UnixTime::now().as_secs()).unwrap();
    assert!(
        (1190..=1200).contains(&life),
        "its own life, although certificates live shorter: {life}"
    );
}

#[tokio::test]
async fn a_change_reaches_the_node_as_one_update_and_counts_from_the_next_certificate_on() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let made = ca.operator.clone().register(web()).await.unwrap().into_inner();
    let mut follower = node.follow(0).await;
    let snapshot = follower.next().await;
    assert_eq!(snapshot.registrations.len(), 1);
    let change = UpdateRegistrationRequest {
        id: made.id.clone(),
        hint: Some(String::new()),
        dns_names: Some(Texts::default()),
        key_type: Some("ed25519".to_owned()),
        ..UpdateRegistrationRequest::default()
    };
    let changed = ca
        .operator
        .clone()
        .update_registration(change)
        .await
        .unwrap()
        .into_inner();
    let update = follower.next().await;
    assert!(!update.snapshot && update.identities.is_empty() && update.nodes.is_empty());
    assert_eq!(update.registrations, std::slice::from_ref(&changed));
    assert_eq!(
        (changed.ttl, changed.selectors),
        (600, made.selectors),
        "as it was"
    );
    assert!(changed.hint.is_empty() && changed.dns_names.is_empty());
    let old = issue(&node, &made.id, &rcgen::PKCS_ECDSA_P384_SHA384)
        .await
        .unwrap_err();
    assert_eq!(old.code(), Code::InvalidArgument);
    let svid = issue(&node, &made.id, &rcgen::PKCS_ED25519).await.unwrap();
    assert_eq!(names(&svid.chain[0]), [WEB]);
}

#[tokio::test]
async fn bad_terms_are_refused_with_the_reason() {
    let ca = Running::in_memory().await;
    ca.node("n1", &[]).await;
    let cases: [(RegisterRequest, &str); 7] = [
        (
            RegisterRequest {
                hint: "h".repeat(1025),
                ..web()
            },
            "1025",
        ),
        (
            RegisterRequest {
                dns_names: vec!["*.example".to_owned()],
                ..web()
            },
            "wildcards",
        ),
        (
            RegisterRequest {
                dns_names: vec!["10.0.0.1".to_owned()],
                ..web()
            },
            "address",
        ),
        (
            RegisterRequest {
                dns_names: vec!["x".to_owned(); 17],
                ..web()
            },
            "17 are too many",
        ),
        (
            RegisterRequest {
                key_type: "rsa1024".to_owned(),
                ..web()
            },
            "rsa2048",
        ),
        (
            RegisterRequest {
                jwt_ttl: 3601,
                ..web()
            },
            "3601",
        ),
        (
            RegisterRequest {
                role: "root".to_owned(),
                ..web()
            },
            "reader and admin",
        ),
    ];
    for (request, text) in cases {
        let refused = ca.operator.clone().register(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(text), "{refused}");
    }
}

#[tokio::test]
async fn many_registrations_are_made_all_or_none_and_each_refusal_names_its_place() {
    let ca = Running::in_memory().await;
    ca.node("n1", &[]).await;
    let one = |name: &str, node: &str| RegisterRequest {
        spiffe_id: format!("spiffe://td/{name}"),
        node: node.to_owned(),
        ..web()
    };
    let call = async |registrations: Vec<RegisterRequest>| {
        let request = RegisterAllRequest {
            registrations,
            rehearse: false,
        };
        ca.operator
            .clone()
            .register_all(request)
            .await
            .unwrap()
            .into_inner()
    };
    let mixed = vec![one("a", "n1"), one("a b", "n1"), one("c", "n7")];
    let answer = call(mixed).await;
    assert!(!answer.committed);
    let [made, unreadable, unknown] = answer.outcomes.as_slice() else {
        panic!("{answer:?}")
    };
    assert!(made.made.is_some() && made.refused.is_empty());
    assert!(unreadable.made.is_none() && !unreadable.refused.is_empty());
    assert!(unknown.refused.contains("n7"), "{unknown:?}");
    assert!(call(vec![one("a", "n1"), one("b", "n1")]).await.committed);
    let again = call(vec![one("a", "n1")]).await;
    assert!(again.committed);
    assert!(!again.outcomes[0].exists.is_empty());
}
