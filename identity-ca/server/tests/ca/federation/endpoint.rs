use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use signet_spiffe::{BundleSet, SpiffeBundle, SpiffeId, TrustDomain};
use signet_tls::{Expect, FixedBundles, client_config};

use super::peer::{Peer, WebPki, anywhere, body, bundle, get};

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
