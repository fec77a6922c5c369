//! What is known of who wants to be admitted, for the audit stream. It is what they say themselves: nothing of it is proven.

use serde_json::{Map, Value};
use signet_log::{Caller, Hash};
use signet_node_attest::Method;
use signet_proto::ca::v1::NodeEvidence;
use signet_proto::ca::v1::node_evidence::Proof;

use crate::join_token;

/// Most characters of a name: those of the longest good one, and one more by which a longer one is known.
const MAX_NAME: usize = 64;

/// Who says to be whom, and shows what for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tried {
    node: Option<String>,
    method: Option<&'static str>,
    /// As the issuance log would name it, had it admitted somebody.
    shown: Option<String>,
}

impl Tried {
    /// What evidence says. A token's secret is not in it.
    pub(crate) fn of(evidence: &NodeEvidence) -> Self {
        let node = evidence.node.chars().take(MAX_NAME).collect::<String>();
        let (method, shown) = match &evidence.proof {
            None => (None, None),
            Some(Proof::JoinToken(text)) => {
                let token = join_token::parse(text).ok();
                (
                    Some("join_token"),
                    token.map(|token| Caller::JoinToken(token.id.0)),
                )
            }
            Some(Proof::X509pop(shown)) => {
                let leaf = shown.chain.first();
                let leaf = leaf.map(|der| Caller::X509Pop(Hash::sha256(der).0));
                (Some(Method::X509Pop.as_str()), leaf)
            }
            Some(Proof::TpmDevid(shown)) => {
                let leaf = shown.chain.first();
                let leaf = leaf.map(|der| Caller::TpmDevid(Hash::sha256(der).0));
                (Some(Method::TpmDevid.as_str()), leaf)
            }
        };
        Self {
            node: Some(node).filter(|name| !name.is_empty()),
            method,
            shown: shown.map(|caller| caller.to_string()),
        }
    }

    /// As a record has it.
    pub(crate) fn what(&self) -> Map<String, Value> {
        let method = self.method.map(str::to_owned);
        [("node", &self.node), ("method", &method), ("shown", &self.shown)]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value.clone()?))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use signet_proto::ca::v1::X509PopEvidence;

    use super::*;

    fn what(node: &str, proof: Option<Proof>) -> Value {
        let evidence = NodeEvidence {
            node: node.to_owned(),
            csr: Vec::new(),
            proof,
        };
        Tried::of(&evidence).what().into()
    }

    #[test]
    fn what_is_shown_is_named_as_the_log_would_and_no_secret_is() {
        let secret = "ab".repeat(32);
        let token = format!("sgn1.0123456789abcdef.{secret}");
        let said = what("", Some(Proof::JoinToken(token)));
        assert_eq!(said["shown"], "token 0123456789abcdef");
        assert_eq!(said["method"], "join_token");
        assert!(!said.to_string().contains(&secret) && said.get("node").is_none());
        // What is no token may be half of one.
        let garbage = what("n1", Some(Proof::JoinToken(format!("sgn1.{secret}"))));
        assert!(!garbage.to_string().contains(&secret), "{garbage}");
        assert_eq!(garbage["node"], "n1");
        let chain = vec![b"leaf".to_vec(), b"above".to_vec()];
        let said = what("n1", Some(Proof::X509pop(X509PopEvidence { chain })));
        let shown = said["shown"].as_str().unwrap();
        assert_eq!(shown, format!("x509pop {}", Hash::sha256(b"leaf")));
    }

    #[test]
    fn whatever_comes_is_short() {
        let chain = Vec::new();
        let said = what(&"é".repeat(5000), Some(Proof::X509pop(X509PopEvidence { chain })));
        assert_eq!(said["node"].as_str().unwrap().chars().count(), MAX_NAME);
        assert!(said.get("shown").is_none());
        assert_eq!(what("", None), serde_json::json!({}));
    }
}
