//! Streams of requests as an Envoy, or somebody else, could send them, mutated.

use std::sync::Arc;

use prost::Message;
use signet_fuzz::{Counting, Fuzz};
use signet_proto::sds::{DeltaDiscoveryRequest, DiscoveryRequest};
use signet_spiffe::BundleSet;
use signet_workload_api::Holdings;

use crate::conversation::Protocol;
use crate::delta::Delta;
use crate::secret::SECRET;
use crate::state::StateOfTheWorld;
use crate::testing::Issuer;
use crate::withdrawn::Withdrawn;

#[global_allocator]
static MEMORY: Counting = Counting;

fn holdings() -> Holdings {
    let issuer = Issuer::new("td.test");
    Holdings {
        ids: vec![issuer.id("/web")],
        svids: vec![issuer.svid("/web")],
        bundles: Arc::new(BundleSet::single(issuer.bundle())),
        revocation_list: None,
    }
}

fn stream<T: Message>(requests: &[T]) -> Vec<u8> {
    requests
        .iter()
        .flat_map(Message::encode_length_delimited_to_vec)
        .collect()
}

/// Says everything that is in the input; answers are taken as they come.
fn converse<P: Protocol>(mut protocol: P, holdings: &Holdings, mut bytes: &[u8]) -> bool
where
    P::Request: Message + Default,
{
    protocol.hold(Some(holdings.clone()));
    let mut said = 0;
    while !bytes.is_empty() {
        let Ok(request) = P::Request::decode_length_delimited(&mut bytes) else {
            return false;
        };
        let _ = protocol.is_verdict(&request);
        if protocol.request(request).is_err() {
            return false;
        }
        said += 1;
        // Whatever was asked for, it is told once.
        let first = protocol.response().is_some();
        assert!(
            !(first && protocol.response().is_some()),
            "the same is told twice"
        );
        if said == 3 {
            protocol.hold(None);
        }
    }
    said > 0
}

#[test]
fn fuzz_requests_of_the_state_of_the_world() {
    let (holdings, withdrawn) = (holdings(), Arc::new(Withdrawn::new().unwrap()));
    let request = |names: &[&str], nonce: &str| DiscoveryRequest {
        resource_names: names.iter().map(ToString::to_string).collect(),
        type_url: SECRET.to_owned(),
        response_nonce: nonce.to_owned(),
        ..DiscoveryRequest::default()
    };
    Fuzz::new(env!("CARGO_MANIFEST_DIR"), "state_of_the_world")
        .seed(stream(&[
            request(&["default", "ROOTCA"], ""),
            request(&["ALL"], "1"),
            request(&[], "2"),
        ]))
        .seed(stream(&[request(
            &["spiffe://td.test/web", "spiffe://td.test"],
            "",
        )]))
        .inputs(2_000)
        .memory(4 * 1024 * 1024)
        .run(|bytes| converse(StateOfTheWorld::new(withdrawn.clone()), &holdings, bytes));
}

#[test]
fn fuzz_requests_by_delta() {
    let (holdings, withdrawn) = (holdings(), Arc::new(Withdrawn::new().unwrap()));
    let request = |more: &[&str], less: &[&str], nonce: &str| DeltaDiscoveryRequest {
        type_url: SECRET.to_owned(),
        resource_names_subscribe: more.iter().map(ToString::to_string).collect(),
        resource_names_unsubscribe: less.iter().map(ToString::to_string).collect(),
        response_nonce: nonce.to_owned(),
        ..DeltaDiscoveryRequest::default()
    };
    Fuzz::new(env!("CARGO_MANIFEST_DIR"), "delta")
        .seed(stream(&[
            request(&["default", "ROOTCA"], &[], ""),
            request(&["ALL"], &["ROOTCA"], "1"),
        ]))
        .seed(stream(&[request(&["*"], &[], ""), request(&[], &["*"], "")]))
        .inputs(2_000)
        .memory(4 * 1024 * 1024)
        .run(|bytes| converse(Delta::new(withdrawn.clone()), &holdings, bytes));
}
