use signet_spiffe::{SpiffeId, TrustDomain};

/// What the name of a resource means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// `default`.
    DefaultIdentity,
    /// A SPIFFE ID with a path.
    Identity(SpiffeId),
    /// `ROOTCA`.
    OwnBundle,
    /// A trust domain's SPIFFE ID.
    Bundle(TrustDomain),
    /// `ALL`.
    AllBundles,
}

/// What kind of secret a name is of. It never changes for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Certificates and a private key.
    Certificate,
    /// What peers are checked with.
    Validation,
}

impl Name {
    /// `None`: no secret has such a name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "default" => return Some(Self::DefaultIdentity),
            "ROOTCA" => return Some(Self::OwnBundle),
            "ALL" => return Some(Self::AllBundles),
            _ => {}
        }
        let rest = text.strip_prefix("spiffe://")?;
        if rest.contains('/') {
            SpiffeId::parse(text).ok().map(Self::Identity)
        } else {
            TrustDomain::parse(rest).ok().map(Self::Bundle)
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::DefaultIdentity | Self::Identity(_) => Kind::Certificate,
            Self::OwnBundle | Self::Bundle(_) | Self::AllBundles => Kind::Validation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spiffe_id_with_a_path_is_an_identity_and_without_one_a_trust_domain() {
        let id = SpiffeId::parse("spiffe://td.test/ns/shop/sa/web").unwrap();
        assert_eq!(Name::parse(id.as_str()), Some(Name::Identity(id)));
        let domain = TrustDomain::parse("td.test").unwrap();
        assert_eq!(Name::parse("spiffe://td.test"), Some(Name::Bundle(domain)));
    }

    #[test]
    fn the_three_words_are_spelt_one_way_and_nothing_else_is_a_name() {
        assert_eq!(Name::parse("default"), Some(Name::DefaultIdentity));
        assert_eq!(Name::parse("ROOTCA"), Some(Name::OwnBundle));
        assert_eq!(Name::parse("ALL"), Some(Name::AllBundles));
        let others = [
            "",
            "all",
            "rootca",
            "Default",
            "td.test",
            "spiffe://",
            "spiffe://td.test/",
            "spiffe://TD.test/web",
            "https://td.test/web",
        ];
        for other in others {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }
}
