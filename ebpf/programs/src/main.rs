//! Signet's kernel programs: what happens to a packet at each hook.
//!
//! `verdict` holds the order of judgement and the table from reasons to actions. One file per hook says what is
//! particular to it; `parse` is the only place that reads packets, `maps` the only one that reads maps.

#![no_std]
#![no_main]

mod address;
mod conntrack;
mod discovery;
mod events;
mod fragment;
mod from_container;
mod from_netdev;
mod from_parking;
mod from_tunnel;
mod identity;
mod lease;
mod maps;
mod mark;
mod parking;
mod parse;
mod policy;
mod proof;
mod refusal;
mod to_container;
mod to_netdev;
mod verdict;
mod zero;

/// The kernel gives some helpers to GPL programs only.
#[expect(unsafe_code, reason = "the kernel finds the licence by its section")]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 4] = *b"GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
