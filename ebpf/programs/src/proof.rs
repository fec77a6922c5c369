//! Whether the two sides have proven who they are, and the other side's address is still its own.

use signet_abi::{AuthKey, Authentication, Direction, Reason, SecurityIdentity, SignalCause};

use crate::address::Words;
use crate::maps::AUTH;
use crate::parse::Family;
use crate::verdict::Scene;
use crate::{events, lease};

/// Says that what a rule asks for is there. Only [`demand`] makes one.
#[must_use]
pub struct Proven(());

/// Who is to be proven, on which packet.
pub struct Claim<'a> {
    /// The two identities, and the other side's node.
    pub pair: &'a AuthKey,
    /// The other side's address.
    pub remote: &'a Words,
    /// Which hook sees the packet.
    pub hook: Direction,
    /// Its family.
    pub family: Family,
    /// It has come to this host from elsewhere.
    pub forwarded: bool,
}

/// Checks what `authentication` asks of the pair, now. What lacks is signalled for: a proof can be waited for; an address
/// whose owner does not stand by it any more is refused.
#[inline(always)]
pub fn demand(authentication: Authentication, claim: &Claim<'_>, scene: &Scene) -> Result<Proven, Reason> {
    match authentication {
        Authentication::Disabled => Ok(Proven(())),
        Authentication::AlwaysFail => Err(Reason::AuthenticationAlwaysFails),
        // The host speaks for its own processes, not for whom it lends its address to (masquerading).
        Authentication::Required | Authentication::RequiredOrRejected
            if claim.forwarded && claim.pair.remote == SecurityIdentity::HOST =>
        {
            Err(Reason::InvalidSourceIp)
        }
        // Nobody is ever going to prove it: nothing is asked for, and nothing waits. Where its sender is to be told, it goes the way
        // of the others, at whose end that is done.
        Authentication::Required if is_unregistered(claim.pair) => Err(Reason::NotRegistered),
        Authentication::Required | Authentication::RequiredOrRejected if !is_live(claim.pair, scene.now) => {
            let cause = match claim.hook {
                Direction::Ingress => SignalCause::Ingress,
                Direction::Egress => SignalCause::Egress,
            };
            events::signal(claim, cause, scene.now);
            Err(if scene.parking_ifindex == 0 {
                Reason::AuthenticationRequired
            } else {
                Reason::Parked
            })
        }
        Authentication::Required | Authentication::RequiredOrRejected
            if lease::holds(claim.remote, claim.pair, scene.node.0, scene.now) =>
        {
            Ok(Proven(()))
        }
        Authentication::Required | Authentication::RequiredOrRejected => {
            events::signal(claim, SignalCause::Lease, scene.now);
            Err(Reason::LeaseExpired)
        }
    }
}

#[inline(always)]
fn is_unregistered(pair: &AuthKey) -> bool {
    [pair.local, pair.remote].contains(&SecurityIdentity::UNMANAGED)
}

#[inline(always)]
fn is_live(pair: &AuthKey, now: u64) -> bool {
    let Some(proof) = AUTH.get_ptr_mut(pair) else {
        return false;
    };
    #[expect(unsafe_code, reason = "map values are raw pointers")]
    // SAFETY: the kernel keeps the memory valid while the program runs. Each access is one aligned word, and user space writes an entry
    // in one piece. The word that is written here decides nothing: should the room be another pair's by now, that one seems used.
    unsafe {
        if !(*proof).is_live(now) {
            return false;
        }
        if (*proof).is_use_stale(now) {
            (*proof).used = now;
        }
    }
    true
}
