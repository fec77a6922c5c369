use rcgen::SanType;
use signet_proto::ca::v1::FederationEntry;
use signet_spiffe::MAX_JWKS_BYTES;

use super::fake::{Authority, Fake};
use super::peer::{Operator, WebPki, by_spiffe, by_web, federate, refresh, show};
use crate::running::Running;

const B: &str = "b.example";
const ENDPOINT: &str = "spiffe://b.example/bundle";

/// Asks again, which is to be in vain: says why, and that nothing else changed.
async fn in_vain(operator: &Operator, stored: &str) -> String {
    let refused = refresh(operator, B).await.unwrap_err();
    let FederationEntry {
        document,
        failure,
        url,
        ..
    } = show(operator, B).await.unwrap();
    assert_eq!(document, stored, "the stored bundle is another one: {refused}");
    assert_eq!(failure, refused.message());
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    failure
}

#[tokio::test]
async fn spiffe_row_68_an_endpoint_with_another_id_or_of_another_authority_is_refused() {
    let a = Running::in_memory().await;
    let b = Authority::new(B);
    let document = b.document(1);
    let impostors = [
        (
            b.svid("spiffe://b.example/other"),
            "expected spiffe://b.example/bundle",
        ),
        (Authority::new(B).svid(ENDPOINT), ""),
        (Authority::new("c.example").svid("spiffe://c.example/bundle"), ""),
        (WebPki::new().chain(), ""),
    ];
    for (shown, why) in impostors {
        let impostor = Fake::start(shown, &b.document(2)).await;
        let request = by_spiffe(B, &impostor.url(), ENDPOINT, &document);
        federate(&a.operator, request).await.unwrap();
        let failure = in_vain(&a.operator, &document).await;
        assert!(
            failure.contains("not who it should be") && failure.contains(why),
            "{failure}"
        );
        super::peer::defederate(&a.operator, B).await.unwrap();
    }
    let real = Fake::start(b.svid(ENDPOINT), &b.document(2)).await;
    let request = by_spiffe(B, &real.url(), ENDPOINT, &document);
    federate(&a.operator, request).await.unwrap();
    assert_eq!(refresh(&a.operator, B).await.unwrap().sequence, Some(2));
}

#[tokio::test]
async fn spiffe_row_68_a_web_endpoint_has_a_certificate_for_its_name_from_a_ca_that_is_trusted() {
    let a = Running::in_memory().await;
    let document = Authority::new(B).document(1);
    let (ours, theirs) = (WebPki::new(), WebPki::new());
    let other = WebPki::of(SanType::DnsName("other.example".try_into().unwrap()));
    for (shown, trusted) in [(&theirs, &ours), (&other, &other)] {
        let impostor = Fake::start(shown.chain(), &document).await;
        let request = by_web(B, &impostor.url(), &trusted.root_pem);
        federate(&a.operator, request).await.unwrap();
        let failure = in_vain(&a.operator, "").await;
        assert!(failure.contains("not who it should be"), "{failure}");
        super::peer::defederate(&a.operator, B).await.unwrap();
    }
    let real = Fake::start(ours.chain(), &document).await;
    // The system's authorities do not know it either; a host without any says so at once.
    if federate(&a.operator, by_web(B, &real.url(), "")).await.is_ok() {
        in_vain(&a.operator, "").await;
        super::peer::defederate(&a.operator, B).await.unwrap();
    }
    federate(&a.operator, by_web(B, &real.url(), &ours.root_pem))
        .await
        .unwrap();
    assert_eq!(refresh(&a.operator, B).await.unwrap().document, document);
}

#[tokio::test]
async fn spiffe_row_63_an_older_document_or_one_that_is_none_leaves_the_stored_one() {
    let a = Running::in_memory().await;
    let b = Authority::new(B);
    let endpoint = Fake::start(b.svid(ENDPOINT), &b.document(7)).await;
    let request = by_spiffe(B, &endpoint.url(), ENDPOINT, &b.document(6));
    federate(&a.operator, request).await.unwrap();
    let stored = refresh(&a.operator, B).await.unwrap().document;
    assert_eq!(stored, b.document(7));
    endpoint.serve(&b.document(6));
    assert!(in_vain(&a.operator, &stored).await.contains("older"));
    endpoint.serve(&Authority::new("c.example").document(8));
    assert!(
        in_vain(&a.operator, &stored)
            .await
            .contains("no bundle of b.example")
    );
    endpoint.serve("{}");
    assert!(in_vain(&a.operator, &stored).await.contains("no list of keys"));
    for status in ["404 Not Found", "500 Internal Server Error", "204 No Content"] {
        endpoint.say(status, "x: y", "");
        let code = status.split(' ').next().unwrap();
        assert!(in_vain(&a.operator, &stored).await.contains(code), "{status}");
    }
    endpoint.serve(&b.document(8));
    let back = refresh(&a.operator, B).await.unwrap();
    assert_eq!((back.sequence, back.failure.as_str()), (Some(8), ""));
}

#[tokio::test]
async fn an_oversized_document_is_not_read_to_its_end() {
    let a = Running::in_memory().await;
    let b = Authority::new(B);
    let endpoint = Fake::start(b.svid(ENDPOINT), &b.document(1)).await;
    let request = by_spiffe(B, &endpoint.url(), ENDPOINT, &b.document(1));
    federate(&a.operator, request).await.unwrap();
    let stored = refresh(&a.operator, B).await.unwrap().document;
    let mut long = b.document(2);
    long.push_str(&" ".repeat(MAX_JWKS_BYTES));
    endpoint.serve(&long);
    assert!(in_vain(&a.operator, &stored).await.contains("sends more than"));
    endpoint.pour(&long);
    assert!(in_vain(&a.operator, &stored).await.contains("sends more than"));
}

#[tokio::test]
async fn spiffe_row_69_a_redirect_leads_to_a_server_that_is_checked_alike_or_nowhere() {
    let a = Running::in_memory().await;
    let b = Authority::new(B);
    let endpoint = Fake::start(b.svid(ENDPOINT), &b.document(1)).await;
    let request = by_spiffe(B, &endpoint.url(), ENDPOINT, &b.document(1));
    federate(&a.operator, request).await.unwrap();
    let stored = refresh(&a.operator, B).await.unwrap().document;
    let impostor = Fake::start(b.svid("spiffe://b.example/other"), &b.document(9)).await;
    for status in ["302 Found", "303 See Other", "307 Temporary Redirect"] {
        endpoint.redirect(status, &impostor.url());
        let failure = in_vain(&a.operator, &stored).await;
        assert!(
            failure.contains("expected spiffe://b.example/bundle"),
            "{failure}"
        );
        endpoint.redirect(status, &format!("http://{}/", impostor.address));
        assert!(in_vain(&a.operator, &stored).await.contains("https://"));
    }
    endpoint.redirect("301 Moved Permanently", &impostor.url());
    assert!(in_vain(&a.operator, &stored).await.contains("for good"));
    endpoint.redirect("302 Found", "/again");
    assert!(in_vain(&a.operator, &stored).await.contains("more than 3 times"));
    let second = Fake::start(b.svid(ENDPOINT), &b.document(2)).await;
    endpoint.redirect("307 Temporary Redirect", &second.url());
    let followed = refresh(&a.operator, B).await.unwrap();
    assert_eq!(followed.sequence, Some(2));
    assert_eq!(followed.url, endpoint.url(), "where it led to was kept");
}
