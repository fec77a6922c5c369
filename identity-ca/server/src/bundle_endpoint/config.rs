//! What the endpoint is started with.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use signet_federation::{EndpointUrl, UrlError};

/// A bundle endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleEndpoint {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What it shows.
    pub identity: EndpointIdentity,
}

/// What an endpoint shows, by its profile (Federation §5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointIdentity {
    /// `https_spiffe`: the CA's own SVID, `spiffe://<trust domain>/signet/ca`.
    Spiffe,
    /// `https_web`: a certificate for its host name. The files are read again when they change.
    Web {
        /// Leaf first, PEM.
        certificate: PathBuf,
        /// Its key, PEM.
        key: PathBuf,
    },
}

/// What stands in the claim `iss` of JWT-SVIDs, for those who find keys by OIDC discovery: an https URL, exactly as
/// they have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtIssuer {
    text: String,
    /// Of the URL, without the `/` at its end.
    path: String,
}

/// Why a text is no issuer (OIDC Discovery 1.0 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// No https URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// With `?`.
    #[error("an issuer has no query (?…)")]
    Query,
    /// Validators compare texts, and put `/.well-known` behind it.
    #[error("write the issuer without the / at its end")]
    Slash,
}

impl JwtIssuer {
    /// As it stands in tokens.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Path of something that is found below the issuer.
    pub(crate) fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// URL of something that is found below the issuer.
    pub(crate) fn url_of(&self, name: &str) -> String {
        format!("{}/{name}", self.text)
    }
}

impl FromStr for JwtIssuer {
    type Err = IssuerError;

    fn from_str(text: &str) -> Result<Self, IssuerError> {
        let url = EndpointUrl::parse(text)?;
        if url.has_query() {
            return Err(IssuerError::Query);
        }
        if text.ends_with('/') {
            return Err(IssuerError::Slash);
        }
        Ok(Self {
            text: text.to_owned(),
            path: url.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for JwtIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_kept_to_the_letter_and_has_its_documents_below_it() {
        let issuer: JwtIssuer = "https://Oidc.example".parse().unwrap();
        assert_eq!(issuer.as_str(), "https://Oidc.example");
        assert_eq!(issuer.path_of("keys"), "/keys");
        let deeper: JwtIssuer = "https://b.example:8443/td/one".parse().unwrap();
        assert_eq!(deeper.path_of("keys"), "/td/one/keys");
        assert_eq!(deeper.url_of("keys"), "https://b.example:8443/td/one/keys");
        for (bad, error) in [
            ("http://b.example", IssuerError::Url(UrlError::NotHttps)),
            ("https://me@b.example", IssuerError::Url(UrlError::User)),
            ("https://b.example/#x", IssuerError::Url(UrlError::Fragment)),
            ("https://b.example?x", IssuerError::Query),
            ("https://b.example/", IssuerError::Slash),
        ] {
            assert_eq!(bad.parse::<JwtIssuer>(), Err(error), "{bad}");
        }
    }
}
