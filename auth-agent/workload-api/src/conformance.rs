//! The rows of the SPIFFE conformance checklist that a Workload API server answers for, over a real socket.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, UnixTime};
use signet_attest::{EndpointTable, NetnsInode, RequiredSelectors};
use signet_proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use signet_proto::workload::{
    JwtBundlesRequest, JwtsvidRequest, ValidateJwtsvidRequest, X509BundlesRequest, X509BundlesResponse,
    X509svid, X509svidRequest, X509svidResponse,
};
use signet_spiffe::{
    BundleSet, Hint, JwtBundleSet, MAX_HINT_BYTES, SpiffeId, TrustDomain, X509Bundle, verify_x509_svid,
};
use tonic::{Code, Request, Status, Streaming};

use crate::testing::{Authority, Client, PATIENCE, Served, for_others, for_us};
use crate::{Limits, Offer, Offers};

async fn svids(client: &mut Client) -> Result<Streaming<X509svidResponse>, Status> {
    Ok(client.fetch_x509svid(X509svidRequest {}).await?.into_inner())
}

async fn bundles(client: &mut Client) -> Result<Streaming<X509BundlesResponse>, Status> {
    Ok(client
        .fetch_x509_bundles(X509BundlesRequest {})
        .await?
        .into_inner())
}

async fn next<T>(stream: &mut Streaming<T>) -> Result<T, Status> {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await.unwrap()?;
    Ok(message.expect("the stream ended without a status"))
}

fn ids(response: &X509svidResponse) -> Vec<&str> {
    response
        .svids
        .iter()
        .map(|svid| svid.spiffe_id.as_str())
        .collect()
}

/// Both streaming calls of the profile are refused alike.
async fn refusal(served: &Served) -> Code {
    let mut client = served.client().await;
    let first = svids(&mut client).await.unwrap_err().code();
    assert_eq!(bundles(&mut client).await.unwrap_err().code(), first);
    first
}

#[tokio::test]
async fn spiffe_row_35_and_38_plain_grpc_on_a_unix_socket_open_to_every_user() {
    let served = Served::new();
    let authority = Authority::new("td.test");
    served.agent.publish(
        vec![Offer::ready(for_us(), authority.svid("/web"))],
        [authority.bundle()],
    );
    next(&mut svids(&mut served.client().await).await.unwrap())
        .await
        .unwrap();
    let metadata = std::fs::metadata(&served.socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o666);
}

#[tokio::test]
async fn spiffe_row_37_a_request_without_the_security_header_is_an_invalid_argument() {
    let served = Served::new();
    let authority = Authority::new("td.test");
    served.agent.publish(
        vec![Offer::ready(for_us(), authority.svid("/web"))],
        [authority.bundle()],
    );
    for header in [None, Some("false"), Some("True"), Some("")] {
        let request = |mut request: Request<()>| {
            if let Some(value) = header {
                request
                    .metadata_mut()
                    .insert("workload.spiffe.io", value.parse().unwrap());
            }
            Ok(request)
        };
        let mut client = SpiffeWorkloadApiClient::with_interceptor(served.channel().await, request);
        let codes = [
            client
                .fetch_x509svid(X509svidRequest {})
                .await
                .unwrap_err()
                .code(),
            client
                .fetch_x509_bundles(X509BundlesRequest {})
                .await
                .unwrap_err()
                .code(),
            client
                .fetch_jwtsvid(JwtsvidRequest::default())
                .await
                .unwrap_err()
                .code(),
            client
                .fetch_jwt_bundles(JwtBundlesRequest {})
                .await
                .unwrap_err()
                .code(),
            client
                .validate_jwtsvid(ValidateJwtsvidRequest::default())
                .await
                .unwrap_err()
                .code(),
        ];
        assert_eq!(codes, [Code::InvalidArgument; 5], "{header:?}");
    }
}

#[tokio::test]
async fn spiffe_row_40_an_agent_that_is_not_ready_is_unavailable() {
    let served = Served::new();
    assert_eq!(refusal(&served).await, Code::Unavailable, "nothing known");

    let authority = Authority::new("td.test");
    served.agent.endpoints.send_replace(None);
    let of_endpoint = RequiredSelectors::parse(&["endpoint:shop/web"]).unwrap();
    let other = Offer::ready(of_endpoint, authority.svid("/other"));
    served.agent.publish(vec![other], [authority.bundle()]);
    assert_eq!(refusal(&served).await, Code::Unavailable, "endpoints not known");
    let other = Offer::ready(for_others(), authority.svid("/other"));
    served.agent.publish(vec![other], [authority.bundle()]);
    assert_eq!(
        refusal(&served).await,
        Code::PermissionDenied,
        "and nobody asks for them"
    );

    let pending = Offer::pending(for_us(), SpiffeId::parse("spiffe://td.test/web").unwrap()).unwrap();
    served.agent.publish(vec![pending], [authority.bundle()]);
    let mut client = served.client().await;
    assert_eq!(
        svids(&mut client).await.unwrap_err().code(),
        Code::Unavailable,
        "not issued"
    );
    assert!(bundles(&mut client).await.is_ok(), "bundles do not wait for it");
}

/// As on a node without the mesh: nobody ever tells of endpoints.
#[tokio::test]
async fn spiffe_row_47_what_is_taken_back_is_denied_though_endpoints_are_not_known() {
    let served = Served::new();
    let authority = Authority::new("td.test");
    served.agent.endpoints.send_replace(None);
    let ours = Offer::ready(for_us(), authority.svid("/web"));
    served.agent.publish(vec![ours], [authority.bundle()]);
    let mut stream = svids(&mut served.client().await).await.unwrap();
    next(&mut stream).await.unwrap();
    served.agent.publish(Vec::new(), [authority.bundle()]);
    assert_eq!(
        next(&mut stream).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    assert_eq!(
        refusal(&served).await,
        Code::PermissionDenied,
        "no registration is of an endpoint"
    );
}

#[tokio::test]
async fn spiffe_row_40_streams_over_the_bound_are_unavailable_and_come_back_when_others_close() {
    let served = Served::with(Limits {
        per_process: 2,
        ..Limits::default()
    });
    let authority = Authority::new("td.test");
    served.agent.publish(
        vec![Offer::ready(for_us(), authority.svid("/web"))],
        [authority.bundle()],
    );
    let mut client = served.client().await;
    let first = svids(&mut client).await.unwrap();
    let _second = bundles(&mut client).await.unwrap();
    assert_eq!(svids(&mut client).await.unwrap_err().code(), Code::Unavailable);
    drop(first);
    let freed = async {
        while svids(&mut client).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.unwrap();
}

#[tokio::test]
async fn spiffe_row_40_and_47_a_workload_without_identity_is_denied() {
    let served = Served::new();
    let authority = Authority::new("td.test");
    served.agent.publish(Vec::new(), [authority.bundle()]);
    assert_eq!(refusal(&served).await, Code::PermissionDenied, "no registrations");
    let other = Offer::ready(for_others(), authority.svid("/other"));
    let empty = Offer::ready(RequiredSelectors::default(), authority.svid("/empty"));
    served.agent.publish(vec![other, empty], [authority.bundle()]);
    assert_eq!(refusal(&served).await, Code::PermissionDenied, "none for us");
}

#[tokio::test]
async fn spiffe_row_43_every_message_is_the_full_state_first_at_once_and_then_at_each_change() {
    let served = Served::new();
    let authority = Authority::new("td.test");
    let (web, admin) = (authority.svid("/web"), authority.svid("/admin"));
    let publish = |first: &Arc<_>, second: &Arc<_>| {
        let offers = [first, second].map(|svid| Offer::ready(for_us(), Arc::clone(svid)));
        served.agent.publish(offers.to_vec(), [authority.bundle()]);
    };
    publish(&web, &admin);
    let mut stream = svids(&mut served.client().await).await.unwrap();
    let before = next(&mut stream).await.unwrap();
    assert_eq!(ids(&before), ["spiffe://td.test/web", "spiffe://td.test/admin"]);

    publish(&web, &authority.svid("/admin"));
    let after = next(&mut stream).await.unwrap();
    assert_eq!(ids(&after), ids(&before));
    assert_eq!(after.svids[0], before.svids[0]);
    assert_ne!(after.svids[1].x509_svid, before.svids[1].x509_svid);
    assert_ne!(after.svids[1].x509_svid_key, before.svids[1].x509_svid_key);
}

#[tokio::test]
async fn spiffe_row_43_a_new_authority_reaches_both_streams() {
    let served = Served::new();
    let (old, new) = (Authority::new("td.test"), Authority::new("td.test"));
    let offer = Offer::ready(for_us(), old.svid("/web"));
    served.agent.publish(vec![offer.clone()], [old.bundle()]);
    let mut client = served.client().await;
    let (mut svid_stream, mut bundle_stream) = (
        svids(&mut client).await.unwrap(),
        bundles(&mut client).await.unwrap(),
    );
    next(&mut svid_stream).await.unwrap();
    next(&mut bundle_stream).await.unwrap();

    let both = [old.bundle().authorities(), new.bundle().authorities()].concat();
    let concatenated = both
        .iter()
        .map(AsRef::<[u8]>::as_ref)
        .collect::<Vec<_>>()
        .concat();
    let both = X509Bundle::new(TrustDomain::parse("td.test").unwrap(), both).unwrap();
    served.agent.publish(vec![offer], [both]);
    assert_eq!(
        next(&mut svid_stream).await.unwrap().svids[0].bundle,
        concatenated
    );
    assert_eq!(
        next(&mut bundle_stream).await.unwrap().bundles["spiffe://td.test"],
        concatenated
    );
}

#[tokio::test]
async fn spiffe_row_44_what_is_withdrawn_is_absent_from_the_next_message() {
    let served = Served::new();
    let (authority, federated) = (Authority::new("td.test"), Authority::new("other.test"));
    let web = Offer::ready(for_us(), authority.svid("/web"));
    let admin = Offer::ready(for_us(), authority.svid("/admin"));
    served
        .agent
        .publish(vec![web.clone(), admin], [authority.bundle(), federated.bundle()]);
    let mut stream = svids(&mut served.client().await).await.unwrap();
    let before = next(&mut stream).await.unwrap();
    assert_eq!(before.svids.len(), 2);
    assert_eq!(before.federated_bundles.len(), 1);
    served.agent.publish(vec![web], [authority.bundle()]);
    let after = next(&mut stream).await.unwrap();
    assert_eq!(ids(&after), ["spiffe://td.test/web"]);
    assert!(after.federated_bundles.is_empty());
}

/// As a client would: by the bundle in the message alone.
fn verified(svid: &X509svid) -> SpiffeId {
    let id = SpiffeId::parse(&svid.spiffe_id).unwrap();
    let authority = CertificateDer::from(svid.bundle.clone());
    let bundle = X509Bundle::new(id.trust_domain().clone(), vec![authority]).unwrap();
    let chain = [CertificateDer::from(svid.x509_svid.clone())];
    let verified = verify_x509_svid(&chain, &BundleSet::single(bundle), UnixTime::now()).unwrap();
    verified.id().clone()
}

#[tokio::test]
async fn spiffe_row_47_an_svid_is_der_leaf_first_with_its_pkcs8_key_and_bundle() {
    let served = Served::new();
    let authority = Authority::new("td.test");
    served.agent.publish(
        vec![Offer::ready(for_us(), authority.svid("/web"))],
        [authority.bundle()],
    );
    let message = next(&mut svids(&mut served.client().await).await.unwrap())
        .await
        .unwrap();
    let [svid] = message.svids.as_slice() else {
        panic!("one SVID: {:?}", ids(&message))
    };
    assert_eq!(verified(svid).as_str(), "spiffe://td.test/web");
    let key = rcgen::KeyPair::try_from(svid.x509_svid_key.as_slice()).unwrap();
    let public = key.public_key_raw();
    assert!(
        svid.x509_svid
            .windows(public.len())
            .any(|window| window == public),
        "key and leaf differ"
    );
}

#[tokio::test]
async fn spiffe_row_47_a_workload_that_loses_its_last_identity_is_denied_on_the_open_stream() {
    let served = Served::new();
    let authority = Authority::new("td.test");
    served.agent.publish(
        vec![Offer::ready(for_us(), authority.svid("/web"))],
        [authority.bundle()],
    );
    let mut client = served.client().await;
    let (mut svid_stream, mut bundle_stream) = (
        svids(&mut client).await.unwrap(),
        bundles(&mut client).await.unwrap(),
    );
    next(&mut svid_stream).await.unwrap();
    next(&mut bundle_stream).await.unwrap();
    served.agent.publish(Vec::new(), [authority.bundle()]);
    assert_eq!(
        next(&mut svid_stream).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    assert_eq!(
        next(&mut bundle_stream).await.unwrap_err().code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn spiffe_row_48_no_two_svids_of_a_response_share_a_hint() {
    let served = Served::new();
    let authority = Authority::new("td.test");
    let offer = |path, hint: Option<&str>| {
        let hint = hint.map(|hint| Hint::parse(hint).unwrap());
        Offer::ready(for_us(), authority.svid(path)).with_hint(hint)
    };
    let longest = "h".repeat(MAX_HINT_BYTES);
    let offers = [
        offer("/web", Some("internal")),
        offer("/web", Some("the same identity's second word")),
        offer("/admin", Some("internal")),
        offer("/plain", None),
        offer("/long", Some(&longest)),
    ];
    served.agent.publish(offers.to_vec(), [authority.bundle()]);
    let mut client = served.client().await;
    let mut stream = svids(&mut client).await.unwrap();
    let message = next(&mut stream).await.unwrap();
    let hints: Vec<_> = message.svids.iter().map(|svid| svid.hint.as_str()).collect();
    assert_eq!(
        hints,
        ["internal", "", "", longest.as_str()],
        "an empty hint is none"
    );
    // A change of a hint alone is told as well.
    let other = [offer("/web", Some("outside"))];
    served.agent.publish(other.to_vec(), [authority.bundle()]);
    let message = next(&mut stream).await.unwrap();
    assert_eq!(message.svids[0].hint, "outside");
}

#[tokio::test]
async fn spiffe_row_49_bundles_include_the_own_trust_domain_and_those_federated_with() {
    let served = Served::new();
    let (own, federated) = (Authority::new("td.test"), Authority::new("other.test"));
    served.agent.publish(
        vec![Offer::ready(for_us(), own.svid("/web"))],
        [own.bundle(), federated.bundle()],
    );
    let message = next(&mut bundles(&mut served.client().await).await.unwrap())
        .await
        .unwrap();
    let expected = [
        ("spiffe://td.test", own.bundle()),
        ("spiffe://other.test", federated.bundle()),
    ];
    assert_eq!(message.bundles.len(), expected.len());
    for (id, bundle) in expected {
        assert_eq!(message.bundles[id], bundle.authorities()[0].as_ref());
    }
}

#[tokio::test]
async fn spiffe_row_49_a_workload_gets_the_federated_bundles_that_its_registrations_name() {
    let served = Served::new();
    let own = Authority::new("td.test");
    let [named, other] = ["b.test", "c.test"].map(Authority::new);
    let naming = |names: &[&str]| {
        let names = names.iter().map(|name| TrustDomain::parse(name).unwrap());
        Offer::ready(for_us(), own.svid("/web")).federating_with(names.collect())
    };
    let publish = |offer: Offer, federated: &[&Authority]| {
        let (mut x509, mut jwt) = (BundleSet::default(), JwtBundleSet::default());
        for authority in federated {
            x509.insert(authority.bundle());
            jwt.insert(authority.jwt_bundle());
        }
        let offers = Offers::new(vec![offer], Arc::new(BundleSet::single(own.bundle()))).unwrap();
        let offers = offers.with_jwt_bundles(Arc::new(JwtBundleSet::single(own.jwt_bundle())));
        let offers = offers.with_federated_bundles(Arc::new(x509), Arc::new(jwt));
        served.agent.publish_offers(offers);
    };
    // One that is named and has not answered yet is no fault.
    publish(naming(&["b.test", "d.test"]), &[&named, &other]);
    let mut client = served.client().await;
    let mut stream = svids(&mut client).await.unwrap();
    let message = next(&mut stream).await.unwrap();
    let federated: Vec<_> = message.federated_bundles.keys().collect();
    assert_eq!(federated, ["spiffe://b.test"]);
    let message = next(&mut bundles(&mut client).await.unwrap()).await.unwrap();
    let mut names: Vec<_> = message.bundles.keys().collect();
    names.sort();
    assert_eq!(names, ["spiffe://b.test", "spiffe://td.test"]);
    publish(naming(&["b.test"]), &[&other]);
    let message = next(&mut stream).await.unwrap();
    assert!(
        message.federated_bundles.is_empty(),
        "what was taken away is still there"
    );
}

#[tokio::test]
async fn spiffe_row_55_the_first_registration_is_the_default_identity_and_none_comes_twice() {
    let served = Served::new();
    let authority = Authority::new("td.test");
    let first = authority.svid("/z-default");
    let offers = [
        Arc::clone(&first),
        authority.svid("/a"),
        authority.svid("/z-default"),
    ];
    let offers = offers.into_iter().map(|svid| Offer::ready(for_us(), svid));
    served.agent.publish(offers.collect(), [authority.bundle()]);
    let message = next(&mut svids(&mut served.client().await).await.unwrap())
        .await
        .unwrap();
    assert_eq!(
        ids(&message),
        ["spiffe://td.test/z-default", "spiffe://td.test/a"]
    );
    assert_eq!(message.svids[0].x509_svid, first.chain()[0].as_ref());
}

#[tokio::test]
async fn an_endpoint_gives_its_workloads_an_identity_and_takes_it_with_it() {
    use std::os::unix::fs::MetadataExt;
    let served = Served::new();
    let authority = Authority::new("td.test");
    let selectors = RequiredSelectors::parse(&["endpoint:shop/web"]).unwrap();
    served.agent.publish(
        vec![Offer::ready(selectors, authority.svid("/web"))],
        [authority.bundle()],
    );
    let netns = NetnsInode::new(std::fs::metadata("/proc/self/ns/net").unwrap().ino()).unwrap();
    let table = |name: &str| {
        Some(Arc::new(EndpointTable::from_iter([(
            netns,
            name.parse().unwrap(),
        )])))
    };

    assert_eq!(refusal(&served).await, Code::PermissionDenied, "no endpoint");
    served.agent.endpoints.send_replace(table("shop/client"));
    assert_eq!(refusal(&served).await, Code::PermissionDenied, "another endpoint");
    served.agent.endpoints.send_replace(table("shop/web"));
    let mut stream = svids(&mut served.client().await).await.unwrap();
    next(&mut stream).await.unwrap();
    served.agent.endpoints.send_replace(table("shop/client"));
    assert_eq!(
        next(&mut stream).await.unwrap_err().code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams_as_unavailable() {
    let served = Served::new();
    let authority = Authority::new("td.test");
    served.agent.publish(
        vec![Offer::ready(for_us(), authority.svid("/web"))],
        [authority.bundle()],
    );
    let mut client = served.client().await;
    let mut stream = svids(&mut client).await.unwrap();
    next(&mut stream).await.unwrap();
    let (stopped, end) = tokio::join!(served.stop(), next(&mut stream));
    stopped.unwrap();
    assert_eq!(end.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused() {
    let served = Served::new();
    let request = ValidateJwtsvidRequest {
        svid: "x".repeat(65 * 1024),
        ..Default::default()
    };
    let refusal = served.client().await.validate_jwtsvid(request).await.unwrap_err();
    assert_eq!(refusal.code(), Code::OutOfRange, "{refusal}");
}
