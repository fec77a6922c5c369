//! Envoy, unmodified, with the configurations of docs/examples/envoy, against our secret discovery. Needs root: the Envoys run
//! under groups of their own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "support/envoys.rs"]
mod envoys;
#[path = "support/served.rs"]
mod served;

use std::path::Path;
use std::time::{Duration, Instant};

use envoys::{EXAMPLES, Envoys};
use served::{CLIENT, PATIENCE, SERVER, Served};
use signet_interop::{Language, Toolbox, envoy_or_skip};

/// `None`: skipped, and counted.
fn envoy(test: &str) -> Option<Vec<String>> {
    envoy_or_skip(test).unwrap_or_else(|missing| panic!("{missing}"))
}

/// Another program's view of what the server's Envoy presents, as a client that both trust.
fn presented(served: &Served, envoys: &Envoys) -> signet_interop::SvidEvent {
    let toolbox = Toolbox::new(Path::new(env!("CARGO_BIN_EXE_interop-rust")), Path::new(""));
    let dialer = toolbox.prepare(Language::Rust).unwrap();
    let address = envoys.tls().to_string();
    let dial = ["dial", "--addr", &address, "--peer-id", SERVER.id];
    served.start(CLIENT, &dialer, &dial).peer().unwrap()
}

/// Waits until Envoys show the SVIDs that the agent gave out last.
fn both_show_the_latest(served: &Served, envoys: &Envoys) {
    let caller = format!(
        "By={};Hash={};URI={}",
        SERVER.id,
        served.digest(CLIENT),
        CLIENT.id
    );
    envoys.until("the client's certificate", |answer| {
        answer.as_ref() == Ok(&caller)
    });
    let until = Instant::now() + PATIENCE;
    while presented(served, envoys) != served.current(SERVER) {
        assert!(
            Instant::now() < until,
            "the server still presents an old certificate"
        );
    }
}

#[test]
fn spiffe_row_43_certificates_rotate_under_traffic_and_no_request_fails() {
    let test = "spiffe_row_43_certificates_rotate_under_traffic_and_no_request_fails";
    let Some(envoy) = envoy(test) else { return };
    let served = Served::new();
    let envoys = Envoys::start(&envoy, (&served, SERVER), (&served, CLIENT), &EXAMPLES);
    both_show_the_latest(&served, &envoys);
    let traffic = envoys.traffic();
    for _ in 0..5 {
        let before = served.current(SERVER);
        served.rotate(CLIENT);
        served.rotate(SERVER);
        assert_ne!(served.current(SERVER), before);
        both_show_the_latest(&served, &envoys);
    }
    // Several at once, as after an outage.
    for _ in 0..50 {
        served.rotate(CLIENT);
        served.rotate(SERVER);
        std::thread::park_timeout(Duration::from_millis(2));
    }
    both_show_the_latest(&served, &envoys);
    let (good, bad) = traffic.end();
    assert!(
        bad.is_empty(),
        "{} of {} failed: {bad:?}",
        bad.len(),
        bad.len() + good
    );
    assert!(good > 100, "{good} requests are no traffic");
}

#[test]
fn spiffe_row_44_an_identity_that_is_taken_back_makes_no_connection_and_comes_back() {
    let test = "spiffe_row_44_an_identity_that_is_taken_back_makes_no_connection_and_comes_back";
    let Some(envoy) = envoy(test) else { return };
    let served = Served::new();
    let envoys = Envoys::start(&envoy, (&served, SERVER), (&served, CLIENT), &EXAMPLES);
    for workload in [CLIENT, SERVER] {
        both_show_the_latest(&served, &envoys);
        served.deregister(workload);
        envoys.until("it is refused", Result::is_err);
        for _ in 0..20 {
            let answer = envoys.ask();
            assert!(answer.is_err(), "{} got through: {answer:?}", workload.id);
        }
        served.register(workload);
    }
    both_show_the_latest(&served, &envoys);
}
