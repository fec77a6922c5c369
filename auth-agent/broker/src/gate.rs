//! What each request must bring, whichever service it is for: before anything else of it is looked at.

use std::time::{Duration, Instant};

use signet_telemetry::Throttle;
use tonic::{Request, Status};

use crate::Brokers;
use crate::caller::Caller;

/// Metadata that every request carries, so that no server can be made to call us on another's behalf (Broker Endpoint §3).
const SECURITY_HEADER: &str = "broker.spiffe.io";

/// Of what is logged of those who are refused: every workload can be one.
static REFUSED: Throttle = Throttle::new(10, Duration::from_secs(10));

/// Lets a request through that has the security header and comes from a broker whose SVID still counts.
pub(crate) fn admit(brokers: &Brokers, request: Request<()>) -> Result<Request<()>, Status> {
    let header = request.metadata().get(SECURITY_HEADER);
    if header.is_none_or(|value| value.as_bytes() != b"true") {
        return Err(Status::invalid_argument(
            "security header missing from request: broker.spiffe.io: true",
        ));
    }
    let caller: &Caller = request
        .extensions()
        .get()
        .ok_or_else(|| Status::unauthenticated("the connection does not say who calls"))?;
    caller.check()?;
    if !brokers.contains(caller.id()) {
        if let Some(untold) = REFUSED.admit(Instant::now()) {
            tracing::warn!(caller.id = %caller.id(), caller.pid = caller.peer().pid, untold, "refused one that is no broker");
        }
        return Err(Status::permission_denied(format!(
            "{} is not among the brokers of this node (signet-agent run --broker …)",
            caller.id()
        )));
    }
    Ok(request)
}
