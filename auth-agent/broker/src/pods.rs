//! An attestor of Kubernetes objects as the broker would see it: pods by name and UID, each with the process of its first container.
//! There is no Kubernetes here; what is tested is that one small trait is all that such an attestor has to be.

use std::collections::HashMap;
use std::sync::Arc;

use signet_attest::{
    AttestError, Changes, Known, ObjectReference, Process, ResolveError, Selector, WorkloadAttestor,
};
use signet_workload_api::Offer;
use spiffe::broker_api::pb::spiffe::broker::{
    KubernetesObjectKey, KubernetesObjectReference, KubernetesObjectType, WorkloadReference,
};
use tokio::sync::watch;
use tonic::Code;

use crate::conformance::{all_refused, next, svids};
use crate::testing::{Served, Workload};

/// Process IDs of pods, by namespace, name and UID.
pub(crate) type Pods = HashMap<(String, String, String), i32>;

const UID: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";

#[derive(Debug)]
pub(crate) struct PodAttestor(pub(crate) watch::Receiver<Pods>);

impl PodAttestor {
    fn is_meant(object: &ObjectReference, (namespace, name, uid): &(String, String, String)) -> bool {
        let by_key = object.key.as_ref();
        let by_uid = object.uid.as_ref();
        by_key.is_none_or(|key| (&key.0, &key.1) == (namespace, name)) && by_uid.is_none_or(|one| one == uid)
    }
}

impl WorkloadAttestor for PodAttestor {
    fn attest(&self, process: &Process) -> Result<Known, AttestError> {
        let pods = self.0.borrow();
        let pod = pods.iter().find(|(_, pid)| **pid == process.pid());
        // Selectors of Kubernetes come with Kubernetes; an endpoint is the pod's name as well.
        let name = pod.map(|((namespace, name, _), _)| format!("endpoint:{namespace}/{name}"));
        let selectors = name.map(|text| text.parse::<Selector>().unwrap());
        Ok(Known::all(selectors))
    }

    fn changes(&self) -> Option<Box<dyn Changes>> {
        let mut changes = self.0.clone();
        changes.mark_unchanged();
        Some(Box::new(changes))
    }

    fn resolve(&self, object: &ObjectReference) -> Result<Process, ResolveError> {
        if object.kind != ("pods".to_owned(), "core".to_owned()) {
            return Err(ResolveError::Unsupported);
        }
        let find = || {
            let pods = self.0.borrow();
            let pod = pods.iter().find(|(pod, _)| Self::is_meant(object, pod));
            pod.map(|(_, pid)| *pid)
        };
        let process = Process::by_number(find().ok_or(ResolveError::NotFound)?)?;
        // It is held now; and still the pod's?
        if find() == Some(process.pid()) {
            Ok(process)
        } else {
            Err(ResolveError::NotFound)
        }
    }
}

fn pod(name: &str) -> (String, String, String) {
    ("shop".to_owned(), name.to_owned(), UID.to_owned())
}

fn reference(plural: &str, name: &str, uid: &str) -> WorkloadReference {
    KubernetesObjectReference {
        r#type: Some(KubernetesObjectType {
            plural: plural.to_owned(),
            group: "core".to_owned(),
        }),
        key: Some(KubernetesObjectKey {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }),
        uid: uid.to_owned(),
    }
    .into()
}

#[tokio::test]
async fn an_attestor_of_pods_gives_brokers_what_the_pod_s_process_is_entitled_to() {
    let (publish, pods) = watch::channel(Pods::new());
    let served = Served::with_pods(pods);
    let mut workload = Workload::of(4301);
    let web = served.authority.svid("/ns/shop/sa/web");
    let required = ["endpoint:shop/web-0", "unix:uid:4301"];
    let required = signet_attest::RequiredSelectors::parse(&required).unwrap();
    served
        .agent
        .publish(vec![Offer::ready(required, Arc::clone(&web))]);
    publish.send_replace(Pods::from([(pod("web-0"), workload.pid())]));
    let mut client = served.broker().await;
    let client = &mut client;
    let mut stream = svids(client, reference("pods", "web-0", UID)).await.unwrap();
    let first = next(&mut stream).await.unwrap();
    assert_eq!(first.svids[0].spiffe_id, "spiffe://td.test/ns/shop/sa/web");

    let (missing, invalid) = ("WORKLOAD_NOT_FOUND", "WORKLOAD_REFERENCE_INVALID");
    all_refused(client, reference("pods", "web-1", UID), Code::NotFound, missing).await;
    let other_uid = UID.replace('a', "b");
    all_refused(
        client,
        reference("pods", "web-0", &other_uid),
        Code::NotFound,
        missing,
    )
    .await;
    all_refused(
        client,
        reference("nodes", "web-0", UID),
        Code::InvalidArgument,
        invalid,
    )
    .await;

    // The pod goes, while its process lives on: the stream ends, because the process is nobody's any more.
    publish.send_replace(Pods::new());
    let end = next(&mut stream).await.unwrap_err();
    assert_eq!(end.code(), Code::PermissionDenied, "{end}");
    // It is back, but its process ends.
    publish.send_replace(Pods::from([(pod("web-0"), workload.pid())]));
    workload.end();
    all_refused(client, reference("pods", "web-0", UID), Code::NotFound, missing).await;
}
