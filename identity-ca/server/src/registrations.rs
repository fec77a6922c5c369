//! What the operator says about registrations.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use signet_proto::ca::v1::{
    RegisterAllRequest, RegisterAllResponse, RegisterOutcome, RegisterRequest, Texts,
    UpdateRegistrationRequest,
};
use signet_proto::view::v1::Registration;
use signet_registry::{
    MAX_DNS_NAMES, MAX_RELATIONSHIPS, MAX_SELECTORS, NewRegistration, RegisterError, RegistrationId,
    RegistrationUpdate, Registry, SvidTerms, TermsUpdate, UpdateError,
};
use signet_spiffe::{KeyType, NodeName, SpiffeId};
use tonic::Status;
use tracing::info;

use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::config::{MAX_JWT_SVID_TTL, MAX_SVID_TTL, MIN_SVID_TTL};
use crate::limits::REGISTRATIONS_AT_ONCE;
use crate::random;
use crate::refusal::{self, internal, invalid};
use crate::wire;

impl Ca {
    pub(crate) async fn register(
        &self,
        registry: &Registry,
        request: &RegisterRequest,
    ) -> Result<Registration, Status> {
        let new = self.new_registration(request)?;
        let made = registry
            .register(&new, self.clock.now())
            .await
            .map_err(|error| refusal::register(&error))?;
        tell_of(&made, "registered workloads");
        Ok(wire::registration(&made))
    }

    pub(crate) async fn update_registration(
        &self,
        registry: &Registry,
        request: &UpdateRegistrationRequest,
    ) -> Result<Registration, Status> {
        let id: RegistrationId = request.id.parse().map_err(invalid)?;
        let update = RegistrationUpdate {
            selectors: list(request.selectors.as_ref(), MAX_SELECTORS)?,
            ttl: request.ttl.map(svid_ttl).transpose()?,
            federates_with: list(request.federates_with.as_ref(), MAX_RELATIONSHIPS)?,
            terms: TermsUpdate {
                hint: request.hint.as_deref().map(optional).transpose()?,
                dns_names: list(request.dns_names.as_ref(), MAX_DNS_NAMES)?,
                key_type: request.key_type.as_deref().map(key_type).transpose()?,
                jwt_ttl: request.jwt_ttl.map(jwt_ttl).transpose()?,
                downstream: request.downstream,
            },
            role: request.role.as_deref().map(optional).transpose()?,
        };
        let changed = registry
            .update_registration(id, update, self.clock.now())
            .await
            .map_err(|error| match &error {
                UpdateError::Unknown(_) => Status::not_found(error.to_string()),
                UpdateError::Register(error) => refusal::register(error),
                UpdateError::Storage(error) => refusal::storage("update registration", error),
            })?;
        tell_of(&changed, "changed a registration");
        if request.downstream == Some(false) {
            // What it signed as a CA is revoked with its permission.
            let honoured = self.honour().await;
            honoured.map_err(|error| refusal::storage("update registration", &error))?;
        }
        Ok(wire::registration(&changed))
    }

    pub(crate) async fn register_all(
        &self,
        registry: &Registry,
        request: &RegisterAllRequest,
    ) -> Result<RegisterAllResponse, Status> {
        let count = request.registrations.len();
        if count > REGISTRATIONS_AT_ONCE {
            return Err(invalid(format!(
                "{count} registrations are too many at once, {REGISTRATIONS_AT_ONCE} is the limit"
            )));
        }
        // What cannot even be read keeps its place among the outcomes.
        let mut outcomes = Vec::with_capacity(count);
        let mut readable = Vec::with_capacity(count);
        for request in &request.registrations {
            match self.new_registration(request) {
                Ok(new) => {
                    readable.push(new);
                    outcomes.push(None);
                }
                Err(status) => outcomes.push(Some(refused(status.message().to_owned()))),
            }
        }
        let rehearse = request.rehearse || readable.len() < count;
        let result = registry
            .register_all(&readable, rehearse, self.clock.now())
            .await
            .map_err(|error| refusal::storage("register all", &error))?;
        let committed = result.committed;
        let mut results = result.outcomes.into_iter();
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_none()) {
            *outcome = results.next().map(|result| match result {
                Ok(made) => {
                    if committed {
                        tell_of(&made, "registered workloads");
                    }
                    RegisterOutcome {
                        made: Some(wire::registration(&made)),
                        ..RegisterOutcome::default()
                    }
                }
                Err(RegisterError::Exists { existing }) => RegisterOutcome {
                    exists: existing.to_string(),
                    ..RegisterOutcome::default()
                },
                Err(error) => refused(error.to_string()),
            });
        }
        Ok(RegisterAllResponse {
            outcomes: outcomes.into_iter().flatten().collect(),
            committed,
        })
    }

    fn new_registration(&self, request: &RegisterRequest) -> Result<NewRegistration, Status> {
        let spiffe_id = SpiffeId::parse(&request.spiffe_id).map_err(invalid)?;
        if spiffe_id.trust_domain() != self.trust_domain() {
            return Err(invalid(format!(
                "{spiffe_id} is not of the trust domain {}",
                self.trust_domain()
            )));
        }
        Ok(NewRegistration {
            id: RegistrationId::from_random(draw()?),
            spiffe_id,
            node: NodeName::parse(&request.node).map_err(invalid)?,
            selectors: parse_all(&request.selectors, MAX_SELECTORS)?,
            ttl: svid_ttl(request.ttl)?,
            federates_with: parse_all(&request.federates_with, MAX_RELATIONSHIPS)?,
            terms: SvidTerms {
                hint: optional(&request.hint)?,
                dns_names: parse_all(&request.dns_names, MAX_DNS_NAMES)?,
                key_type: key_type(&request.key_type)?,
                jwt_ttl: jwt_ttl(request.jwt_ttl)?,
                downstream: request.downstream,
            },
            role: optional(&request.role)?,
        })
    }
}

fn refused(why: String) -> RegisterOutcome {
    RegisterOutcome {
        refused: why,
        ..RegisterOutcome::default()
    }
}

fn tell_of(registration: &signet_registry::Registration, what: &'static str) {
    info!(
        target: AUDIT,
        {
            registration.id = %registration.id, spiffe.id = %registration.spiffe_id,
            registration.node = %registration.node, identity = registration.identity
        },
        "{what}"
    );
}

fn svid_ttl(seconds: u32) -> Result<u32, Status> {
    let (least, most) = (MIN_SVID_TTL.as_secs(), MAX_SVID_TTL.as_secs());
    life("SVIDs", seconds, least..=most)
}

fn jwt_ttl(seconds: u32) -> Result<u32, Status> {
    let (least, most) = (MIN_SVID_TTL.as_secs(), MAX_JWT_SVID_TTL.as_secs());
    life("JWT-SVIDs", seconds, least..=most)
}

/// Zero is the default's place.
fn life(what: &str, seconds: u32, range: RangeInclusive<u64>) -> Result<u32, Status> {
    if seconds == 0 || range.contains(&seconds.into()) {
        return Ok(seconds);
    }
    let (least, most) = range.into_inner();
    Err(invalid(format!(
        "{what} live {least} to {most} seconds, not {seconds}"
    )))
}

fn key_type(text: &str) -> Result<KeyType, Status> {
    Ok(optional(text)?.unwrap_or_default())
}

/// What an empty text means is that there is none.
fn optional<T: FromStr<Err: Display>>(text: &str) -> Result<Option<T>, Status> {
    (!text.is_empty())
        .then(|| text.parse().map_err(invalid))
        .transpose()
}

fn list<T: FromStr<Err: Display>>(texts: Option<&Texts>, most: usize) -> Result<Option<Vec<T>>, Status> {
    texts.map(|texts| parse_all(&texts.values, most)).transpose()
}

/// From the system's random source.
pub(crate) fn draw<const N: usize>() -> Result<[u8; N], Status> {
    random::bytes().map_err(|error| internal("random", &error))
}

/// Parses a list, of which more than `most` is refused before it is read. The message names the element.
pub(crate) fn parse_all<T: FromStr<Err: Display>>(texts: &[String], most: usize) -> Result<Vec<T>, Status> {
    if texts.len() > most {
        return Err(invalid(format!(
            "{} are too many, {most} is the limit",
            texts.len()
        )));
    }
    let parse = |text: &String| {
        text.parse().map_err(|error| {
            let shown: String = text.chars().take(128).collect();
            invalid(format!("{shown:?}: {error}"))
        })
    };
    texts.iter().map(parse).collect()
}
