//! Parsers of text from outside, fed with generated text.

use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use signet_spiffe::{NodeName, SpiffeId};

proptest! {
    #[test]
    fn whatever_parses_as_an_id_is_the_same_text_again(text in "(spiffe://)?[a-zA-Z0-9._%/:@?#é-]{0,40}") {
        if let Ok(id) = SpiffeId::parse(&text) {
            prop_assert_eq!(id.as_str(), &text);
            prop_assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
            prop_assert!(!id.path().split('/').skip(1).any(|s| matches!(s, "" | "." | "..")));
        }
    }

    #[test]
    fn a_node_name_survives_its_id(text in "[a-z0-9-]{0,70}") {
        if let Ok(name) = NodeName::parse(&text) {
            let id = SpiffeId::node(&"td".parse().unwrap(), &name);
            prop_assert_eq!(id.node_name(), Some(name));
            prop_assert_eq!(SpiffeId::parse(id.as_str()).unwrap(), id);
        }
    }
}
