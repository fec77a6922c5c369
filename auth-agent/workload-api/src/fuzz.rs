//! Requests as a workload could send them, mutated.

use prost_types::{Struct, value::Kind};
use signet_fuzz::{Counting, Fuzz, Refused};
use signet_spiffe::SpiffeId;

use crate::claims::to_struct;
use crate::jwt_calls::wanted;

#[global_allocator]
static MEMORY: Counting = Counting;

#[test]
fn fuzz_requests_for_tokens() {
    Fuzz::new(env!("CARGO_MANIFEST_DIR"), "requests_for_tokens")
        .seed("db\nhttps://x.example/y\n\nspiffe://td.test/web")
        .seed("db\n\n")
        .inputs(50_000)
        .run(|bytes| {
            let text = str::from_utf8(bytes)?;
            let (audience, id) = text.split_once("\n\n").unwrap_or((text, ""));
            let request = signet_proto::workload::JwtsvidRequest {
                audience: audience.split('\n').map(str::to_owned).collect(),
                spiffe_id: id.to_owned(),
            };
            wanted(&request)?;
            assert!(id.is_empty() || SpiffeId::parse(id).is_ok());
            Ok::<_, Refused>(())
        });
}

#[test]
fn fuzz_claims() {
    Fuzz::new(env!("CARGO_MANIFEST_DIR"), "claims")
        .seed(r#"{"sub":"spiffe://td.test/web","aud":["a"],"exp":1,"n":{"a":[1,null,true,-2.5e3]}}"#)
        .inputs(20_000)
        .memory(1024 * 1024)
        .run(|bytes| {
            let claims = serde_json::from_slice(bytes)?;
            let Struct { fields } = to_struct(&claims);
            assert_eq!(fields.len(), claims.len());
            for (name, claim) in &claims {
                let kind = fields.get(name).and_then(|value| value.kind.as_ref());
                assert_eq!(
                    claim.is_string(),
                    matches!(kind, Some(Kind::StringValue(_))),
                    "{name}"
                );
            }
            Ok::<_, Refused>(())
        });
}
