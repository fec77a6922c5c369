//! Which workload is meant: a reference, read. Pure.

use prost::Message as _;
use signet_attest::ObjectReference;
use signet_proto::broker;

/// What names types in an `Any`; what stands before the last `/` means nothing.
const PID: &str = "spiffe.broker.WorkloadPIDReference";
const KUBERNETES: &str = "spiffe.broker.KubernetesObjectReference";

/// Longest name in a Kubernetes reference, bytes (RFC 1123 subdomain).
const MAX_NAME: usize = 253;

/// A workload, as a broker names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// A process by its number in our PID namespace, above 0.
    Pid(i32),
    /// An object in Kubernetes.
    /// It has a key or a UID, or both.
    Kubernetes(ObjectReference),
}

/// Why a reference names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReferenceError {
    #[error("the request names no workload: reference must be set")]
    Missing,
    #[error("a reference of type {0:?} is not understood here")]
    UnknownType(String),
    #[error("the reference cannot be read as a {0}")]
    Damaged(&'static str),
    #[error("{0} is no process ID: it must be above 0")]
    Pid(i32),
    #[error("type of the Kubernetes object: plural and group are required (\"core\" for the core group)")]
    Kind,
    #[error("key of the Kubernetes object: a name is required, of at most 253 bytes")]
    Key,
    #[error("uid of the Kubernetes object is no UUID")]
    Uid,
    #[error("a Kubernetes reference needs key or uid")]
    NeitherKeyNorUid,
}

impl Reference {
    pub(crate) fn parse(reference: Option<&broker::WorkloadReference>) -> Result<Self, ReferenceError> {
        let any = reference
            .and_then(|reference| reference.reference.as_ref())
            .ok_or(ReferenceError::Missing)?;
        let name = any.type_url.rsplit('/').next().unwrap_or_default();
        match name {
            "" => Err(ReferenceError::Missing),
            PID => {
                let decoded = broker::WorkloadPidReference::decode(any.value.as_slice());
                let pid = decoded.map_err(|_| ReferenceError::Damaged(PID))?.pid;
                if pid > 0 {
                    Ok(Self::Pid(pid))
                } else {
                    Err(ReferenceError::Pid(pid))
                }
            }
            KUBERNETES => {
                let decoded = broker::KubernetesObjectReference::decode(any.value.as_slice());
                let object = decoded.map_err(|_| ReferenceError::Damaged(KUBERNETES))?;
                kubernetes(object).map(Self::Kubernetes)
            }
            other => Err(ReferenceError::UnknownType(
                other.chars().take(MAX_NAME).collect(),
            )),
        }
    }
}

fn kubernetes(object: broker::KubernetesObjectReference) -> Result<ObjectReference, ReferenceError> {
    let is_name = |text: &str| !text.is_empty() && text.len() <= MAX_NAME;
    let kind = object.r#type.ok_or(ReferenceError::Kind)?;
    if !is_name(&kind.plural) || !is_name(&kind.group) {
        return Err(ReferenceError::Kind);
    }
    let key = match object.key {
        Some(key) if is_name(&key.name) && key.namespace.len() <= MAX_NAME => Some((key.namespace, key.name)),
        Some(_) => return Err(ReferenceError::Key),
        None => None,
    };
    let uid = match object.uid {
        uid if uid.is_empty() => None,
        uid if is_uuid(&uid) => Some(uid),
        _ => return Err(ReferenceError::Uid),
    };
    if key.is_none() && uid.is_none() {
        return Err(ReferenceError::NeitherKeyNorUid);
    }
    Ok(ObjectReference {
        kind: (kind.plural, kind.group),
        key,
        uid,
    })
}

/// Five groups of hexadecimal digits (RFC 9562 §4).
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups
            .iter()
            .all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use prost_types::Any;

    use super::*;

    fn parse(type_url: &str, value: Vec<u8>) -> Result<Reference, ReferenceError> {
        Reference::parse(Some(&broker::WorkloadReference {
            reference: Some(Any {
                type_url: type_url.to_owned(),
                value,
            }),
        }))
    }

    fn pid(pid: i32) -> Vec<u8> {
        broker::WorkloadPidReference { pid }.encode_to_vec()
    }

    fn kubernetes(plural: &str, group: &str, key: Option<(&str, &str)>, uid: &str) -> Vec<u8> {
        broker::KubernetesObjectReference {
            r#type: Some(broker::KubernetesObjectType {
                plural: plural.to_owned(),
                group: group.to_owned(),
            }),
            key: key.map(|(namespace, name)| broker::KubernetesObjectKey {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            uid: uid.to_owned(),
        }
        .encode_to_vec()
    }

    const PID_URL: &str = "type.googleapis.com/spiffe.broker.WorkloadPIDReference";
    const KUBERNETES_URL: &str = "type.googleapis.com/spiffe.broker.KubernetesObjectReference";
    const UID: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";

    #[test]
    fn spiffe_row_72_a_request_without_a_reference_or_with_one_of_another_type_names_nothing() {
        assert_eq!(Reference::parse(None), Err(ReferenceError::Missing));
        let empty = broker::WorkloadReference { reference: None };
        assert_eq!(Reference::parse(Some(&empty)), Err(ReferenceError::Missing));
        assert_eq!(parse("", pid(1)), Err(ReferenceError::Missing));
        for unknown in [
            "type.googleapis.com/google.protobuf.Empty",
            "x",
            "spiffe.broker.WorkloadPIDReference2",
        ] {
            assert!(
                matches!(parse(unknown, pid(1)), Err(ReferenceError::UnknownType(_))),
                "{unknown}"
            );
        }
        assert_eq!(parse(PID_URL, vec![0xff]), Err(ReferenceError::Damaged(PID)));
    }

    #[test]
    fn spiffe_row_73_a_pid_is_above_0() {
        assert_eq!(parse(PID_URL, pid(1)), Ok(Reference::Pid(1)));
        assert_eq!(parse(PID_URL, pid(i32::MAX)), Ok(Reference::Pid(i32::MAX)));
        for none in [0, -1, i32::MIN] {
            assert_eq!(parse(PID_URL, pid(none)), Err(ReferenceError::Pid(none)));
        }
        assert_eq!(
            parse(PID_URL, Vec::new()),
            Err(ReferenceError::Pid(0)),
            "left out"
        );
    }

    #[test]
    fn spiffe_row_73_a_kubernetes_reference_has_a_type_and_a_key_or_a_uid() {
        let key = Some(("shop", "web-0"));
        for good in [
            kubernetes("pods", "core", key, UID),
            kubernetes("pods", "core", key, ""),
            kubernetes("pods", "core", None, UID),
            kubernetes("nodes", "core", Some(("", "n1")), ""),
        ] {
            assert!(matches!(
                parse(KUBERNETES_URL, good),
                Ok(Reference::Kubernetes(_))
            ));
        }
        let refused = |value| parse(KUBERNETES_URL, value).unwrap_err();
        assert_eq!(refused(kubernetes("", "core", key, UID)), ReferenceError::Kind);
        assert_eq!(refused(kubernetes("pods", "", key, UID)), ReferenceError::Kind);
        assert_eq!(
            refused(kubernetes("pods", "core", Some(("shop", "")), UID)),
            ReferenceError::Key
        );
        assert_eq!(
            refused(kubernetes("pods", "core", key, "web-0")),
            ReferenceError::Uid
        );
        assert_eq!(
            refused(kubernetes("pods", "core", None, "")),
            ReferenceError::NeitherKeyNorUid
        );
        assert_eq!(refused(Vec::new()), ReferenceError::Kind);
    }
}
