//! Who calls as an operator, and what they may.

use rustix::process::geteuid;
use signet_log::Caller;
use signet_registry::Role;
use signet_spiffe::SpiffeId;
use signet_tls::BundleSource as _;
use signet_uds::PeerInfo;
use tonic::codegen::http::Extensions;
use tonic::{Request, Status};

use crate::audit::Who;
use crate::ca::Ca;
use crate::hex;
use crate::refusal::{self, internal};
use crate::stream::Peer;

/// Proof that whoever calls may: only [`Operator::of`] makes one, for each call anew.
#[derive(Debug, Clone)]
#[must_use = "a call is authorized by what its caller may do"]
pub(crate) struct Operator {
    caller: Caller,
    /// The connection of one who came over TCP, and what the call needed.
    peer: Option<(Peer, Role)>,
}

impl Operator {
    /// Judges the one at the other end of a connection for a call that needs a role. What is known of them is told also
    /// where they may not.
    pub(crate) async fn of(ca: &Ca, connection: &Extensions, needed: Role) -> (Who, Result<Self, Status>) {
        if let Some(peer) = connection.get::<PeerInfo>() {
            return of_process(ca, peer, needed);
        }
        match connection.get::<Peer>() {
            Some(peer) => of_svid(ca, peer, needed).await,
            None => (
                Who::default(),
                Err(internal("operator", &"a request without its connection")),
            ),
        }
    }

    /// Whether they still may, for a call that goes on: an SVID ends or is revoked, a role is taken away.
    pub(crate) async fn still(&self, ca: &Ca) -> Result<(), Status> {
        match &self.peer {
            Some((peer, needed)) => of_svid(ca, peer, *needed).await.1.map(drop),
            None => Ok(()),
        }
    }

    /// As the issuance log names them.
    pub(crate) fn caller(&self) -> Caller {
        self.caller.clone()
    }
}

fn of_process(ca: &Ca, peer: &PeerInfo, needed: Role) -> (Who, Result<Operator, Status>) {
    let own = geteuid().as_raw();
    let role = ca.operations.access.of_process(peer.uid, own, || peer.groups());
    let who = Who {
        uid: Some(peer.uid),
        pid: Some(peer.pid),
        role: role.map(Role::as_str),
        ..Who::default()
    };
    let caller = Caller::Operator { uid: peer.uid };
    (who, admit(caller, None, role, needed))
}

/// Over TCP. Verified anew for each call: a connection outlives a revocation.
async fn of_svid(ca: &Ca, peer: &Peer, needed: Role) -> (Who, Result<Operator, Status>) {
    let mut who = Who {
        address: Some(peer.address.to_string()),
        ..Who::default()
    };
    // Here and now: another CA may have revoked it, and nobody have told this one.
    if let Err(error) = ca.honour_latest().await {
        return (who, Err(refusal::storage("operator", &error)));
    }
    let svid = match peer.svid(ca.bundles.bundles(), ca.clock.now()) {
        Ok(svid) => svid,
        Err(error) => return (who, Err(Status::unauthenticated(error.to_string()))),
    };
    who.spiffe_id = Some(svid.id().to_string());
    who.serial = Some(hex::encode(svid.serial()));
    if svid.id().trust_domain() != ca.trust_domain() {
        let refused = Status::permission_denied("operators are of the CA's own trust domain");
        return (who, Err(refused));
    }
    if let Err(status) = ca.check_signed_here(&svid).await {
        return (who, Err(status));
    }
    let role = match role(ca, svid.id()).await {
        Ok(role) => role,
        Err(status) => return (who, Err(status)),
    };
    who.role = role.map(Role::as_str);
    let caller = Caller::Identity(svid.id().clone());
    (who, admit(caller, Some(peer), role, needed))
}

/// The higher of what the command line and the registrations say.
pub(crate) async fn role(ca: &Ca, id: &SpiffeId) -> Result<Option<Role>, Status> {
    let registered = ca.known.role(&ca.registry, id).await;
    let registered = registered.map_err(|error| refusal::storage("operator", &error))?;
    Ok(registered.max(ca.operations.access.of_id(id)))
}

fn admit(caller: Caller, peer: Option<&Peer>, role: Option<Role>, needed: Role) -> Result<Operator, Status> {
    match role {
        Some(role) if role >= needed => Ok(Operator {
            caller,
            peer: peer.map(|peer| (peer.clone(), needed)),
        }),
        Some(role) => Err(Status::permission_denied(format!(
            "{caller} has the role {role}, and this call needs {needed}"
        ))),
        None => Err(Status::permission_denied(format!(
            "{caller} may not operate this CA"
        ))),
    }
}

/// Who calls, for the records.
pub(crate) fn asker<T>(request: &Request<T>) -> String {
    match request.extensions().get::<Operator>().map(Operator::caller) {
        Some(Caller::Operator { uid }) => format!("uid:{uid}"),
        Some(
            caller @ (Caller::Identity(_)
            | Caller::Ca
            | Caller::Node(_)
            | Caller::JoinToken(_)
            | Caller::X509Pop(_)
            | Caller::TpmDevid(_)),
        ) => caller.to_string(),
        None => "unknown".to_owned(),
    }
}
