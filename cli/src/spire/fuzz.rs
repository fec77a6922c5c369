//! Files that pass for SPIRE's, mutated.

use std::collections::BTreeSet;

use signet_fuzz::{Counting, Fuzz, Refused};
use signet_spiffe::NodeName;

use super::{Rules, map, read};

#[global_allocator]
static MEMORY: Counting = Counting;

const SHOWN: &str = r#"{"entries":[{"id":"e1","spiffe_id":{"trust_domain":"td.test","path":"/ns/shop/sa/web"},
"parent_id":{"trust_domain":"td.test","path":"/host/n1"},"selectors":[{"type":"unix","value":"uid:1000"}],
"x509_svid_ttl":3600,"federates_with":["other.test"],"hint":"web","admin":false,"downstream":false,"expires_at":"0",
"dns_names":["web.example"],"revision_number":"3","store_svid":false,"jwt_svid_ttl":300,"created_at":"1700000000"}],
"next_page_token":""}"#;

const FOR_CREATE: &str = r#"{"entries":[{"spiffe_id":"spiffe://td.test/web","parent_id":"spiffe://td.test/n1",
"selectors":[{"type":"unix","value":"path:/usr/bin/web"}],"ttl":60}]}"#;

#[derive(Debug)]
struct Empty;

#[test]
fn fuzz_entries_of_spire() {
    let rules = Rules {
        known: BTreeSet::from(["n1".parse::<NodeName>().unwrap()]),
        ..Rules::default()
    };
    // Tables of what is unknown take some memory.
    Fuzz::new(env!("CARGO_MANIFEST_DIR"), "entries_of_spire")
        .seed(SHOWN)
        .seed(FOR_CREATE)
        .inputs(10_000)
        .memory(1024 * 1024)
        .run(|bytes| {
            let text = str::from_utf8(bytes)?;
            let entries = read(text)?;
            let mapped: Vec<_> = entries.iter().map(|entry| map(entry, &rules)).collect();
            for (entry, mapped) in entries.iter().zip(&mapped) {
                // Each is told, whatever becomes of it; and nobody gets more than SPIRE gave.
                let Ok(requests) = &mapped.result else {
                    assert!(mapped.result.as_ref().is_err_and(|against| !against.is_empty()));
                    continue;
                };
                for request in requests {
                    assert_eq!(request.node, "n1");
                    assert_eq!(request.selectors.len(), entry.selectors.len());
                    assert!(request.ttl <= 86_400 && request.jwt_ttl <= 3600);
                    assert!(request.role.is_empty() && !entry.downstream && !entry.store_svid);
                }
            }
            if mapped.is_empty() {
                Err(Empty)?;
            }
            Ok::<_, Refused>(())
        });
}
