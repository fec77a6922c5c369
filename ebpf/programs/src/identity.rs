//! Whose packet it is: the local endpoint and the other side.

use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::programs::TcContext;
use signet_abi::{Endpoint, IpcacheValue, NodeId, Reason, SecurityIdentity};

use crate::address::Words;
use crate::maps::{ENDPOINTS, IPCACHE};
use crate::{mark, parse};

const ADDRESS_BITS: u32 = 128;

/// The local endpoint of an address.
#[inline(always)]
pub fn endpoint(address: &Words) -> Option<Endpoint> {
    #[expect(unsafe_code, reason = "map values are shared with user space")]
    // SAFETY: the value is copied at once; should user space replace it meanwhile, the copy is of one of two valid
    // endpoints or a mix of their integers, and the next packet sees the new one.
    unsafe {
        ENDPOINTS.get(address).copied()
    }
}

/// Whether an endpoint of this node has the address and the identity.
#[inline(always)]
pub fn endpoint_is(address: &Words, identity: SecurityIdentity) -> bool {
    #[expect(unsafe_code, reason = "map values are shared with user space")]
    // SAFETY: one aligned word is read; user space writes entries as a whole.
    let found = unsafe { ENDPOINTS.get(address) };
    found.is_some_and(|endpoint| endpoint.identity == identity)
}

/// Whether the packet left this very endpoint. The mark alone says that it left some workload of this node: what was inside
/// a tunnel that ends on this host still has it, but was received by the tunnel's device since.
#[inline(always)]
pub fn has_sent(endpoint: &Endpoint, ctx: &TcContext) -> bool {
    let by = parse::received_by(ctx);
    mark::is_local(ctx) && by != 0 && (by == endpoint.ifindex || by == endpoint.through)
}

/// Whether the packet is what came out of a tunnel that ends on this host, and claims to come from a workload of another
/// node: it left a workload of this one, which has addresses of its own. What comes from the wire has no such mark.
#[inline(always)]
pub fn poses_as_remote(source: &Words, own: NodeId, ctx: &TcContext) -> bool {
    mark::is_local(ctx) && known(source).is_some_and(|known| known.node != NodeId::NONE && known.node != own)
}

/// The endpoint that owns `address` on this interface; the reason says what it means if there is none.
#[inline(always)]
pub fn local(address: &Words, ifindex: u32, otherwise: Reason) -> Result<Endpoint, Reason> {
    match endpoint(address) {
        Some(endpoint) if endpoint.ifindex == ifindex => {
            if endpoint.identity == SecurityIdentity::ANY {
                return Err(Reason::InvalidIdentity);
            }
            Ok(endpoint)
        }
        Some(_) | None if is_contested(address) => Err(Reason::SeveralIdentities),
        Some(_) | None => Err(otherwise),
    }
}

/// Whether several workloads claim the address, so that it is nobody's endpoint and has no identity of its own.
#[inline(always)]
pub fn is_contested(address: &Words) -> bool {
    signet_is_contested(address) != 0
}

/// A function that the verifier looks at once, as in `parse`. It has a stack of its own, of which the hooks have little left.
#[expect(unsafe_code, reason = "a name that stays makes the function global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn signet_is_contested(address: *const Words) -> u32 {
    #[expect(unsafe_code, reason = "the verifier asks for a pointer that may be null")]
    // SAFETY: `is_contested` is the only caller and passes a reference.
    let address = unsafe { address.as_ref() };
    let found = address.and_then(known);
    u32::from(found.is_some_and(|found| found.identity == SecurityIdentity::CONTESTED))
}

/// What an address stands for, if anything says so.
#[inline(always)]
pub fn known(address: &Words) -> Option<IpcacheValue> {
    let key = Key::new(ADDRESS_BITS, *address);
    IPCACHE.get(&key).copied()
}

/// The other side: from the ipcache, else a local endpoint, else the world. Rules speak of an address that several claim as of one
/// without a registration.
#[inline(always)]
pub fn remote(address: &Words, node: NodeId) -> Result<IpcacheValue, Reason> {
    let value = match known(address) {
        Some(value) => value,
        None => match endpoint(address) {
            Some(local) => IpcacheValue {
                identity: local.identity,
                node,
            },
            None => WORLD,
        },
    };
    match value.identity {
        SecurityIdentity::ANY => Err(Reason::InvalidIdentity),
        SecurityIdentity::CONTESTED => Ok(IpcacheValue {
            identity: SecurityIdentity::UNMANAGED,
            ..value
        }),
        _ => Ok(value),
    }
}

const WORLD: IpcacheValue = IpcacheValue {
    identity: SecurityIdentity::WORLD,
    node: NodeId::NONE,
};
