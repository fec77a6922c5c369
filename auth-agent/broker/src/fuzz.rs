//! References as a broker could send them, mutated.

use prost::Message as _;
use prost_types::Any;
use signet_fuzz::{Counting, Fuzz, Refused};
use signet_proto::broker;

use crate::reference::Reference;

#[global_allocator]
static MEMORY: Counting = Counting;

fn request(type_url: &str, value: Vec<u8>) -> Vec<u8> {
    let reference = broker::WorkloadReference {
        reference: Some(Any {
            type_url: type_url.to_owned(),
            value,
        }),
    };
    let request = broker::FetchJwtsvidRequest {
        reference: Some(reference),
        audience: vec!["db".to_owned()],
        spiffe_id: "spiffe://td.test/web".to_owned(),
    };
    request.encode_to_vec()
}

#[test]
fn fuzz_references() {
    let pid = broker::WorkloadPidReference { pid: 1234 };
    let object = broker::KubernetesObjectReference {
        r#type: Some(broker::KubernetesObjectType {
            plural: "pods".to_owned(),
            group: "core".to_owned(),
        }),
        key: Some(broker::KubernetesObjectKey {
            namespace: "shop".to_owned(),
            name: "web-0".to_owned(),
        }),
        uid: "a1b2c3d4-e5f6-7890-abcd-ef1234567890".to_owned(),
    };
    Fuzz::new(env!("CARGO_MANIFEST_DIR"), "references")
        .seed(request(
            "type.googleapis.com/spiffe.broker.WorkloadPIDReference",
            pid.encode_to_vec(),
        ))
        .seed(request(
            "type.googleapis.com/spiffe.broker.KubernetesObjectReference",
            object.encode_to_vec(),
        ))
        .inputs(50_000)
        .run(|bytes| {
            let request = broker::FetchJwtsvidRequest::decode(bytes)?;
            match Reference::parse(request.reference.as_ref()) {
                Ok(Reference::Pid(pid)) => assert!(pid > 0),
                Ok(Reference::Kubernetes(object)) => {
                    assert!(object.key.is_some() || object.uid.is_some());
                    assert!(!object.kind.0.is_empty() && !object.kind.1.is_empty());
                }
                Err(error) => {
                    assert!(error.to_string().len() < 1024, "an error as long as its cause");
                    Err(error)?;
                }
            }
            Ok::<_, Refused>(())
        });
}
