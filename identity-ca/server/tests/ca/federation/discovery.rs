//! As clouds read it: discovery, then keys, then tokens.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use data_encoding::BASE64URL_NOPAD;
use rustls::version::TLS13;
use serde_json::Value;
use signet_proto::ca::v1::IssueJwtSvidRequest;

use super::peer::{WebPki, anywhere, body, get};
use crate::running::Running;

const ISSUER: &str = "https://oidc.example/td";

async fn page(ca: &Running, web: &WebPki, path: &str) -> Value {
    let address = ca.server.bundle_endpoint().unwrap();
    let answer = get(address, web.client(&TLS13), path).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
    serde_json::from_str(body(&answer)).unwrap()
}

fn part(token: &str, number: usize) -> Vec<u8> {
    BASE64URL_NOPAD
        .decode(token.split('.').nth(number).unwrap().as_bytes())
        .unwrap()
}

#[tokio::test]
async fn a_token_is_checked_with_what_discovery_below_its_issuer_says() {
    let web = WebPki::new();
    let ca = Running::with_endpoint(&web, ISSUER).await;
    let discovery = page(&ca, &web, "/td/.well-known/openid-configuration").await;
    assert_eq!(discovery["issuer"], ISSUER);
    assert_eq!(discovery["jwks_uri"], format!("{ISSUER}/keys"));
    assert_eq!(
        discovery["id_token_signing_alg_values_supported"],
        serde_json::json!(["ES256"])
    );
    let keys = page(&ca, &web, "/td/keys").await;
    let [key] = keys["keys"].as_array().unwrap().as_slice() else {
        panic!("not one key: {keys}");
    };
    assert_eq!(
        (&key["use"], &key["alg"], &key["kty"]),
        (&"sig".into(), &"ES256".into(), &"EC".into())
    );

    let node = ca.node("n1", &[]).await;
    let registration = ca.register("spiffe://td/web", "n1", "unix:uid:1").await.unwrap();
    let request = IssueJwtSvidRequest {
        registration: registration.id,
        audience: vec!["sts.example".to_owned()],
    };
    let token = node
        .client
        .clone()
        .issue_jwt_svid(request)
        .await
        .unwrap()
        .into_inner()
        .token;
    let header: Value = serde_json::from_slice(&part(&token, 0)).unwrap();
    let claims: Value = serde_json::from_slice(&part(&token, 1)).unwrap();
    assert_eq!(header["kid"], key["kid"]);
    assert_eq!(claims["iss"], ISSUER);
    let coordinate = |name: &str| {
        BASE64URL_NOPAD
            .decode(key[name].as_str().unwrap().as_bytes())
            .unwrap()
    };
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let (signed, _) = token.rsplit_once('.').unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &part(&token, 2))
        .unwrap();
    // SPIFFE's own validators do not look at the issuer, and find their keys as ever.
    let spiffe = page(&ca, &web, "/").await;
    let uses: Vec<_> = spiffe["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["use"])
        .collect();
    assert_eq!(uses, ["x509-svid", "jwt-svid"]);
}

impl Running {
    /// With a bundle endpoint under a web certificate, and an issuer.
    async fn with_endpoint(web: &WebPki, issuer: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        web.write(directory.path());
        let endpoint = signet_ca::BundleEndpoint {
            listen: anywhere(),
            identity: signet_ca::EndpointIdentity::Web {
                certificate: directory.path().join("web.pem"),
                key: directory.path().join("web.key"),
            },
        };
        let change = |config: &mut signet_ca::Config| {
            config.bundle_endpoint = Some(endpoint);
            config.jwt_issuer = Some(issuer.parse().unwrap());
        };
        Self::configured(signet_ca::Storage::Memory, directory, change)
            .await
            .unwrap()
    }
}
