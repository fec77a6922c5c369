//! The rows of the SPIFFE conformance checklist that a Broker API server answers for, over a real socket.

use prost::Message as _;
use prost_types::Any;
use signet_proto::rpc;
use signet_spiffe::{UnixTime, verify_x509_svid};
use spiffe::broker_api::pb::spiffe::broker::api_client::ApiClient;
use spiffe::broker_api::pb::spiffe::broker::{
    FetchJwtsvidRequest, KubernetesObjectKey, KubernetesObjectReference, KubernetesObjectType,
    SubscribeToJwtBundlesRequest, SubscribeToX509BundlesRequest, SubscribeToX509svidRequest,
    SubscribeToX509svidResponse, WorkloadReference,
};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use crate::testing::{BROKER, Client, PATIENCE, Served, Workload, pid};

pub(crate) async fn svids<F: tonic::service::Interceptor>(
    client: &mut ApiClient<InterceptedService<Channel, F>>,
    reference: impl Into<Option<WorkloadReference>>,
) -> Result<Streaming<SubscribeToX509svidResponse>, Status> {
    let reference = reference.into();
    let request = SubscribeToX509svidRequest { reference };
    Ok(client.subscribe_to_x509svid(request).await?.into_inner())
}

pub(crate) async fn next<T>(stream: &mut Streaming<T>) -> Result<T, Status> {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await.unwrap()?;
    Ok(message.expect("the stream ended without a status"))
}

pub(crate) fn ids(response: &SubscribeToX509svidResponse) -> Vec<&str> {
    response
        .svids
        .iter()
        .map(|svid| svid.spiffe_id.as_str())
        .collect()
}

/// All calls of both profiles.
async fn codes<F: tonic::service::Interceptor>(
    client: &mut ApiClient<InterceptedService<Channel, F>>,
    reference: impl Into<Option<WorkloadReference>>,
) -> [Status; 4] {
    let reference = reference.into();
    let tokens = FetchJwtsvidRequest {
        reference: reference.clone(),
        audience: vec!["db".to_owned()],
        spiffe_id: String::new(),
    };
    let bundles = SubscribeToX509BundlesRequest {
        reference: reference.clone(),
    };
    let keys = SubscribeToJwtBundlesRequest {
        reference: reference.clone(),
    };
    [
        svids(client, reference).await.unwrap_err(),
        client.subscribe_to_x509_bundles(bundles).await.unwrap_err(),
        client.fetch_jwtsvid(tokens).await.unwrap_err(),
        client.subscribe_to_jwt_bundles(keys).await.unwrap_err(),
    ]
}

/// `google.rpc.ErrorInfo`: domain and reason.
pub(crate) fn info(status: &Status) -> (String, String) {
    let details = rpc::Status::decode(status.details()).unwrap();
    assert_eq!(details.code, i32::from(status.code()));
    assert_eq!(details.message, status.message());
    let [detail] = details.details.as_slice() else {
        unreachable!("one detail")
    };
    assert_eq!(detail.type_url, "type.googleapis.com/google.rpc.ErrorInfo");
    let info = rpc::ErrorInfo::decode(detail.value.as_slice()).unwrap();
    (info.domain, info.reason)
}

pub(crate) async fn all_refused(
    client: &mut Client,
    reference: impl Into<Option<WorkloadReference>>,
    code: Code,
    reason: &str,
) {
    for status in codes(client, reference).await {
        assert_eq!(status.code(), code, "{status}");
        assert_eq!(
            info(&status),
            ("spiffe.io".to_owned(), reason.to_owned()),
            "{status}"
        );
    }
}

#[tokio::test]
async fn spiffe_row_71_a_broker_is_let_in_by_mutual_tls_and_gets_the_workload_s_svid() {
    let served = Served::new();
    let workload = Workload::of(4301);
    served.register(&[(4301, &served.authority.svid("/web"))]);
    let mut stream = svids(&mut served.broker().await, pid(workload.pid()))
        .await
        .unwrap();
    let response = next(&mut stream).await.unwrap();
    assert_eq!(ids(&response), ["spiffe://td.test/web"]);
    let [svid] = response.svids.as_slice() else {
        unreachable!("one SVID")
    };
    let chain = [svid.x509_svid.to_vec().into()];
    let verified = verify_x509_svid(&chain, &served.authority.bundles(), UnixTime::now()).unwrap();
    assert_eq!(verified.id().as_str(), "spiffe://td.test/web");
    assert!(!svid.x509_svid_key.is_empty());
    assert_eq!(svid.bundle, served.authority.bundle().authorities()[0].as_ref());
}

#[tokio::test]
async fn spiffe_row_71_without_the_security_header_every_call_is_an_invalid_argument() {
    let served = Served::new();
    let workload = Workload::of(4301);
    served.register(&[(4301, &served.authority.svid("/web"))]);
    for header in [None, Some("false"), Some("True"), Some("")] {
        let channel = served
            .channel(Some(&served.authority.issue(BROKER)))
            .await
            .unwrap();
        let mut client = ApiClient::with_interceptor(channel, move |mut request: Request<()>| {
            if let Some(value) = header {
                request
                    .metadata_mut()
                    .insert("broker.spiffe.io", value.parse().unwrap());
            }
            Ok(request)
        });
        let codes = codes(&mut client, pid(workload.pid()))
            .await
            .map(|status| status.code());
        assert_eq!(codes, [Code::InvalidArgument; 4], "{header:?}");
    }
}

#[tokio::test]
async fn spiffe_row_71_reflection_tells_brokers_what_is_served() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let served = Served::new();
    let channel = served
        .channel(Some(&served.authority.issue(BROKER)))
        .await
        .unwrap();
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut bare = ServerReflectionClient::new(channel.clone());
    let refused = bare
        .server_reflection_info(futures::stream::iter([ask.clone()]))
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument, "no header");
    let header = spiffe::broker_api::SecurityHeader::new();
    let mut client = ServerReflectionClient::with_interceptor(channel, header);
    let answers = client.server_reflection_info(futures::stream::iter([ask])).await;
    let mut answers = answers.unwrap().into_inner();
    let answer = next(&mut answers).await.unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(services)) = answer else {
        unreachable!("a list of services")
    };
    assert!(
        services
            .service
            .iter()
            .any(|service| service.name == "spiffe.broker.API")
    );
}

#[tokio::test]
async fn spiffe_row_72_both_profiles_answer_for_the_workload_that_is_referred_to() {
    let served = Served::new();
    let workload = Workload::of(4301);
    let (web, other) = (served.authority.svid("/web"), served.authority.svid("/web2"));
    served.register(&[(4301, &web), (4301, &other), (0, &served.authority.svid("/root"))]);
    let mut client = served.broker().await;
    let reference = Some(pid(workload.pid()));
    let mut stream = svids(&mut client, reference.clone()).await.unwrap();
    let both = ["spiffe://td.test/web", "spiffe://td.test/web2"];
    assert_eq!(ids(&next(&mut stream).await.unwrap()), both);

    let request = SubscribeToX509BundlesRequest {
        reference: reference.clone(),
    };
    let mut bundles = client
        .subscribe_to_x509_bundles(request)
        .await
        .unwrap()
        .into_inner();
    let bundles = next(&mut bundles).await.unwrap().bundles;
    assert_eq!(bundles.keys().collect::<Vec<_>>(), ["spiffe://td.test"]);

    let token = |spiffe_id: &str| FetchJwtsvidRequest {
        reference: reference.clone(),
        audience: vec!["db".to_owned()],
        spiffe_id: spiffe_id.to_owned(),
    };
    let all = client.fetch_jwtsvid(token("")).await.unwrap().into_inner().svids;
    assert_eq!(
        all.iter().map(|svid| svid.spiffe_id.as_str()).collect::<Vec<_>>(),
        both
    );
    assert_eq!(all[0].svid, "token of spiffe://td.test/web for db");
    let one = client
        .fetch_jwtsvid(token(both[1]))
        .await
        .unwrap()
        .into_inner()
        .svids;
    assert_eq!(one.len(), 1);
    let others = client
        .fetch_jwtsvid(token("spiffe://td.test/root"))
        .await
        .unwrap_err();
    assert_eq!(others.code(), Code::PermissionDenied);
    let request = FetchJwtsvidRequest {
        audience: Vec::new(),
        ..token("")
    };
    let nobody = client.fetch_jwtsvid(request).await.unwrap_err();
    assert_eq!(nobody.code(), Code::InvalidArgument, "no audience");

    let request = SubscribeToJwtBundlesRequest { reference };
    let mut keys = client
        .subscribe_to_jwt_bundles(request)
        .await
        .unwrap()
        .into_inner();
    next(&mut keys).await.unwrap();
}

#[tokio::test]
async fn spiffe_row_72_a_reference_that_is_none_or_leads_nowhere_has_the_standard_s_codes_and_reasons() {
    let served = Served::new();
    let mut workload = Workload::of(4301);
    served.register(&[(4302, &served.authority.svid("/other"))]);
    let mut client = served.broker().await;
    let client = &mut client;
    let invalid = "WORKLOAD_REFERENCE_INVALID";
    all_refused(client, None, Code::InvalidArgument, invalid).await;
    let unknown = WorkloadReference {
        reference: Some(Any {
            type_url: "type.googleapis.com/example.Something".to_owned(),
            value: Vec::new(),
        }),
    };
    all_refused(client, unknown, Code::InvalidArgument, invalid).await;
    let running = pid(workload.pid());
    all_refused(
        client,
        running.clone(),
        Code::PermissionDenied,
        "WORKLOAD_NOT_ENTITLED",
    )
    .await;
    workload.end();
    all_refused(client, running, Code::NotFound, "WORKLOAD_NOT_FOUND").await;
}

#[tokio::test]
async fn spiffe_row_73_a_pid_of_0_or_below_is_an_invalid_argument() {
    let served = Served::new();
    served.register(&[(0, &served.authority.svid("/root"))]);
    let mut client = served.broker().await;
    for number in [0, -1, i32::MIN] {
        all_refused(
            &mut client,
            pid(number),
            Code::InvalidArgument,
            "WORKLOAD_REFERENCE_INVALID",
        )
        .await;
    }
}

#[tokio::test]
async fn spiffe_row_73_nothing_is_given_for_a_kubernetes_object_which_nobody_here_attests() {
    let served = Served::new();
    served.register(&[(0, &served.authority.svid("/root"))]);
    let mut client = served.broker().await;
    let reference = KubernetesObjectReference {
        r#type: Some(KubernetesObjectType {
            plural: "pods".to_owned(),
            group: "core".to_owned(),
        }),
        key: Some(KubernetesObjectKey {
            namespace: "shop".to_owned(),
            name: "web-0".to_owned(),
        }),
        uid: "a1b2c3d4-e5f6-7890-abcd-ef1234567890".to_owned(),
    };
    let refused = svids(&mut client, WorkloadReference::from(reference.clone()))
        .await
        .unwrap_err();
    assert!(
        refused
            .message()
            .contains("does not resolve Kubernetes references"),
        "{refused}"
    );
    all_refused(
        &mut client,
        WorkloadReference::from(reference),
        Code::InvalidArgument,
        "WORKLOAD_REFERENCE_INVALID",
    )
    .await;
}

#[tokio::test]
async fn spiffe_row_74_one_workload_s_changes_and_end_are_no_other_s() {
    let served = Served::new();
    let (mut first, second) = (Workload::of(4301), Workload::of(4302));
    let (web, db) = (served.authority.svid("/web"), served.authority.svid("/db"));
    served.register(&[(4301, &web), (4302, &db)]);
    let mut client = served.broker().await;
    let mut of_first = svids(&mut client, pid(first.pid())).await.unwrap();
    let mut of_second = svids(&mut client, pid(second.pid())).await.unwrap();
    assert_eq!(ids(&next(&mut of_first).await.unwrap()), ["spiffe://td.test/web"]);
    assert_eq!(ids(&next(&mut of_second).await.unwrap()), ["spiffe://td.test/db"]);

    first.end();
    let end = next(&mut of_first).await.unwrap_err();
    assert_eq!(end.code(), Code::NotFound);
    assert_eq!(info(&end).1, "WORKLOAD_NOT_FOUND");

    let renewed = served.authority.svid("/db");
    served.register(&[(4301, &web), (4302, &renewed)]);
    let pushed = next(&mut of_second).await.unwrap();
    assert_eq!(
        pushed.svids[0].x509_svid,
        renewed.chain()[0].as_ref(),
        "the first message since"
    );
}

#[tokio::test]
async fn spiffe_row_74_what_is_withdrawn_ends_the_stream_though_the_process_lives() {
    let served = Served::new();
    let workload = Workload::of(4301);
    served.register(&[(4301, &served.authority.svid("/web"))]);
    let mut client = served.broker().await;
    let mut stream = svids(&mut client, pid(workload.pid())).await.unwrap();
    next(&mut stream).await.unwrap();
    served.register(&[]);
    let end = next(&mut stream).await.unwrap_err();
    assert_eq!(
        (end.code(), info(&end).1.as_str()),
        (Code::PermissionDenied, "WORKLOAD_NOT_ENTITLED")
    );
}

#[tokio::test]
async fn streams_end_when_the_agent_stops() {
    let served = Served::new();
    let workload = Workload::of(4301);
    served.register(&[(4301, &served.authority.svid("/web"))]);
    let mut client = served.broker().await;
    let mut stream = svids(&mut client, pid(workload.pid())).await.unwrap();
    next(&mut stream).await.unwrap();
    drop(client);
    served.stop().await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::Unavailable);
}
