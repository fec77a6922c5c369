//! The faults of the system that did this before, each made impossible, and how its test was seen to fail.

/// A fault.
pub(super) struct Withdrawn {
    pub(super) what: &'static str,
    /// Why it cannot be here.
    pub(super) here: &'static str,
    /// File from the checkout's root, and function.
    pub(super) tests: &'static [(&'static str, &'static str)],
    /// What was put in to see them fail.
    pub(super) red: &'static str,
}

pub(super) const WITHDRAWN: [Withdrawn; 10] = [
    Withdrawn {
        what: "The first packets of a pair are dropped: TCP waits for a second, UDP is lost",
        here: "What lacks only a proof waits for it, in order and within bounds, and is judged again from the start",
        tests: &[
            (
                "tests/e2e/tests/core.rs",
                "the_first_packets_of_a_pair_wait_and_none_is_lost",
            ),
            (
                "ebpf/datapath/tests/verdicts/proofs.rs",
                "what_lacks_only_a_proof_waits_in_the_parking_device",
            ),
            (
                "auth-agent/parking/tests/lot.rs",
                "a_burst_of_a_thousand_packets_of_two_hundred_pairs_finds_room",
            ),
        ],
        red: "In `ebpf/programs/src/proof.rs` what lacks a proof was dropped with 189 and never parked",
    },
    Withdrawn {
        what: "A rule that begins to ask for a proof cuts live connections",
        here: "They wait for the proof and go on",
        tests: &[(
            "tests/e2e/tests/leases.rs",
            "a_rule_that_turns_to_required_under_live_flows_has_them_proven_and_they_go_on",
        )],
        red: "The same: packets of the live connections are dropped on the way to the proof",
    },
    Withdrawn {
        what: "A source address is believed from a cache that may be stale for half an hour",
        here: "An address counts while the node that owns it says so, ten seconds at most, on every packet; a node that was rebooted starts from nothing",
        tests: &[
            (
                "tests/e2e/tests/leases.rs",
                "a_stale_address_in_other_hands_is_refused",
            ),
            (
                "ebpf/datapath/tests/verdicts/leases.rs",
                "a_proven_pair_passes_only_while_the_owner_says_that_the_address_is_its",
            ),
            (
                "auth-agent/agent/tests/reboot.rs",
                "proofs_and_leases_of_a_node_that_was_rebooted_are_void_at_its_first_word",
            ),
            (
                "auth-agent/lease/tests/book/main.rs",
                "what_a_node_said_before_it_was_rebooted_counts_no_more",
            ),
        ],
        red: "The lease was not asked for in `ebpf/programs/src/proof.rs`; `Boots::meet` never found another life of a kernel",
    },
    Withdrawn {
        what: "Every node holds every private key",
        here: "The CA gives a node what is registered on it alone, by its own registry; a peer asks the same of every handshake; and a key goes with the last endpoint that needs it",
        tests: &[
            (
                "identity-ca/server/tests/ca/issue.rs",
                "another_node_s_workload_is_refused",
            ),
            (
                "auth-agent/agent/tests/proofs.rs",
                "an_svid_that_was_carried_off_to_another_node_proves_nothing_there",
            ),
            (
                "auth-agent/agent/tests/custody.rs",
                "an_identity_whose_endpoint_goes_loses_its_key_here_and_in_the_file",
            ),
        ],
        red: "`own_registration` did not compare the node; `Knowledge::answer` did not ask where the initiator is registered; `Table::house` left the key of an endpoint that has gone",
    },
    Withdrawn {
        what: "Handshakes have no deadline",
        here: "Every stage of session and handshake has one, on both sides, and its place is free afterwards",
        tests: &[
            (
                "auth-agent/agent/tests/stalls.rs",
                "a_peer_that_stops_at_any_stage_is_given_up_by_deadline",
            ),
            (
                "auth-agent/agent/tests/stalls.rs",
                "a_peer_that_opens_a_handshake_and_stops_at_any_stage_of_it_is_given_up_by_deadline",
            ),
            (
                "auth-agent/handshake/tests/handshake.rs",
                "every_step_has_the_same_deadline",
            ),
        ],
        red: "An hour for the deadlines of a handshake, in `signet-handshake` and in the agent's `pairs/actor.rs`",
    },
    Withdrawn {
        what: "Failures look like \"policy denied\"",
        here: "Each has a number, a name and a remedy of its own, and `signet explain` says which condition fails",
        tests: &[
            (
                "ebpf/datapath/tests/verdicts/proofs.rs",
                "what_lacks_something_is_never_called_a_denied_policy",
            ),
            (
                "ebpf/datapath/tests/verdicts/proofs.rs",
                "a_workload_without_a_registration_is_refused_with_a_reason_of_its_own_and_nothing_waits_or_is_asked",
            ),
            (
                "tests/e2e/tests/core.rs",
                "an_unregistered_workload_cannot_be_proven",
            ),
        ],
        red: "133 in place of 189; 189 for workloads without a registration",
    },
    Withdrawn {
        what: "Traffic of hosts is left out",
        here: "Nodes are reached by their own SVIDs, and lease their addresses like any other; what is opened *from* another node's address, behind which that node may hide others by masquerading, is refused with its own reason (225) where a proof is required",
        tests: &[
            (
                "tests/e2e/tests/packets.rs",
                "nodes_are_proven_to_workloads_by_their_own_svids",
            ),
            (
                "auth-agent/agent/tests/hosts.rs",
                "a_node_is_proven_to_its_own_workloads_and_to_those_of_another",
            ),
            (
                "ebpf/datapath/tests/verdicts/hosts.rs",
                "another_nodes_processes_are_reached_while_that_node_says_that_the_address_is_its",
            ),
        ],
        red: "The lease of what is proven was not asked for in `ebpf/programs/src/proof.rs`",
    },
    Withdrawn {
        what: "Pairs on one node are not protected",
        here: "They are proven by the same state machines and the same verifier, and the kernel asks for it like for any other",
        tests: &[
            (
                "auth-agent/agent/tests/here.rs",
                "an_svid_that_another_authority_signed_proves_nothing_on_one_node_as_on_two",
            ),
            (
                "auth-agent/agent/tests/here.rs",
                "the_svid_of_another_workload_proves_nothing_on_one_node_as_on_two",
            ),
            (
                "auth-agent/agent/tests/here.rs",
                "a_revoked_svid_proves_nothing_on_one_node_as_on_two",
            ),
            (
                "ebpf/datapath/tests/verdicts/proofs.rs",
                "a_pair_on_one_node_is_proven_under_this_nodes_own_number",
            ),
            ("tests/e2e/tests/core.rs", "a_pair_on_one_node_is_proven_too"),
        ],
        red: "The kernel did not ask for a proof where the other side is on its own node; a proof was written for the pair that was asked for, whoever's certificates were seen. An SVID of another authority, or a revoked one, no change of that kind lets through: a proof is made by the verifier alone",
    },
    Withdrawn {
        what: "Clean-up works once and never again",
        here: "The kernel's maps are compared with what should be in them for ever, whatever failed before",
        tests: &[
            (
                "auth-agent/agent/tests/cleanup.rs",
                "proofs_that_nobody_made_go_the_hundredth_time_and_after_every_fault",
            ),
            (
                "auth-agent/agent/tests/cleanup.rs",
                "leases_that_nobody_gave_go_the_hundredth_time",
            ),
        ],
        red: "Proofs were compared with the kernel's map three times and never again; leases only after a failed write",
    },
    Withdrawn {
        what: "There is no metric for any of it",
        here: "Handshakes, sessions, proofs, leases, what waits and what is dropped are counted, each by its name on a page of the reference",
        tests: &[
            (
                "auth-agent/agent/src/metrics.rs",
                "what_status_says_is_on_the_page",
            ),
            (
                "auth-agent/agent/src/metrics.rs",
                "every_metric_is_documented_and_every_documented_one_is_there",
            ),
            (
                "tests/e2e/tests/core.rs",
                "every_daemon_shows_its_metrics_to_its_own_place",
            ),
        ],
        red: "The agent's page without its line for proofs",
    },
];
