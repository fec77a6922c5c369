use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use signet_spiffe::{BundleSet, SpiffeBundle, SpiffeId, TrustDomain};
use signet_tls::{Expect, FixedBundles, client_config};

use signet_proto::ca::v1::RevokeRequest;
use signet_proto::ca::v1::revoke_request::Subject;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, RevokedCertificate};

use super::peer::{Peer, WebPki, anywhere, body, bundle, get, get_bytes};

#[tokio::test]
async fn spiffe_row_65_and_67_anybody_gets_the_bundle_over_tls_12_and_13() {
    let web = WebPki::new();
    let a = Peer::web("a.example", &web, None).await;
    for version in [&TLS12, &TLS13] {
        let answer = get(a.endpoint(), web.client(version), "/").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
        assert_eq!(body(&answer), bundle(&a.operator).await.spiffe);
        let other = get(a.endpoint(), web.client(version), "/keys").await.unwrap();
        assert!(
            other.starts_with("HTTP/1.1 404"),
            "discovery without an issuer: {other}"
        );
    }
}

#[tokio::test]
async fn spiffe_row_68_the_endpoint_shows_the_ca_s_svid_which_its_own_bundle_vouches_for() {
    let b = Peer::spiffe("b.example", tempfile::tempdir().unwrap(), anywhere()).await;
    let domain = TrustDomain::parse("b.example").unwrap();
    let published = SpiffeBundle::from_jwks(&domain, &bundle(&b.operator).await.spiffe).unwrap();
    let bundles = BundleSet::single(published.x509.unwrap());
    let expect = Expect::Exactly(SpiffeId::ca(&domain));
    let config = client_config(None, Arc::new(FixedBundles::new(bundles)), expect).unwrap();
    let answer = get(b.endpoint(), config, "/").await.unwrap();
    assert_eq!(body(&answer), bundle(&b.operator).await.spiffe);
}

#[tokio::test]
async fn a_web_certificate_that_was_renewed_is_shown_to_the_next_who_connects() {
    let (old, new) = (WebPki::new(), WebPki::new());
    let a = Peer::web("a.example", &old, None).await;
    get(a.endpoint(), old.client(&TLS13), "/").await.unwrap();
    // Half of it: the old one goes on.
    let directory = a.directory.path();
    let certificate = std::fs::read(directory.join("web.pem")).unwrap();
    std::fs::write(directory.join("web.pem"), "nonsense").unwrap();
    get(a.endpoint(), old.client(&TLS13), "/").await.unwrap();
    std::fs::write(directory.join("web.pem"), certificate).unwrap();
    new.write(directory);
    get(a.endpoint(), new.client(&TLS13), "/").await.unwrap();
    assert!(get(a.endpoint(), old.client(&TLS13), "/").await.is_err());
}

#[tokio::test]
async fn anybody_gets_the_revocation_list_of_each_authority_and_it_has_what_was_revoked() {
    let web = WebPki::new();
    let a = Peer::web("a.example", &web, None).await;
    let revoke = RevokeRequest {
        subject: Some(Subject::Serial("1234abcd".to_owned())),
        reason: "keyCompromise".to_owned(),
        force: true,
        ..RevokeRequest::default()
    };
    a.operator.clone().revoke(revoke).await.unwrap();
    let table = get(a.endpoint(), web.client(&TLS13), "/crl").await.unwrap();
    let table: serde_json::Value = serde_json::from_str(body(&table)).unwrap();
    let lists = table["lists"].as_array().unwrap();
    assert_eq!(lists.len(), 1, "{table}");
    let href = lists[0]["href"].as_str().unwrap();
    let answer = get_bytes(a.endpoint(), web.client(&TLS13), href).await.unwrap();
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let (head, der) = answer.split_at(head + 4);
    assert!(
        String::from_utf8_lossy(head).contains("content-type: application/pkix-crl\r\n"),
        "{head:?}"
    );
    let (rest, list) = CertificateRevocationList::from_der(der).unwrap();
    assert!(rest.is_empty());
    let serials: Vec<_> = list
        .iter_revoked_certificates()
        .map(RevokedCertificate::raw_serial_as_string)
        .collect();
    assert_eq!(serials, ["12:34:ab:cd"]);
    for path in ["/crl/", "/crl/00.crl", "/crl/../", "/crlx"] {
        let none = get(a.endpoint(), web.client(&TLS13), path).await.unwrap();
        assert!(none.starts_with("HTTP/1.1 404"), "{path}: {none}");
    }
}
