//! What can go wrong, in the order in which an operator meets it.

/// A fault.
pub(super) struct Fault {
    pub(super) what: &'static str,
    /// What comes of it.
    pub(super) outcome: &'static str,
    /// File from the checkout's root, and function.
    pub(super) tests: &'static [(&'static str, &'static str)],
}

const fn fault(
    what: &'static str,
    outcome: &'static str,
    tests: &'static [(&'static str, &'static str)],
) -> Fault {
    Fault { what, outcome, tests }
}

pub(super) const FAULTS: [Fault; 20] = [
    fault(
        "The CA is killed while it issues",
        "What was handed out is in the log and the registry; a caller whose call broke asks again",
        &[
            (
                "identity-ca/server/tests/ca/killed.rs",
                "no_svid_that_was_handed_out_is_missing_from_the_log_of_a_killed_ca",
            ),
            (
                "identity-ca/server/tests/ca/replicas.rs",
                "when_one_ca_is_killed_under_load_no_request_is_lost_after_a_retry",
            ),
            (
                "tests/e2e/tests/resilience.rs",
                "a_restarted_ca_knows_what_it_knew",
            ),
        ],
    ),
    fault(
        "The CA is killed while signing keys change",
        "There is one active authority, and what counts is signed by it; sealed keys open, under the old key or the new one",
        &[
            (
                "identity-ca/server/tests/ca/rotation_killed.rs",
                "a_ca_that_is_killed_in_any_step_goes_on_with_one_authority_that_signs_what_counts",
            ),
            (
                "identity-ca/server/tests/ca/keys.rs",
                "a_change_of_the_key_that_is_killed_anywhere_leaves_keys_that_open",
            ),
        ],
    ),
    fault(
        "The CA's disk is full",
        "Nothing is issued and nothing is changed, since neither could be written down; room on the disk ends it, without a restart",
        &[
            (
                "identity-ca/server/tests/ca/log.rs",
                "a_full_disk_stops_issuance_and_room_on_it_lets_it_go_on",
            ),
            (
                "identity-ca/server/tests/ca/audit.rs",
                "what_cannot_be_written_down_is_not_done_and_looking_goes_on",
            ),
        ],
    ),
    fault(
        "The database is gone for ten minutes",
        "Every call is answered with `unavailable`, none waits; join tokens are not used up; streams end, so that nodes go to \
         another CA. All goes on when it is back, without a restart",
        &[
            (
                "identity-ca/server/tests/ca/faults.rs",
                "a_database_that_is_gone_for_ten_minutes_stops_issuance_loses_nothing_and_comes_back_by_itself",
            ),
            (
                "identity-ca/registry/tests/postgres/writers.rs",
                "what_was_announced_while_the_connection_was_lost_is_caught_up_on",
            ),
            (
                "identity-ca/registry/tests/postgres/writers.rs",
                "a_writer_that_hangs_stops_nobody_for_long_and_one_that_dies_nobody_at_all",
            ),
        ],
    ),
    fault(
        "A CA of several has a clock that is ten minutes off",
        "Nodes do not take it for a CA, and go to another one; what an operator does there counts, and a revocation takes what was issued \
         until now by either clock",
        &[
            (
                "identity-ca/server/tests/ca/faults.rs",
                "a_replica_that_is_ten_minutes_ahead_serves_no_node_and_the_other_one_all",
            ),
            (
                "identity-ca/server/tests/ca/faults.rs",
                "a_replica_that_is_ten_minutes_behind_revokes_what_was_issued_until_now",
            ),
            (
                "identity-ca/registry/tests/registry/revocations.rs",
                "everything_issued_before_is_meant_even_what_a_clock_ahead_has_issued",
            ),
            (
                "identity-ca/registry/tests/registry/revocations.rs",
                "a_second_revocation_by_a_clock_that_is_behind_lets_nothing_through_again",
            ),
        ],
    ),
    fault(
        "The CA cannot be reached",
        "Agents serve what is still valid, one that is restarted meanwhile as well; what was revoked before stays so",
        &[
            (
                "tests/interop/tests/custody.rs",
                "a_restarted_agent_serves_what_is_still_valid_while_there_is_no_ca_and_goes_on_with_it_afterwards",
            ),
            (
                "tests/interop/tests/custody.rs",
                "what_was_revoked_before_stays_revoked_in_the_next_life",
            ),
            (
                "tests/interop/tests/survival.rs",
                "goes_on_without_the_ca_and_recovers_from_an_agent_killed",
            ),
            (
                "auth-agent/agent/tests/revocation.rs",
                "a_run_that_was_killed_in_the_middle_of_a_revocation_leaves_no_proof_to_the_next_even_without_a_ca",
            ),
            (
                "auth-agent/agent/tests/proofs.rs",
                "a_restarted_agent_keeps_what_still_may_be_and_deletes_the_rest",
            ),
        ],
    ),
    fault(
        "1,000 workloads connect at once",
        "Each of them, a process of a user of its own, gets its SVID and hears of the next",
        &[(
            "auth-agent/workload-api/src/crowd.rs",
            "a_thousand_workloads_that_connect_at_once_all_get_their_svid_and_hear_of_the_next",
        )],
    ),
    fault(
        "One asks a thousand times at once",
        "One call to the CA; what is over the bounds of a process or a broker waits or is refused, and others notice nothing",
        &[
            (
                "auth-agent/agent/src/jwt/cache_tests.rs",
                "a_thousand_requests_are_one_flight_and_all_get_what_it_brings",
            ),
            (
                "auth-agent/agent/tests/jwt.rs",
                "a_hundred_callers_at_once_are_one_call_to_the_ca_and_later_ones_are_none",
            ),
            (
                "auth-agent/broker/src/attacks.rs",
                "one_broker_s_flood_is_its_own_wait_and_no_other_s",
            ),
        ],
    ),
    fault(
        "Somebody reads slowly, or not at all",
        "No queue grows for them: they are told the latest when they read again. Who answers no ping, or says nothing, is closed",
        &[
            (
                "auth-agent/workload-api/src/subscription.rs",
                "a_stream_that_is_not_read_keeps_no_queue_and_is_then_sent_the_latest_alone",
            ),
            (
                "auth-agent/workload-api/src/stalled.rs",
                "a_client_that_answers_no_ping_is_closed_and_others_are_not",
            ),
            (
                "auth-agent/workload-api/src/stalled.rs",
                "a_connection_that_says_nothing_is_closed",
            ),
            (
                "identity-ca/server/src/sync.rs",
                "a_node_that_does_not_read_gets_few_full_updates_instead_of_a_queue",
            ),
            (
                "auth-agent/broker/src/attacks.rs",
                "connections_that_say_nothing_are_bounded_and_closed_in_time",
            ),
            ("tests/e2e/tests/hostile/main.rs", "stalled_peers_harm_nobody"),
        ],
    ),
    fault(
        "Requests are too large",
        "Refused before they are read; the connection goes on",
        &[
            (
                "identity-ca/server/tests/ca/bounds.rs",
                "a_message_beyond_the_bound_is_refused_before_it_is_read",
            ),
            (
                "auth-agent/workload-api/src/conformance.rs",
                "a_request_that_is_too_long_is_refused",
            ),
            (
                "auth-agent/broker/src/attacks.rs",
                "an_oversized_request_is_refused_and_the_connection_goes_on",
            ),
            (
                "identity-ca/server/tests/ca/federation/hostile.rs",
                "an_oversized_document_is_not_read_to_its_end",
            ),
        ],
    ),
    fault(
        "Requests are malformed",
        "Refused, and nothing is left behind. Parsers are fuzzed: no panic, bounded memory, an end, one meaning (see [Contributing](../../CONTRIBUTING.md#tests))",
        &[
            (
                "identity-ca/server/tests/ca/faults.rs",
                "requests_that_are_none_are_refused_and_leave_nothing_behind",
            ),
            (
                "identity-ca/server/tests/ca/bounds.rs",
                "garbage_instead_of_tls_ends_the_connection_and_nothing_else",
            ),
            (
                "auth-agent/agent/tests/hostile.rs",
                "malformed_frames_end_the_session_and_nothing_else",
            ),
            ("tests/fuzz/tests/parsers/identity.rs", "fuzz_spiffe_id"),
            ("tests/fuzz/tests/parsers/identity.rs", "fuzz_certificate_request"),
            ("tests/fuzz/tests/parsers/identity.rs", "fuzz_svid_chain"),
            ("tests/fuzz/tests/parsers/identity.rs", "fuzz_token"),
            ("tests/fuzz/tests/parsers/identity.rs", "fuzz_spiffe_bundle"),
            ("identity-ca/server/src/fuzz.rs", "fuzz_join_tokens"),
            ("tests/fuzz/tests/parsers/attestation.rs", "fuzz_node_evidence"),
            ("tests/fuzz/tests/parsers/mesh.rs", "fuzz_session_frames"),
            ("tests/fuzz/tests/parsers/mesh.rs", "fuzz_policies"),
            ("auth-agent/broker/src/fuzz.rs", "fuzz_references"),
            (
                "auth-agent/sds/src/fuzz.rs",
                "fuzz_requests_of_the_state_of_the_world",
            ),
            ("cli/src/spire/fuzz.rs", "fuzz_entries_of_spire"),
        ],
    ),
    fault(
        "Something is shown a second time",
        "A join token admits once, also where two CAs are shown it at once; an answer to a challenge is of no use in another exchange, over \
         another connection or for another key; a message of a session ends it",
        &[
            (
                "identity-ca/registry/tests/registry/tokens.rs",
                "of_many_who_show_a_token_at_once_one_gets_in",
            ),
            (
                "identity-ca/server/tests/ca/replicas.rs",
                "of_two_cas_that_are_shown_one_token_at_once_one_admits",
            ),
            (
                "identity-ca/server/tests/ca/attest.rs",
                "wrong_used_and_expired_tokens_are_refused_with_the_same_words",
            ),
            (
                "identity-ca/server/tests/ca/attestation/hostile.rs",
                "an_answer_is_of_no_use_a_second_time",
            ),
            (
                "identity-ca/server/tests/ca/attestation/hostile.rs",
                "a_challenge_that_was_relayed_to_the_machine_is_not_answered_for_another_connection",
            ),
            (
                "auth-agent/session/tests/session.rs",
                "a_replayed_open_ends_the_session",
            ),
        ],
    ),
    fault(
        "A process number is used again",
        "The new process gets nothing of the old one's: a pidfd vouches for the number as long as a stream lives",
        &[
            (
                "auth-agent/attest/tests/attestation.rs",
                "a_pid_that_now_belongs_to_another_gets_nothing",
            ),
            (
                "auth-agent/attest/tests/attestation.rs",
                "a_process_that_ended_gets_nothing_even_while_its_pid_is_a_zombie",
            ),
            (
                "auth-agent/attest/tests/attestation.rs",
                "a_number_that_the_kernel_has_given_to_another_process_gets_nothing",
            ),
            (
                "auth-agent/broker/src/attacks.rs",
                "a_number_that_is_used_again_gives_the_old_stream_nothing_of_the_new_process",
            ),
        ],
    ),
    fault(
        "Links in the place of a socket",
        "None is followed, whenever it comes: what it leads to keeps its content and mode, and no socket is made there",
        &[
            (
                "runtime/uds/src/server.rs",
                "links_that_come_and_go_while_sockets_are_made_lead_nobody_astray",
            ),
            (
                "runtime/uds/src/server.rs",
                "a_link_in_the_place_of_the_socket_is_refused_and_what_it_leads_to_is_left_alone",
            ),
            (
                "runtime/uds/src/server.rs",
                "a_link_in_the_place_of_the_name_before_the_last_step_is_removed_and_not_followed",
            ),
            (
                "runtime/uds/src/directory.rs",
                "a_directory_that_others_can_change_or_one_above_it_is_no_place",
            ),
            (
                "identity-ca/authority/tests/data_directory.rs",
                "links_in_place_of_files_are_not_followed",
            ),
        ],
    ),
    fault(
        "A registry of an earlier day is put back",
        "The CA does not start until it is told that this was meant; agents take a snapshot of the view",
        &[
            (
                "identity-ca/server/tests/ca/restored.rs",
                "an_older_registry_is_refused_until_it_is_accepted_and_the_log_says_so",
            ),
            (
                "identity-ca/server/tests/ca/sync.rs",
                "a_revision_from_another_life_of_the_ca_gets_a_snapshot",
            ),
        ],
    ),
    fault(
        "Nothing is issued that is not allowed",
        "A node gets SVIDs of registrations on it alone, with what the CA put into them; strangers get nothing",
        &[
            (
                "identity-ca/server/tests/ca/strangers.rs",
                "without_a_certificate_nothing_but_attest_is_answered",
            ),
            (
                "identity-ca/server/tests/ca/issue.rs",
                "unknown_deleted_and_malformed_registrations_are_told_apart",
            ),
            (
                "identity-ca/server/tests/ca/attestation/x509pop.rs",
                "without_an_entry_that_fits_a_key_opens_nothing",
            ),
            (
                "identity-ca/server/tests/ca/audit.rs",
                "refusals_are_written_down_with_their_reason",
            ),
        ],
    ),
    fault(
        "Nothing is issued that the log lacks",
        "A leaf is on the disk before what it is about is handed out, and says who asked",
        &[
            (
                "identity-ca/server/tests/ca/log.rs",
                "all_that_is_issued_stands_in_the_log_with_who_asked_for_it",
            ),
            (
                "identity-ca/server/tests/ca/log.rs",
                "a_token_stands_in_the_log_as_a_certificate_does",
            ),
            (
                "identity-ca/server/tests/ca/killed.rs",
                "no_svid_that_was_handed_out_is_missing_from_the_log_of_a_killed_ca",
            ),
            (
                "identity-ca/server/tests/ca/log.rs",
                "a_log_that_was_changed_on_disk_is_found_out",
            ),
        ],
    ),
    fault(
        "A daemon is aborted, or logs all that it can",
        "No key, token, passphrase or signature is in a log at trace level or in the audit stream, and there is no core dump",
        &[
            (
                "tests/e2e/tests/secrets.rs",
                "no_secret_is_in_a_log_at_trace_level_or_in_a_core_dump",
            ),
            ("tests/e2e/tests/secrets.rs", "what_is_looked_for_would_be_found"),
            (
                "keyd/keyd/tests/tunnel.rs",
                "the_daemon_leaves_no_core_and_writes_no_secret",
            ),
            (
                "identity-ca/server/tests/ca/attestation/audited.rs",
                "a_join_token_that_is_no_good_is_written_down_with_what_the_node_is_not_told",
            ),
        ],
    ),
    fault(
        "signet-meshd hangs on a node",
        "Its agent notices within 5 s; what that node has said of its addresses counts for 10 s from the last word, then what has to be proven is refused from and to it, until signet-meshd goes on",
        &[
            (
                "auth-agent/agent/tests/meshd.rs",
                "a_signet_meshd_that_hangs_is_noticed_and_leases_are_granted_no_longer_than_from_its_last_word",
            ),
            (
                "tests/e2e/tests/leases.rs",
                "a_signet_meshd_that_hangs_ends_its_node_s_leases_until_it_goes_on",
            ),
        ],
    ),
    fault(
        "The kernel's map of proofs is full",
        "It is told from 80 % on. What has ended gives way, then what no packet has passed for longest, and for 30 s at least; it is gone before the newcomer is there, and is proven anew with its next packet, which is not lost. What is at work gives way to nobody, and who finds no room is refused with a cause of its own",
        &[
            (
                "auth-agent/pairs/src/room/tests.rs",
                "what_has_ended_gives_way_first_then_the_oldest_unused_and_never_one_at_work",
            ),
            (
                "auth-agent/agent/tests/room.rs",
                "the_proof_that_no_packet_has_passed_for_longest_is_gone_before_the_newcomer_is_there",
            ),
            (
                "auth-agent/agent/tests/room.rs",
                "proofs_at_work_give_way_to_nobody_and_newcomers_are_told_so",
            ),
            (
                "auth-agent/agent/tests/room.rs",
                "pressure_is_said_before_the_map_is_full_and_nothing_is_proven_ahead_from_then_on",
            ),
            (
                "ebpf/datapath/tests/verdicts/proofs.rs",
                "a_full_proof_map_lets_nothing_new_through",
            ),
            (
                "tests/e2e/tests/room.rs",
                "an_unused_pair_gives_way_a_used_one_goes_on_and_the_next_packet_of_the_other_is_not_lost",
            ),
        ],
    ),
];
