//! Whether the other side's address is still whose it is taken for, in the words of the node that owns it.

use signet_abi::{AuthKey, NodeId, SecurityIdentity, stands_by};

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
    let node = pair.node;
    // What is an address of the host's own, its `IPCACHE` says: a fact, and no announcement.
    let is_endpoint = || {
        if pair.remote == SecurityIdentity::HOST {
            identity::known(&remote).is_some_and(|known| known.identity == pair.remote)
        } else {
            identity::endpoint_is(&remote, pair.remote)
        }
    };
    let lease = || {
        #[expect(unsafe_code, reason = "map values are shared with user space")]
        // SAFETY: two aligned words are read at once. Should user space give the entry's room to another address meanwhile, then
        // this one packet is judged by that one's lease.
        unsafe {
            LEASES.get(&remote).copied()
        }
    };
    let end = || {
        #[expect(unsafe_code, reason = "map values are shared with user space")]
        // SAFETY: one aligned word is read; user space writes it in one piece.
        unsafe {
            LEASE_ENDS.get(&node).copied()
        }
    };
    u32::from(!stands_by(pair, NodeId(own), now, is_endpoint, lease, end))
}
