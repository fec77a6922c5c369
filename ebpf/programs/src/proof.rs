//! Whether the two sides have proven who they are.

use signet_abi::{AuthKey, Authentication, Reason, SignalCause};

use crate::events;
use crate::maps::AUTH;
use crate::parse::Family;
use crate::verdict::Scene;

/// Says that what a rule asks for is there. Only [`demand`] makes one.
#[must_use]
pub struct Proven(());

/// Checks what `authentication` asks of the pair, now. Without a proof one is signalled for.
#[inline(always)]
pub fn demand(
    authentication: Authentication,
    pair: &AuthKey,
    cause: SignalCause,
    family: Family,
    scene: &Scene,
) -> Result<Proven, Reason> {
    match authentication {
        Authentication::Disabled => Ok(Proven(())),
        Authentication::AlwaysFail => Err(Reason::AuthenticationAlwaysFails),
        Authentication::Required if is_live(pair, scene.now) => Ok(Proven(())),
        Authentication::Required => {
            events::signal(pair, cause, family, scene.now);
            Err(if scene.parking_ifindex == 0 {
                Reason::AuthenticationRequired
            } else {
                Reason::Parked
            })
        }
    }
}

#[inline(always)]
fn is_live(pair: &AuthKey, now: u64) -> bool {
    #[expect(unsafe_code, reason = "map values are shared with user space")]
    // SAFETY: one aligned word is read; user space writes it in one piece.
    let proof = unsafe { AUTH.get(pair) };
    proof.is_some_and(|proof| now < proof.not_after)
}
