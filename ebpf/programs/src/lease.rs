//! Whether the other side's address is still whose it is taken for, in the words of the node that owns it.

use signet_abi::AuthKey;

use crate::address::Words;
use crate::identity;
use crate::maps::{LEASE_ENDS, LEASES};

/// Whether the owner of `remote` says now that it carries the pair's remote identity: another node by its lease, this node
/// by its own table of endpoints.
#[inline(always)]
pub fn holds(remote: &Words, pair: &AuthKey, own: u32, now: u64) -> bool {
    signet_lease(remote, pair, own, now) == 0
}

/// A function that the verifier looks at once, as in `parse`.
#[expect(unsafe_code, reason = "a name that stays makes the function global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn signet_lease(remote: *const Words, pair: *const AuthKey, own: u32, now: u64) -> u32 {
    #[expect(unsafe_code, reason = "the verifier asks for pointers that may be null")]
    // SAFETY: `holds` is the only caller and passes references.
    let (Some(remote), Some(pair)) = (unsafe { (remote.as_ref(), pair.as_ref()) }) else {
        return 1;
    };
    // On the stack: older kernels take keys from nowhere else.
    let remote = *remote;
    if pair.node.0 == own {
        let is_its = identity::endpoint_is(&remote, pair.remote);
        return u32::from(!is_its);
    }
    #[expect(unsafe_code, reason = "map values are shared with user space")]
    // SAFETY: two aligned words are read at once. Should user space give the entry's room to another address meanwhile, then
    // this one packet is judged by that one's lease.
    let says_so = unsafe {
        LEASES
            .get(&remote)
            .is_some_and(|lease| lease.identity == pair.remote && lease.node == pair.node)
    };
    if !says_so {
        return 1;
    }
    let node = pair.node;
    #[expect(unsafe_code, reason = "map values are shared with user space")]
    // SAFETY: one aligned word is read; user space writes it in one piece.
    let counts = unsafe { LEASE_ENDS.get(&node).is_some_and(|end| now < end.not_after) };
    u32::from(!counts)
}
