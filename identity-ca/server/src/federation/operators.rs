//! What the operator says about federation.

use signet_federation::{Document, EndpointUrl, Profile, Relationship, interval};
use signet_proto::ca::v1::{FederateRequest, FederationEntry};
use signet_registry::{FederateError, Federated, Registry};
use signet_spiffe::{SpiffeId, TrustDomain, UnixTime};
use tonic::Status;
use tracing::info;

use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::clock::unix_seconds;
use crate::refusal::{self, invalid};

use super::refresh::RefreshError;
use super::trust::{TrustError, trust};

impl Ca {
    pub(crate) async fn federate(
        &self,
        registry: &Registry,
        request: &FederateRequest,
    ) -> Result<FederationEntry, Status> {
        let trust_domain = TrustDomain::parse(&request.trust_domain).map_err(invalid)?;
        if trust_domain == *self.trust_domain() {
            return Err(invalid(format!("{trust_domain} is this trust domain itself")));
        }
        let url = EndpointUrl::parse(&request.url).map_err(invalid)?;
        let relationship = Relationship::new(trust_domain, url, profile(request)?).map_err(invalid)?;
        let bootstrap = match request.bundle.as_slice() {
            [] => None,
            bytes => Some(Document::read(relationship.trust_domain(), bytes).map_err(invalid)?),
        };
        let has_authorities = |document: &Document| document.bundle().x509.is_some();
        if relationship.is_self_serving() {
            // Nothing else could vouch for the endpoint (Federation §5.2.2.2).
            if !bootstrap.as_ref().is_some_and(has_authorities) {
                return Err(invalid(format!(
                    "the endpoint is of {} itself, so a first bundle with X.509 authorities has to be given (--bundle)",
                    relationship.trust_domain()
                )));
            }
        } else {
            trust(self, &relationship)
                .await
                .map_err(|error| untrusted(&error))?;
        }
        let made = registry
            .federate(&relationship, bootstrap.as_ref(), self.clock.now())
            .await
            .map_err(|error| refused(&error))?;
        info!(
            target: AUDIT,
            {
                foreign.trust.domain = %relationship.trust_domain(), url = %relationship.url(),
                profile = relationship.profile().as_str()
            },
            "federates with another trust domain"
        );
        Ok(entry(&made))
    }

    pub(crate) async fn defederate(
        &self,
        registry: &Registry,
        trust_domain: &str,
    ) -> Result<FederationEntry, Status> {
        let trust_domain = TrustDomain::parse(trust_domain).map_err(invalid)?;
        let gone = registry
            .defederate(&trust_domain)
            .await
            .map_err(|error| refusal::storage("defederate", &error))?
            .ok_or_else(|| unknown(&trust_domain))?;
        info!(
            target: AUDIT,
            {
                foreign.trust.domain = %trust_domain
            },
            "federates with another trust domain no more"
        );
        Ok(entry(&gone))
    }

    /// One in full, or all without their documents, which are too long for one message.
    pub(crate) async fn list_federation(&self, trust_domain: &str) -> Result<Vec<FederationEntry>, Status> {
        if !trust_domain.is_empty() {
            let trust_domain = TrustDomain::parse(trust_domain).map_err(invalid)?;
            return Ok(vec![entry(&self.stored(&trust_domain).await?)]);
        }
        let all = self.registry.all_federated().await;
        let all = all.map_err(|error| refusal::storage("list", &error))?;
        let brief = |federated| FederationEntry {
            web_ca: String::new(),
            document: String::new(),
            ..entry(federated)
        };
        Ok(all.iter().map(brief).collect())
    }

    pub(crate) async fn refresh_federation(&self, trust_domain: &str) -> Result<FederationEntry, Status> {
        let trust_domain = TrustDomain::parse(trust_domain).map_err(invalid)?;
        let stored = self.stored(&trust_domain).await?;
        self.refresh(&stored.relationship)
            .await
            .map_err(|error| failed(&error))?;
        Ok(entry(&self.stored(&trust_domain).await?))
    }

    async fn stored(&self, trust_domain: &TrustDomain) -> Result<Federated, Status> {
        let stored = self.registry.federated(trust_domain).await;
        stored
            .map_err(|error| refusal::storage("federation", &error))?
            .ok_or_else(|| unknown(trust_domain))
    }
}

fn profile(request: &FederateRequest) -> Result<Profile, Status> {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    match (
        request.profile.as_str(),
        text(&request.endpoint_spiffe_id),
        text(&request.web_ca),
    ) {
        ("https_web", None, authorities) => Ok(Profile::HttpsWeb { authorities }),
        ("https_web", Some(_), _) => Err(invalid(
            "with https_web the endpoint is known by its host name: leave its SPIFFE ID out, or use https_spiffe",
        )),
        ("https_spiffe", Some(id), None) => Ok(Profile::HttpsSpiffe {
            endpoint: SpiffeId::parse(&id).map_err(invalid)?,
        }),
        ("https_spiffe", None, _) => Err(invalid("https_spiffe needs the endpoint's SPIFFE ID")),
        ("https_spiffe", Some(_), Some(_)) => Err(invalid(
            "with https_spiffe the endpoint is known by its SVID: leave the web CA out, or use https_web",
        )),
        _ => Err(invalid("the profile is one of https_web and https_spiffe")),
    }
}

fn unknown(trust_domain: &TrustDomain) -> Status {
    Status::not_found(format!(
        "there is no relationship with the trust domain {trust_domain}"
    ))
}

fn refused(error: &FederateError) -> Status {
    match error {
        FederateError::Exists(_) => Status::already_exists(error.to_string()),
        FederateError::TooMany => Status::resource_exhausted(error.to_string()),
        FederateError::Storage(error) => refusal::storage("federate", error),
    }
}

fn untrusted(error: &TrustError) -> Status {
    match error {
        TrustError::NoBundle(_) | TrustError::NoSystem => Status::failed_precondition(error.to_string()),
        TrustError::Authority(_) => invalid(error),
        TrustError::Config(_) | TrustError::Tls(_) => refusal::internal("federate", error),
        TrustError::Storage(error) => refusal::storage("federate", error),
    }
}

/// Of the others, or of what is set up here: the operator has to look.
fn failed(error: &RefreshError) -> Status {
    match error {
        RefreshError::Trust(error) => untrusted(error),
        RefreshError::Fetch(_) | RefreshError::Document(_) | RefreshError::Store(_) => {
            Status::failed_precondition(error.to_string())
        }
    }
}

fn entry(federated: &Federated) -> FederationEntry {
    let relationship = &federated.relationship;
    let (endpoint, web_ca) = match relationship.profile() {
        Profile::HttpsSpiffe { endpoint } => (endpoint.to_string(), String::new()),
        Profile::HttpsWeb { authorities } => (String::new(), authorities.clone().unwrap_or_default()),
    };
    let bundle = federated.document.as_ref().map(Document::bundle);
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let at = |at: Option<UnixTime>| at.map_or(0, unix_seconds);
    let authorities = bundle.and_then(|bundle| bundle.x509.as_ref());
    FederationEntry {
        trust_domain: relationship.trust_domain().to_string(),
        url: relationship.url().to_string(),
        profile: relationship.profile().as_str().to_owned(),
        endpoint_spiffe_id: endpoint,
        has_web_ca: !web_ca.is_empty(),
        has_document: federated.document.is_some(),
        web_ca,
        document: federated
            .document
            .as_ref()
            .map_or_else(String::new, |document| document.text().to_owned()),
        sequence: bundle.and_then(|bundle| bundle.sequence),
        x509_authorities: count(authorities.map_or(0, |bundle| bundle.authorities().len())),
        jwt_keys: count(bundle.map_or(0, |bundle| bundle.jwt.keys().len())),
        interval: interval(bundle.and_then(|bundle| bundle.refresh_hint)).as_secs(),
        fetched_at: at(federated.fetched_at),
        tried_at: at(federated.tried_at),
        failure: federated.failure.clone(),
    }
}
