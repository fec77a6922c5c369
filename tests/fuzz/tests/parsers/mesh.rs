//! Parsers of agents and of the mesh: session frames, view updates, policies.

use std::sync::Arc;

use crate::fuzz;
use crate::support::{domain, root};
use prost::Message as _;
use signet_agent::view::{RevocationTable, View};
use signet_fuzz::Refused;
use signet_proto::view::v1 as wire;
use signet_session::{Decoder, Hello, Instance, Message, NodeNumber, encode};
use signet_source::Set;
use signet_spiffe::NodeName;

#[derive(Debug)]
struct NoMessage;

fn messages(bytes: &[u8]) -> Result<Vec<Message>, Refused> {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    let mut messages = Vec::new();
    while let Some(message) = decoder.next_message()? {
        messages.push(message);
    }
    Ok(messages)
}

#[test]
fn fuzz_session_frames() {
    let hello = Message::Hello(Hello {
        min_version: 1,
        max_version: 1,
        node: NodeNumber::new(1).unwrap(),
        instance: Instance([7; 16]),
    });
    let frames = [hello, Message::Ping(7), Message::Ready(3)].map(|message| encode(&message).unwrap());
    fuzz("session_frames")
        .seed(&frames[0])
        .seed(frames.concat())
        .inputs(50_000)
        .run(|bytes| {
            let read = messages(bytes)?;
            // A route is written as the receiver sees it, so there and back are two journeys.
            let twice = |message: &Message| {
                let there = messages(&encode(message).unwrap()).ok().unwrap().remove(0);
                messages(&encode(&there).unwrap()).ok().unwrap().remove(0)
            };
            for message in &read {
                assert_eq!(twice(message), *message);
            }
            // Cut anywhere, it is the same stream.
            let mut decoder = Decoder::default();
            let mut pieces = Vec::new();
            for piece in bytes.chunks(7) {
                decoder.push(piece);
                while let Ok(Some(message)) = decoder.next_message() {
                    pieces.push(message);
                }
            }
            assert_eq!(pieces, read);
            if read.is_empty() {
                Err(NoMessage)?;
            }
            Ok::<_, Refused>(())
        });
}

fn update() -> wire::Update {
    wire::Update {
        revision: 7,
        snapshot: true,
        self_node: "n1".to_owned(),
        nodes: vec![wire::Node {
            name: "n1".to_owned(),
            id: 1,
            addresses: vec!["192.0.2.1".to_owned(), "2001:db8::1".to_owned()],
            session_port: 4250,
            pod_cidrs: vec!["10.244.1.0/24".to_owned()],
        }],
        identities: vec![wire::Identity {
            spiffe_id: "spiffe://td.test/ns/shop/sa/web".to_owned(),
            number: 256,
            nodes: vec!["n1".to_owned()],
        }],
        registrations: vec![wire::Registration {
            id: "r1".to_owned(),
            spiffe_id: "spiffe://td.test/ns/shop/sa/web".to_owned(),
            identity: 256,
            selectors: vec!["unix:uid:1000".to_owned()],
            ..wire::Registration::default()
        }],
        bundle: Some(wire::TrustBundle {
            trust_domain: "td.test".to_owned(),
            x509_authorities: vec![root()],
            ..wire::TrustBundle::default()
        }),
        cluster: Some(wire::Cluster::default()),
        ..wire::Update::default()
    }
}

#[test]
fn fuzz_view_updates() {
    let own = NodeName::parse("n1").unwrap();
    let none = Arc::new(RevocationTable::default());
    let read = |update: &wire::Update| View::from_snapshot(&own, &domain(), &none, update);
    fuzz("view_updates")
        .seed(update().encode_to_vec())
        .inputs(10_000)
        .memory(1024 * 1024)
        .run(|bytes| {
            let update = wire::Update::decode(bytes)?;
            // Revocations are read in any case, whatever else is wrong.
            drop(RevocationTable::new(&domain(), update.revocations.clone()));
            let view = read(&update)?;
            // What is told to the node's daemons means the same to them.
            let told = view.snapshot();
            let again = read(&told).unwrap();
            assert_eq!(again.snapshot(), told);
            // And as a change to a view that is there already.
            drop(view.apply(&wire::Update {
                snapshot: false,
                ..update
            }));
            Ok::<_, Refused>(())
        });
}

const POLICIES: &str = r#"apiVersion: signet.io/v1alpha1
kind: Workload
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  node: n2
  serviceAccount: web
  addresses: [10.244.2.10, "fd00:244:2::10"]
  interface: sgv-web
---
apiVersion: signet.io/v1alpha1
kind: Policy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - from:
    - workload: {serviceAccount: client}
    - entity: host
    ports: [{protocol: TCP, port: 8080, endPort: 8090}]
    action: Allow
    authentication: required
"#;

#[test]
fn fuzz_policies() {
    // A parser of YAML has some memory of its own: tables, buffers, and the error that quotes the text.
    fuzz("policies")
        .seed(POLICIES)
        .inputs(5_000)
        .memory(4 * 1024 * 1024)
        .longest(4096)
        .run(|bytes| {
            let text = str::from_utf8(bytes)?;
            let set = Set::parse([("a.yaml", text)])?;
            // Order of files and a second look change nothing.
            assert_eq!(Set::parse([("a.yaml", text)]).unwrap(), set);
            let split = Set::parse([("b.yaml", ""), ("a.yaml", text)]).unwrap();
            assert_eq!(
                (split.workloads(), split.policies()),
                (set.workloads(), set.policies())
            );
            Ok::<_, Refused>(())
        });
}
