//! With whom we federate, and how their bundle is fetched (Federation §5.1).

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use signet_spiffe::{SpiffeId, TrustDomain};

use crate::endpoint_url::EndpointUrl;

/// Longest list of certificate authorities for a private web PKI, PEM, bytes.
pub const MAX_WEB_CA_BYTES: usize = 256 * 1024;

/// How the endpoint shows that it is the right one (Federation §5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// By a certificate of the web PKI for its host name.
    HttpsWeb {
        /// The authorities for it, PEM; none: those that the system trusts.
        authorities: Option<String>,
    },
    /// By an X.509-SVID.
    HttpsSpiffe {
        /// Whose.
        endpoint: SpiffeId,
    },
}

/// A trust domain whose bundle is followed. All of it is configured, none of it is learnt: not even the name of the trust
/// domain, which no document can change (Federation §5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relationship {
    trust_domain: TrustDomain,
    url: EndpointUrl,
    profile: Profile,
}

/// Why there can be no such relationship.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelationshipError {
    /// `https_spiffe` with the ID of an authority, which authenticates nobody.
    #[error("{0} has no path, so no endpoint can be it")]
    EndpointId(SpiffeId),
    /// More than [`MAX_WEB_CA_BYTES`].
    #[error("the list of web authorities has more than {MAX_WEB_CA_BYTES} bytes")]
    TooLong,
    /// No certificate in the list of web authorities.
    #[error("the list of web authorities has no certificate in PEM, or one that cannot be read")]
    NoAuthority,
}

impl Relationship {
    /// A relationship of these parts.
    pub fn new(
        trust_domain: TrustDomain,
        url: EndpointUrl,
        profile: Profile,
    ) -> Result<Self, RelationshipError> {
        match &profile {
            Profile::HttpsSpiffe { endpoint } if endpoint.path().is_empty() => {
                return Err(RelationshipError::EndpointId(endpoint.clone()));
            }
            Profile::HttpsWeb {
                authorities: Some(pem),
            } => {
                if pem.len() > MAX_WEB_CA_BYTES {
                    return Err(RelationshipError::TooLong);
                }
                if certificates(pem)?.is_empty() {
                    return Err(RelationshipError::NoAuthority);
                }
            }
            Profile::HttpsSpiffe { .. } | Profile::HttpsWeb { authorities: None } => {}
        }
        Ok(Self {
            trust_domain,
            url,
            profile,
        })
    }

    /// Whose bundle it is about.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Where it is fetched.
    pub fn url(&self) -> &EndpointUrl {
        &self.url
    }

    /// How the endpoint shows that it is the right one.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The authorities of a private web PKI; none where the system's count.
    pub fn web_authorities(&self) -> Option<Vec<CertificateDer<'static>>> {
        match &self.profile {
            Profile::HttpsWeb {
                authorities: Some(pem),
            } => Some(certificates(pem).unwrap_or_default()),
            Profile::HttpsWeb { authorities: None } | Profile::HttpsSpiffe { .. } => None,
        }
    }

    /// Whether the bundle vouches for the endpoint that it comes from, so that a first one has to come another way
    /// (Federation §5.2.2.2).
    pub fn is_self_serving(&self) -> bool {
        match &self.profile {
            Profile::HttpsSpiffe { endpoint } => *endpoint.trust_domain() == self.trust_domain,
            Profile::HttpsWeb { .. } => false,
        }
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, RelationshipError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| RelationshipError::NoAuthority)
}

impl Profile {
    /// As the standard calls it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::HttpsWeb { .. } => "https_web",
            Self::HttpsSpiffe { .. } => "https_spiffe",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relationship(profile: Profile) -> Result<Relationship, RelationshipError> {
        let domain = TrustDomain::parse("b.example").unwrap();
        let url = EndpointUrl::parse("https://b.example/").unwrap();
        Relationship::new(domain, url, profile)
    }

    #[test]
    fn spiffe_row_66_a_relationship_is_a_trust_domain_a_url_and_a_profile() {
        let spiffe = |id: &str| {
            let endpoint = SpiffeId::parse(id).unwrap();
            relationship(Profile::HttpsSpiffe { endpoint })
        };
        let own = spiffe("spiffe://b.example/bundle").unwrap();
        assert!(own.is_self_serving());
        assert_eq!(own.profile().as_str(), "https_spiffe");
        assert!(!spiffe("spiffe://c.example/bundle").unwrap().is_self_serving());
        assert!(matches!(
            spiffe("spiffe://b.example"),
            Err(RelationshipError::EndpointId(_))
        ));
        let web = |authorities: Option<&str>| {
            let authorities = authorities.map(str::to_owned);
            relationship(Profile::HttpsWeb { authorities })
        };
        assert_eq!(web(None).unwrap().web_authorities(), None);
        for none in ["", "no certificate"] {
            assert_eq!(web(Some(none)), Err(RelationshipError::NoAuthority));
        }
        let long = "x".repeat(MAX_WEB_CA_BYTES + 1);
        assert_eq!(web(Some(&long)), Err(RelationshipError::TooLong));
    }
}
