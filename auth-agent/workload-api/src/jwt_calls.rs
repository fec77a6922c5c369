//! `FetchJWTSVID` and `ValidateJWTSVID` for a caller whose entitlement is known (Workload API §6).

use futures::StreamExt as _;
use futures::stream::{self, TryStreamExt as _};
use signet_proto::workload::{
    Jwtsvid, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, ValidateJwtsvidResponse,
};
use signet_spiffe::{Audience, SpiffeId, UnixTime, verify_jwt_svid};
use tonic::Status;

use crate::SvidSource;
use crate::claims::to_struct;
use crate::entitlement::{Grant, Hints};
use crate::subscription::not_its_own;

/// Tokens of one call that are asked for at a time.
const AT_ONCE: usize = 4;

/// What a caller wants.
pub(crate) struct Wanted {
    audience: Audience,
    /// `None`: a token for each of its identities.
    id: Option<SpiffeId>,
}

pub(crate) fn wanted(request: &JwtsvidRequest) -> Result<Wanted, Status> {
    let audience =
        Audience::new(&request.audience).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let id = wanted_id(&request.spiffe_id)?;
    Ok(Wanted { audience, id })
}

/// An identity that is asked for; none: all of them.
pub(crate) fn wanted_id(text: &str) -> Result<Option<SpiffeId>, Status> {
    let parse = |text| SpiffeId::parse(text).map_err(|error| Status::invalid_argument(error.to_string()));
    (!text.is_empty()).then(|| parse(text)).transpose()
}

/// The tokens in the order of the caller's identities, all or none.
pub(crate) async fn fetch(
    source: &(impl SvidSource + ?Sized),
    grant: &Grant,
    wanted: &Wanted,
) -> Result<JwtsvidResponse, Status> {
    let ids: Vec<SpiffeId> = match &wanted.id {
        None => grant.ids.clone(),
        Some(id) if grant.ids.contains(id) => vec![id.clone()],
        Some(id) => return Err(not_its_own(id)),
    };
    let tokens = ids
        .into_iter()
        .map(|id| token(source, id, &grant.hints, wanted.audience.clone()));
    let svids = stream::iter(tokens).buffered(AT_ONCE).try_collect().await?;
    Ok(JwtsvidResponse { svids })
}

async fn token(
    source: &(impl SvidSource + ?Sized),
    id: SpiffeId,
    hints: &Hints,
    audience: Audience,
) -> Result<Jwtsvid, Status> {
    let svid = source.jwt_svid(&id, &audience).await;
    let svid = svid.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(Jwtsvid {
        spiffe_id: svid.id().to_string(),
        svid: svid.secret_token().to_owned(),
        hint: hints.get(svid.id()).map(ToString::to_string).unwrap_or_default(),
    })
}

/// What must be there before it is asked who calls.
pub(crate) fn check(request: &ValidateJwtsvidRequest) -> Result<(), Status> {
    if request.audience.is_empty() {
        return Err(Status::invalid_argument("audience must be specified"));
    }
    if request.svid.is_empty() {
        return Err(Status::invalid_argument("svid must be specified"));
    }
    Ok(())
}

pub(crate) fn validate(
    request: &ValidateJwtsvidRequest,
    grant: &Grant,
) -> Result<ValidateJwtsvidResponse, Status> {
    let verified = verify_jwt_svid(
        &request.svid,
        &grant.jwt_bundles,
        &request.audience,
        UnixTime::now(),
    )
    .map_err(|error| Status::invalid_argument(error.to_string()))?;
    Ok(ValidateJwtsvidResponse {
        spiffe_id: verified.id().to_string(),
        claims: Some(to_struct(verified.claims())),
    })
}
