//! docs/reference/reasons.md: the table of reasons, from the enum that the kernel programs use.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use signet_abi::Reason;

use crate::page::keep;

/// Options of `xtask reasons`.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare only; fail when the committed page differs.
    #[arg(long)]
    check: bool,
}

const INTRODUCTION: &str = "\
# Reasons

<!-- Written by `cargo run -p xtask -- reasons` from ebpf/abi/src/reason.rs and xtask/src/reasons.rs. -->

Every packet that Signet's kernel programs judge gets one reason. `signet flows` shows it for the first packet of a
connection, for its end and for every drop, `signet status` counts it, and `signet explain` says which one a connection would meet.
The numbers 132 to 203 are the ones that Cilium and Hubble use for the same things.

| number | reason | what happened | what to do |
| ---: | --- | --- | --- |
";

/// Writes the page, or compares it.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    keep("reasons.md", "reasons", &page(), options.check)
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for reason in Reason::ALL {
        let (happened, next) = explain(reason);
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| {} | {} | {happened} | {next} |",
            reason as u8,
            reason.name()
        );
    }
    page
}

/// What happened, and what the reader can do about it.
const fn explain(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::Forwarded => (
            "It passed: to or from another workload of its node, or over the wire in plaintext.",
            "Nothing. `signet encryption set wireguard` encrypts what goes over the wire.",
        ),
        Reason::Encrypted => (
            "It passed, and went into the tunnel to the other workload's node.",
            "Nothing.",
        ),
        Reason::Decrypted => ("It came out of the tunnel, and passed.", "Nothing."),
        Reason::InvalidSourceIp => (
            "A workload sent from an address that is not its own.",
            "Give the address to the workload (`spec.addresses`), or stop the sender: this is how spoofing looks.",
        ),
        Reason::PolicyDenied => (
            "A policy selects the workload, and no rule of it allows this.",
            "`signet explain SRC DST PORT` names the policies; add a rule to one.",
        ),
        Reason::InvalidPacket => (
            "Malformed, or shorter than its headers say.",
            "Look at the sender; no well-behaved stack sends this.",
        ),
        Reason::UnknownL3 => ("Neither IPv4, IPv6 nor ARP.", "Signet carries IP only."),
        Reason::UnknownL4 => (
            "A transport protocol or control message that no workload may send or be sent: ICMP redirects, routers' messages, neighbour discovery beyond its link, multicast groups.",
            "Nothing, if the sender means no harm. Routes, neighbours and groups of a workload are its node's business. Every IPv6 stack reports its groups (MLD) when an interface comes up: that is counted, and no flow.",
        ),
        Reason::CtCreateFailed => (
            "The connection could not be remembered.",
            "The connection table could not take the entry; `signet status` shows how full each map is.",
        ),
        Reason::InvalidExtensionHeader => (
            "An IPv6 extension header that cannot be judged, or too many of them.",
            "Send without it. Routing headers and the like are refused on purpose.",
        ),
        Reason::FragmentNotSupported => (
            "A fragment of an ICMP error or of neighbour discovery: nobody sends these in pieces.",
            "Look at the sender; no well-behaved stack sends this.",
        ),
        Reason::NoConfig => (
            "The kernel programs have no settings, or those of another version.",
            "signet-meshd is not ready yet, or was replaced by another version: `signet status`.",
        ),
        Reason::InvalidIdentity => (
            "The address has no identity.",
            "No workload and no node owns this address: check `spec.addresses`, then `signet identity list`.",
        ),
        Reason::FragmentNotFound => (
            "A fragment whose first one has not come before it, or was refused: its ports cannot be known.",
            "If the first was refused, its own event has the reason. If fragments overtake one another on the way, the sender tries again; let path MTU discovery work.",
        ),
        Reason::PolicyDeny => (
            "A rule denies it; deny beats allow.",
            "`signet explain SRC DST PORT` names the rule.",
        ),
        Reason::AuthenticationRequired => (
            "The rule asks for a proof, and there is none (yet).",
            "The packet has waited for a proof that did not come or cannot come: `signet auth list` has the cause. Where `signet status` says that packets cannot wait, the sender retries on first contact.",
        ),
        Reason::Unencrypted => (
            "Plaintext where only ciphertext is accepted.",
            "`signet encryption status` shows which node still sends plaintext.",
        ),
        Reason::EndpointNotReady => (
            "The workload is not set up yet.",
            "Wait; `signet status` if it stays.",
        ),
        Reason::AuthenticationAlwaysFails => (
            "The rule says `authentication: always-fail`.",
            "Change the rule if that is not what was meant.",
        ),
        Reason::LeaseExpired => (
            "There is a proof, but the node that owns the other side's address does not say, or no longer, that it carries this identity.",
            "`signet explain SRC DST PORT` and `signet auth leases` say why: that node is cut off or its agent is down, the address changed hands, or several nodes claim it.",
        ),
        Reason::Parked => (
            "It waits for its proof, at most 3 s, and is judged again then: another event tells how.",
            "Nothing.",
        ),
        Reason::Rejected => (
            "Not a workload's packet, but the answer to one that was dropped (189, 221, 225 or 228): the rule says `onFailure: reject`, so its sender is told.",
            "See the event of the dropped packet; `signet auth list` has the cause.",
        ),
        Reason::NotRegistered => (
            "The rule asks for a proof, and one of the two is a workload without a registration at the CA, or of a node that is banned: nobody can prove it.",
            "`signet explain SRC DST PORT` names the workload and writes the command that registers it (`signet ca register …`). Or let the rule not ask for a proof of `entity: unmanaged`.",
        ),
        Reason::SharedNodeAddress => (
            "The rule asks for a proof, and the connection was opened from another node's own address. That node masquerades others behind it, and they cannot be told from its processes.",
            "Let a workload with a registration ask instead, or let the rule not ask for a proof of `entity: remote-node`.",
        ),
        Reason::SeveralIdentities => (
            "Several workloads claim the address, so nobody can tell which of their SPIFFE IDs it is. On the node of one of them nothing leaves from it or gets to it; elsewhere it is dropped where the rule asks for a proof, and counts as `unmanaged` where it does not.",
            "`signet status` and `signet explain SRC DST PORT` name the workloads and their SPIFFE IDs. Give each an address of its own; once one claimant is left, the address is its at once.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_what_the_kernel_programs_say() {
        assert_eq!(
            std::fs::read_to_string(crate::page::path("reasons.md")).unwrap(),
            page(),
            "run `cargo run -p xtask -- reasons`"
        );
    }
}
