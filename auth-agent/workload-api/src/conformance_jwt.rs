//! The rows of the SPIFFE conformance checklist that the JWT profile of a Workload API server answers for, over a real
//! socket.

use std::sync::Arc;
use std::time::Duration;

use prost_types::value::Kind;
use signet_proto::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest,
    ValidateJwtsvidResponse,
};
use signet_spiffe::{
    Audience, JwtBundle, JwtBundleSet, Revocations, SpiffeBundle, SpiffeId, Subject, TrustDomain, UnixTime,
    verify_jwt_svid,
};
use tonic::{Code, Request, Status, Streaming};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::testing::{Authority, Client, PATIENCE, Served, for_others, for_us, in_five_minutes};
use crate::{Limits, Offer, Pace};

const WEB: &str = "spiffe://td.test/web";
const ADMIN: &str = "spiffe://td.test/admin";

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

async fn fetch(client: &mut Client, audience: &[&str], spiffe_id: &str) -> Result<JwtsvidResponse, Status> {
    let request = JwtsvidRequest {
        audience: audience.iter().map(ToString::to_string).collect(),
        spiffe_id: spiffe_id.to_owned(),
    };
    Ok(client.fetch_jwtsvid(request).await?.into_inner())
}

async fn validate(
    client: &mut Client,
    audience: &str,
    svid: &str,
) -> Result<ValidateJwtsvidResponse, Status> {
    let request = ValidateJwtsvidRequest {
        audience: audience.to_owned(),
        svid: svid.to_owned(),
    };
    Ok(client.validate_jwtsvid(request).await?.into_inner())
}

async fn next(stream: &mut Streaming<JwtBundlesResponse>) -> Result<JwtBundlesResponse, Status> {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await.unwrap()?;
    Ok(message.unwrap())
}

async fn bundles(client: &mut Client) -> Result<Streaming<JwtBundlesResponse>, Status> {
    Ok(client.fetch_jwt_bundles(JwtBundlesRequest {}).await?.into_inner())
}

fn ids(response: &JwtsvidResponse) -> Vec<&str> {
    response
        .svids
        .iter()
        .map(|svid| svid.spiffe_id.as_str())
        .collect()
}

/// Two identities for us, in this order, and one for others.
fn publish(served: &Served, authority: &Arc<Authority>) {
    let offers = vec![
        Offer::ready(for_us(), authority.svid("/web")),
        // Tokens do not wait for certificates.
        Offer::pending(for_us(), id(ADMIN)).unwrap(),
        Offer::ready(for_us(), authority.svid("/web")),
        Offer::ready(for_others(), authority.svid("/other")),
    ];
    served.agent.publish_jwt(offers, &[authority]);
}

fn verified(authority: &Authority, token: &str, audience: &str) -> (SpiffeId, Vec<String>) {
    let keys = JwtBundleSet::single(authority.jwt_bundle());
    let verified = verify_jwt_svid(token, &keys, audience, UnixTime::now()).unwrap();
    (verified.id().clone(), verified.audience().to_vec())
}

#[tokio::test]
async fn spiffe_row_42_and_50_without_an_id_all_identities_get_a_token_each_for_the_audiences() {
    let served = Served::new();
    let authority = Arc::new(Authority::new("td.test"));
    publish(&served, &authority);
    let response = fetch(&mut served.client().await, &["db", "cache"], "")
        .await
        .unwrap();
    assert_eq!(
        ids(&response),
        [WEB, ADMIN],
        "in order, each once, none of others"
    );
    for svid in &response.svids {
        let (id, audience) = verified(&authority, &svid.svid, "db");
        assert_eq!(id.as_str(), svid.spiffe_id);
        assert_eq!(audience, ["cache", "db"]);
    }
}

#[tokio::test]
async fn spiffe_row_50_with_an_id_that_identity_alone_and_no_other_s() {
    let served = Served::new();
    let authority = Arc::new(Authority::new("td.test"));
    publish(&served, &authority);
    let mut client = served.client().await;
    let response = fetch(&mut client, &["db"], ADMIN).await.unwrap();
    assert_eq!(ids(&response), [ADMIN]);
    for foreign in [
        "spiffe://td.test/other",
        "spiffe://td.test/we",
        "spiffe://other.test/web",
    ] {
        let refusal = fetch(&mut client, &["db"], foreign).await.unwrap_err();
        assert_eq!(refusal.code(), Code::PermissionDenied, "{foreign}");
    }
    served.agent.publish_jwt(Vec::new(), &[&authority]);
    for id in ["", WEB] {
        let refusal = fetch(&mut client, &["db"], id).await.unwrap_err();
        assert_eq!(refusal.code(), Code::PermissionDenied);
        assert!(refusal.message().contains("no identity issued"), "{refusal}");
    }
}

#[tokio::test]
async fn spiffe_row_45_and_50_audiences_are_there_and_an_id_is_one() {
    let served = Served::new();
    let authority = Arc::new(Authority::new("td.test"));
    publish(&served, &authority);
    let mut client = served.client().await;
    for (audience, id) in [
        (&[][..], ""),
        (&[""], ""),
        (&["db", ""], WEB),
        (&["db"; 17], ""),
        (&["db"], "web"),
        (&["db"], "spiffe://TD.test/web"),
    ] {
        let refusal = fetch(&mut client, audience, id).await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument, "{audience:?} {id}");
    }
}

#[tokio::test]
async fn spiffe_row_40_tokens_that_cannot_be_had_now_are_unavailable() {
    let served = Served::new();
    let mut client = served.client().await;
    let starting = fetch(&mut client, &["db"], "").await.unwrap_err();
    assert_eq!(starting.code(), Code::Unavailable);
    assert_eq!(bundles(&mut client).await.unwrap_err().code(), Code::Unavailable);
    publish(&served, &Arc::new(Authority::new("td.test")));
    served.agent.tokens.send_replace(None);
    let away = fetch(&mut client, &["db"], "").await.unwrap_err();
    assert_eq!(
        (away.code(), away.message()),
        (Code::Unavailable, "the CA is away")
    );
}

#[tokio::test]
async fn spiffe_row_51_bundles_are_jwk_sets_of_jwt_keys_alone_the_own_trust_domain_s_among_them() {
    let served = Served::new();
    let (own, federated) = (
        Arc::new(Authority::new("td.test")),
        Arc::new(Authority::new("other.test")),
    );
    let offers = vec![Offer::ready(for_us(), own.svid("/web"))];
    served.agent.publish_jwt(offers.clone(), &[&own, &federated]);
    let mut stream = bundles(&mut served.client().await).await.unwrap();
    let message = next(&mut stream).await.unwrap();
    assert_eq!(message.bundles.len(), 2);
    for (key, authority) in [("spiffe://td.test", &own), ("spiffe://other.test", &federated)] {
        let text = std::str::from_utf8(&message.bundles[key]).unwrap();
        let domain = TrustDomain::parse(&key["spiffe://".len()..]).unwrap();
        let whole = SpiffeBundle::from_jwks(&domain, text).unwrap();
        assert_eq!(whole.jwt, authority.jwt_bundle());
        assert!(whole.x509.is_none() && !text.contains("x5c"), "{text}");
    }
    served.agent.publish_jwt(offers.clone(), &[&own]);
    assert_eq!(next(&mut stream).await.unwrap().bundles.len(), 1, "redacted");
    let renewed = Arc::new(Authority::new("td.test"));
    served.agent.publish_jwt(offers, &[&renewed]);
    let message = next(&mut stream).await.unwrap();
    let text = std::str::from_utf8(&message.bundles["spiffe://td.test"]).unwrap();
    let keys = JwtBundle::from_jwks(TrustDomain::parse("td.test").unwrap(), text).unwrap();
    assert_eq!(keys, renewed.jwt_bundle(), "pushed as soon as it changed");
    served.agent.publish_jwt(Vec::new(), &[&renewed]);
    assert_eq!(
        next(&mut stream).await.unwrap_err().code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn spiffe_row_52_a_good_token_s_claims_come_back() {
    let served = Served::new();
    let authority = Arc::new(Authority::new("td.test"));
    publish(&served, &authority);
    let mut client = served.client().await;
    let token = fetch(&mut client, &["db"], WEB)
        .await
        .unwrap()
        .svids
        .remove(0)
        .svid;
    let answer = validate(&mut client, "db", &token).await.unwrap();
    assert_eq!(answer.spiffe_id, WEB);
    let claims = answer.claims.unwrap().fields;
    assert_eq!(
        claims.keys().map(String::as_str).collect::<Vec<_>>(),
        ["aud", "exp", "iat", "jti", "sub"]
    );
    assert_eq!(claims["sub"].kind, Some(Kind::StringValue(WEB.to_owned())));
    assert!(matches!(claims["exp"].kind, Some(Kind::NumberValue(_))));
}

#[tokio::test]
async fn spiffe_row_52_and_53_every_rule_is_applied_and_the_subject_s_own_trust_domain_decides() {
    let served = Served::new();
    let (own, federated, stranger) = (
        Arc::new(Authority::new("td.test")),
        Arc::new(Authority::new("other.test")),
        Authority::new("stranger.test"),
    );
    let offers = vec![Offer::ready(for_us(), own.svid("/web"))];
    served.agent.publish_jwt(offers, &[&own, &federated]);
    let mut client = served.client().await;
    let audience = Audience::new(&["db".to_owned()]).unwrap();
    let (soon, past) = (
        in_five_minutes(),
        UnixTime::since_unix_epoch(Duration::from_secs(1)),
    );
    let foreign = federated.token(&id("spiffe://other.test/api"), &audience, soon);
    let answer = validate(&mut client, "db", &foreign).await.unwrap();
    assert_eq!(answer.spiffe_id, "spiffe://other.test/api");

    let good = own.token(&id(WEB), &audience, soon);
    for (case, token, audience) in [
        ("expired", own.token(&id(WEB), &audience, past), "db"),
        ("for others", good.clone(), "cache"),
        ("for nobody", good.clone(), "DB"),
        (
            "signed by another",
            federated.token(&id(WEB), &audience, soon),
            "db",
        ),
        (
            "of a stranger",
            stranger.token(&id("spiffe://stranger.test/a"), &audience, soon),
            "db",
        ),
        ("cut", good[..good.len() - 2].to_owned(), "db"),
        ("no token", "x".to_owned(), "db"),
        ("empty", String::new(), "db"),
        ("no audience", good.clone(), ""),
    ] {
        let refusal = validate(&mut client, audience, &token).await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument, "{case}: {refusal}");
    }
    validate(&mut client, "db", &good).await.unwrap();
}

#[tokio::test]
async fn a_revoked_token_does_not_validate_and_those_who_follow_the_keys_hear_nothing_of_it() {
    let served = Served::new();
    let authority = Arc::new(Authority::new("td.test"));
    let offers = vec![Offer::ready(for_us(), authority.svid("/web"))];
    served.agent.publish_jwt(offers.clone(), &[&authority]);
    let mut client = served.client().await;
    let mut stream = bundles(&mut client).await.unwrap();
    next(&mut stream).await.unwrap();
    let audience = Audience::new(&["db".to_owned()]).unwrap();
    let token = authority.token(&id(WEB), &audience, in_five_minutes());
    validate(&mut client, "db", &token).await.unwrap();

    let mut revocations = Revocations::default();
    let (until, at) = (in_five_minutes(), in_five_minutes());
    let subject = Subject::Id {
        id: id(WEB),
        until,
        at,
    };
    revocations.insert(subject, "key leaked".into());
    served
        .agent
        .publish_revoking(offers.clone(), &[&authority], revocations);
    let refusal = validate(&mut client, "db", &token).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(refusal.message().contains("key leaked"), "{refusal}");
    let renewed = Arc::new(Authority::new("td.test"));
    served.agent.publish_jwt(offers, &[&renewed]);
    let message = next(&mut stream).await.unwrap();
    let text = std::str::from_utf8(&message.bundles["spiffe://td.test"]).unwrap();
    let keys = JwtBundle::from_jwks(TrustDomain::parse("td.test").unwrap(), text).unwrap();
    assert_eq!(keys, renewed.jwt_bundle(), "nothing came in between");
}

#[tokio::test]
async fn a_token_is_checked_for_workloads_with_an_identity_alone() {
    let served = Served::new();
    let authority = Arc::new(Authority::new("td.test"));
    served.agent.publish_jwt(Vec::new(), &[&authority]);
    let mut client = served.client().await;
    let refusal = validate(&mut client, "db", "a.b.c").await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
    assert_eq!(
        bundles(&mut client).await.unwrap_err().code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn a_process_that_asks_too_often_is_told_to_wait() {
    let served = Served::with(Limits {
        calls: Pace {
            burst: 3,
            interval: Duration::from_hours(1),
        },
        ..Limits::default()
    });
    publish(&served, &Arc::new(Authority::new("td.test")));
    let mut client = served.client().await;
    for _ in 0..3 {
        fetch(&mut client, &["db"], WEB).await.unwrap();
    }
    let refusal = fetch(&mut client, &["db"], WEB).await.unwrap_err();
    assert_eq!(refusal.code(), Code::Unavailable);
    assert!(refusal.message().contains("too often"), "{refusal}");
    let refusal = validate(&mut client, "db", "x").await.unwrap_err();
    assert_eq!(refusal.code(), Code::Unavailable);
    assert!(bundles(&mut client).await.is_ok(), "streams have their own bound");
}

#[tokio::test]
async fn spiffe_row_41_reflection_shows_the_workload_api_and_health_beside_it() {
    let served = Served::new();
    let channel = served.channel().await;
    let request = |message| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message),
    };
    let requests = [
        request(MessageRequest::ListServices(String::new())),
        request(MessageRequest::FileContainingSymbol(
            "SpiffeWorkloadAPI".to_owned(),
        )),
    ];
    let mut answers = ServerReflectionClient::new(channel.clone())
        .server_reflection_info(futures::stream::iter(requests))
        .await
        .unwrap()
        .into_inner();
    let mut answer = async || {
        answers
            .message()
            .await
            .unwrap()
            .unwrap()
            .message_response
            .unwrap()
    };
    let MessageResponse::ListServicesResponse(list) = answer().await else {
        unreachable!("a list")
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    assert!(
        names.contains(&"SpiffeWorkloadAPI".to_owned())
            && names.contains(&"grpc.health.v1.Health".to_owned()),
        "{names:?}"
    );
    let MessageResponse::FileDescriptorResponse(files) = answer().await else {
        unreachable!("a file")
    };
    assert!(!files.file_descriptor_proto.is_empty());

    let mut health = HealthClient::new(channel);
    let mut check = async |service: &str| {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        health.check(request).await.unwrap().into_inner().status()
    };
    assert_eq!(check("").await, ServingStatus::Serving);
    assert_eq!(
        check("SpiffeWorkloadAPI").await,
        ServingStatus::NotServing,
        "no view yet"
    );
    publish(&served, &Arc::new(Authority::new("td.test")));
    let ready = async {
        while check("SpiffeWorkloadAPI").await != ServingStatus::Serving {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.unwrap();
}

#[tokio::test]
async fn spiffe_row_54_the_wit_profile_is_unimplemented() {
    let served = Served::new();
    publish(&served, &Arc::new(Authority::new("td.test")));
    let mut grpc = tonic::client::Grpc::new(served.channel().await);
    for method in ["FetchWITSVID", "FetchWITBundles", "ValidateWITSVID"] {
        grpc.ready().await.unwrap();
        let mut request = Request::new(JwtBundlesRequest {});
        let header = "true".parse().unwrap();
        request.metadata_mut().insert("workload.spiffe.io", header);
        let path = format!("/SpiffeWorkloadAPI/{method}").parse().unwrap();
        let codec: ProstCodec<JwtBundlesRequest, JwtBundlesResponse> = ProstCodec::default();
        let refusal = grpc.unary(request, path, codec).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unimplemented, "{method}");
    }
}
