//! What an operator's call is about, from its bytes: enough to know what was wanted, and no secret, of which no request has
//! any.

use prost::Message;
use serde_json::{Map, Value, json};
use signet_authority::chain_from_pem;
use signet_log::Hash;
use signet_proto::ca::v1::revoke_request::Subject;
use signet_proto::ca::v1::{
    ActivateAuthorityRequest, AllowNodeRequest, BanNodeRequest, CreateJoinTokenRequest, DefederateRequest,
    DeregisterRequest, DisallowNodeRequest, EvictNodeRequest, FederateRequest, ImportAuthorityRequest,
    PrepareAuthorityRequest, RefreshFederationRequest, RegisterAllRequest, RegisterRequest, ReopenRequest,
    RetireAuthorityRequest, RevokeAuthorityRequest, RevokeRequest, SetEncryptionRequest,
    TaintAuthorityRequest, Texts, UpdateRegistrationRequest,
};
use signet_spiffe::CertificateDer;

/// Names of a long list that are written down.
const NAMED: usize = 64;

/// Most characters of a text.
const MAX_TEXT: usize = 2048;

/// Of a gRPC message, as it comes over the wire: flag, length, protobuf.
pub(super) fn of(method: &str, frame: &[u8]) -> Map<String, Value> {
    let value = match frame.split_first() {
        Some((0, rest)) => rest.get(4..).and_then(|message| read(method, message)),
        // Compressed, or nothing: our clients do neither.
        Some(_) | None => None,
    };
    let value = match value {
        Some(Value::Object(fields)) => fields,
        Some(_) | None => Map::new(),
    };
    value
        .into_iter()
        .filter(|(_, value)| !is_nothing(value))
        .map(|(name, value)| (name, short(value)))
        .collect()
}

fn read(method: &str, message: &[u8]) -> Option<Value> {
    fn decode<M: Message + Default>(message: &[u8], show: impl FnOnce(M) -> Value) -> Option<Value> {
        M::decode(message).ok().map(show)
    }
    match method {
        "CreateJoinToken" => decode(
            message,
            |of: CreateJoinTokenRequest| json!({"node": of.node, "pod_cidrs": of.pod_cidrs, "addresses": of.addresses, "ttl": of.ttl}),
        ),
        "Register" => decode(message, |of| registration(&of)),
        "UpdateRegistration" => decode(message, update),
        "RegisterAll" => decode(message, |of: RegisterAllRequest| {
            let ids: Vec<_> = of
                .registrations
                .iter()
                .map(|one| one.spiffe_id.as_str())
                .take(NAMED)
                .collect();
            json!({"count": of.registrations.len(), "spiffe_ids": ids, "rehearse": of.rehearse})
        }),
        "Deregister" => decode(message, |of: DeregisterRequest| json!({"registration": of.id})),
        "SetEncryption" => decode(
            message,
            |of: SetEncryptionRequest| json!({"mode": of.mode().as_str_name()}),
        ),
        "Revoke" => decode(message, revocation),
        "Reopen" => decode(message, |of: ReopenRequest| json!({"spiffe_id": of.spiffe_id})),
        "BanNode" => decode(
            message,
            |of: BanNodeRequest| json!({"node": of.node, "reason": of.reason, "rehearse": of.rehearse}),
        ),
        "EvictNode" => decode(
            message,
            |of: EvictNodeRequest| json!({"node": of.node, "reason": of.reason, "rehearse": of.rehearse}),
        ),
        "PrepareAuthority" => decode(message, |of: PrepareAuthorityRequest| json!({"kind": of.kind})),
        "ActivateAuthority" => decode(
            message,
            |of: ActivateAuthorityRequest| json!({"kind": of.kind, "authority": of.id, "acknowledged": of.acknowledged, "rehearse": of.rehearse}),
        ),
        "TaintAuthority" => decode(
            message,
            |of: TaintAuthorityRequest| json!({"kind": of.kind, "authority": of.id, "rehearse": of.rehearse}),
        ),
        "RetireAuthority" => decode(
            message,
            |of: RetireAuthorityRequest| json!({"kind": of.kind, "authority": of.id, "rehearse": of.rehearse}),
        ),
        "RevokeAuthority" => decode(message, |of: RevokeAuthorityRequest| {
            json!({"kind": of.kind, "authority": of.id, "reason": of.reason, "rehearse": of.rehearse,
                   "force": of.force})
        }),
        "AllowNode" => decode(
            message,
            |of: AllowNodeRequest| json!({"node": of.node, "pod_cidrs": of.pod_cidrs, "addresses": of.addresses, "ways": of.ways}),
        ),
        "DisallowNode" => decode(message, |of: DisallowNodeRequest| json!({"node": of.node})),
        "ImportAuthority" => decode(message, |of: ImportAuthorityRequest| chain(&of.chain)),
        "Federate" => decode(message, |of: FederateRequest| {
            json!({"trust_domain": of.trust_domain, "url": of.url, "profile": of.profile,
                   "endpoint_spiffe_id": of.endpoint_spiffe_id})
        }),
        "Defederate" => decode(
            message,
            |of: DefederateRequest| json!({"trust_domain": of.trust_domain}),
        ),
        "RefreshFederation" => decode(
            message,
            |of: RefreshFederationRequest| json!({"trust_domain": of.trust_domain}),
        ),
        // Of the others the name says all, or the registry's changes do.
        _ => None,
    }
}

fn registration(of: &RegisterRequest) -> Value {
    json!({
        "spiffe_id": of.spiffe_id, "node": of.node, "selectors": of.selectors, "ttl": of.ttl, "jwt_ttl": of.jwt_ttl,
        "federates_with": of.federates_with, "hint": of.hint, "dns_names": of.dns_names, "key_type": of.key_type,
        "role": of.role, "downstream": of.downstream,
    })
}

fn update(of: UpdateRegistrationRequest) -> Value {
    // What is there and empty was said.
    let said = |list: Option<Texts>| list.map(|list| Value::from(list.values.join(" ")));
    json!({
        "registration": of.id, "selectors": said(of.selectors), "ttl": of.ttl, "jwt_ttl": of.jwt_ttl,
        "federates_with": said(of.federates_with), "hint": of.hint, "dns_names": said(of.dns_names),
        "key_type": of.key_type, "role": of.role, "downstream": of.downstream,
    })
}

/// The authority's certificate and the one at the end of its chain, which is to be the root.
fn chain(pem: &str) -> Value {
    let Ok(chain) = chain_from_pem(pem) else {
        return json!({"certificates": 0});
    };
    let digest = |der: &CertificateDer<'_>| Hash::sha256(der).to_string();
    json!({
        "certificates": chain.len(), "certificate": chain.first().map(digest), "root": chain.last().map(digest),
    })
}

fn revocation(of: RevokeRequest) -> Value {
    let (kind, subject) = match of.subject {
        Some(Subject::Serial(text)) => ("serial", text),
        Some(Subject::SpiffeId(text)) => ("spiffe_id", text),
        Some(Subject::Node(text)) => ("node", text),
        Some(Subject::Authority(text)) => ("authority", text),
        None => ("nothing", String::new()),
    };
    json!({
        kind: subject, "reason": of.reason, "reissue": of.reissue, "rehearse": of.rehearse, "force": of.force,
    })
}

/// What protobuf does not send.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::Array(list) => list.is_empty(),
        Value::String(_) | Value::Object(_) => false,
    }
}

/// What came in may be long; the call itself refuses it later.
fn short(value: Value) -> Value {
    match value {
        Value::String(text) => text.chars().take(MAX_TEXT).collect::<String>().into(),
        Value::Array(list) => list.into_iter().take(NAMED).map(short).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(message: &impl Message) -> Vec<u8> {
        let bytes = message.encode_to_vec();
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[0_u8][..], &length, &bytes].concat()
    }

    #[test]
    fn a_call_says_what_it_is_about_and_what_is_long_is_cut() {
        let register = RegisterRequest {
            spiffe_id: "spiffe://td/a".to_owned(),
            hint: "h".repeat(5000),
            selectors: vec!["s".to_owned(); 100],
            ..RegisterRequest::default()
        };
        let about = of("Register", &frame(&register));
        assert_eq!(about["spiffe_id"], "spiffe://td/a");
        assert_eq!(about["hint"].as_str().unwrap().len(), MAX_TEXT);
        assert_eq!(about["selectors"].as_array().unwrap().len(), NAMED);
        assert!(!about.contains_key("ttl"));
        let revoke = RevokeRequest {
            subject: Some(Subject::Node("n1".to_owned())),
            rehearse: true,
            ..RevokeRequest::default()
        };
        let about = of("Revoke", &frame(&revoke));
        assert_eq!((&about["node"], &about["rehearse"]), (&json!("n1"), &json!(true)));
    }

    #[test]
    fn garbage_is_about_nothing() {
        for frame in [
            &b""[..],
            b"\0",
            b"\x01\0\0\0\x01x",
            b"\0\0\0\0\x05\xff\xff\xff\xff\xff",
        ] {
            assert!(of("Register", frame).is_empty());
        }
        assert!(of("Whatever", b"\0\0\0\0\0").is_empty());
    }
}
