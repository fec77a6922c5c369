//! What the endpoint serves. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;

use super::config::JwtIssuer;

/// Documents by path.
#[derive(Debug)]
pub(super) struct Pages(BTreeMap<String, Bytes>);

/// OIDC Discovery 1.0 §3: what is required there, and nothing that does not exist here.
#[derive(Debug, Serialize)]
struct Discovery<'a> {
    issuer: &'a str,
    jwks_uri: String,
    /// Required, although nobody can sign in here.
    authorization_endpoint: String,
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'a str; 1],
    claims_supported: [&'static str; 6],
}

/// What OIDC discovery tells.
#[derive(Debug)]
pub(super) struct Oidc<'a> {
    pub(super) issuer: &'a JwtIssuer,
    /// What tokens are signed with.
    pub(super) algorithm: &'a str,
    /// JWT keys for those who do not know SPIFFE.
    pub(super) keys: String,
}

impl Pages {
    /// The bundle at `/`, and discovery below the issuer.
    pub(super) fn new(bundle: &str, oidc: Option<Oidc<'_>>) -> Result<Self, serde_json::Error> {
        let mut pages = BTreeMap::new();
        if let Some(Oidc {
            issuer,
            algorithm,
            keys,
        }) = oidc
        {
            let discovery = Discovery {
                issuer: issuer.as_str(),
                jwks_uri: issuer.url_of("keys"),
                authorization_endpoint: String::new(),
                response_types_supported: ["id_token"],
                subject_types_supported: ["public"],
                id_token_signing_alg_values_supported: [algorithm],
                claims_supported: ["iss", "sub", "aud", "exp", "iat", "jti"],
            };
            let path = issuer.path_of(".well-known/openid-configuration");
            pages.insert(path, Bytes::from(serde_json::to_vec(&discovery)?));
            pages.insert(issuer.path_of("keys"), Bytes::from(keys));
        }
        pages.insert("/".to_owned(), Bytes::copy_from_slice(bundle.as_bytes()));
        Ok(Self(pages))
    }

    /// Whether a method only reads.
    pub(super) fn reads(method: &Method) -> bool {
        matches!(*method, Method::GET | Method::HEAD)
    }

    pub(super) fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let mut response = Response::default();
        if !Self::reads(method) {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
        match self.0.get(path) {
            Some(page) => {
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                *response.body_mut() = Full::new(page.clone());
            }
            None => *response.status_mut() = StatusCode::NOT_FOUND,
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spiffe_row_67_the_bundle_is_served_as_json_to_whoever_asks_and_nothing_else_is() {
        let pages = Pages::new("{}", None).unwrap();
        let found = pages.answer(&Method::GET, "/");
        assert_eq!(found.status(), StatusCode::OK);
        assert_eq!(found.headers()[CONTENT_TYPE], "application/json");
        for path in ["/keys", "/.well-known/openid-configuration", "//", "/../", ""] {
            assert_eq!(
                pages.answer(&Method::GET, path).status(),
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
        let posted = pages.answer(&Method::POST, "/");
        assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
