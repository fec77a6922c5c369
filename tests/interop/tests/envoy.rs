//! Envoy, unmodified, with the configurations of docs/examples/envoy, against our secret discovery. Needs root: the Envoys run
//! under groups of their own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "support/envoys.rs"]
mod envoys;
#[path = "support/served.rs"]
mod served;

use std::path::Path;
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoys::{BY_DELTA, Changes, EXAMPLES, Envoys, OF_ALL, Traffic};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use served::{ABROAD, CLIENT, PATIENCE, SERVER, Served};
use signet_interop::{Language, Toolbox, envoy_or_skip};
use signet_spiffe::{SpiffeId, TrustDomain, X509Bundle};
use signet_workload_api::X509Svid;

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

fn rotate_under_traffic(envoy: &[String], changes: &Changes<'_>) {
    let served = Served::new();
    let envoys = Envoys::start(envoy, (&served, SERVER), (&served, CLIENT), changes);
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
    none_failed(traffic);
}

fn none_failed(traffic: Traffic) {
    let (good, bad) = traffic.end();
    assert!(
        bad.is_empty(),
        "{} of {} failed: {bad:?}",
        bad.len(),
        bad.len() + good
    );
    assert!(good > 20, "{good} requests are no traffic");
}

fn take_back_and_give_again(envoy: &[String], changes: &Changes<'_>) {
    let served = Served::new();
    let envoys = Envoys::start(envoy, (&served, SERVER), (&served, CLIENT), changes);
    for workload in [CLIENT, SERVER] {
        both_show_the_latest(&served, &envoys);
        served.deregister(workload);
        refused_from_now_on(&envoys);
        served.register(workload);
    }
    both_show_the_latest(&served, &envoys);
}

fn refused_from_now_on(envoys: &Envoys) {
    envoys.until("it is refused", Result::is_err);
    for _ in 0..20 {
        let answer = envoys.ask();
        assert!(answer.is_err(), "it got through: {answer:?}");
    }
}

#[test]
fn certificates_rotate_under_traffic_and_no_request_fails() {
    let Some(envoy) = envoy("certificates_rotate_under_traffic_and_no_request_fails") else {
        return;
    };
    rotate_under_traffic(&envoy, &EXAMPLES);
}

#[test]
fn certificates_rotate_by_delta_under_traffic_and_no_request_fails() {
    let Some(envoy) = envoy("certificates_rotate_by_delta_under_traffic_and_no_request_fails") else {
        return;
    };
    rotate_under_traffic(&envoy, &BY_DELTA);
}

#[test]
fn an_identity_that_is_taken_back_makes_no_connection_and_comes_back() {
    let Some(envoy) = envoy("an_identity_that_is_taken_back_makes_no_connection_and_comes_back") else {
        return;
    };
    take_back_and_give_again(&envoy, &EXAMPLES);
}

#[test]
fn an_identity_that_is_taken_back_by_delta_makes_no_connection_and_comes_back() {
    let Some(envoy) = envoy("an_identity_that_is_taken_back_by_delta_makes_no_connection_and_comes_back")
    else {
        return;
    };
    take_back_and_give_again(&envoy, &BY_DELTA);
}

/// Published before it is used, used, and alone: the three steps of a rotation of the authority.
#[test]
fn the_authority_is_replaced_under_traffic_and_no_request_fails() {
    let Some(envoy) = envoy("the_authority_is_replaced_under_traffic_and_no_request_fails") else {
        return;
    };
    let served = Served::new();
    let envoys = Envoys::start(&envoy, (&served, SERVER), (&served, CLIENT), &EXAMPLES);
    both_show_the_latest(&served, &envoys);
    let traffic = envoys.traffic();
    let trust = |bundles: &[X509Bundle]| {
        let before = envoys.updates();
        served.trust(bundles);
        let until = Instant::now() + PATIENCE;
        while envoys
            .updates()
            .iter()
            .zip(before)
            .any(|(now, before)| *now == before)
        {
            assert!(Instant::now() < until, "a bundle does not arrive");
        }
    };
    for _ in 0..3 {
        let successor = served.successor();
        trust(&[successor.bundle().clone()]);
        served.succeed(successor);
        both_show_the_latest(&served, &envoys);
        // A handshake with an old certificate may be under way.
        traffic.passes();
        trust(&[]);
    }
    served.rotate(SERVER);
    both_show_the_latest(&served, &envoys);
    none_failed(traffic);
}

#[test]
fn envoys_go_on_while_the_agent_is_gone_and_take_up_what_they_missed() {
    let Some(envoy) = envoy("envoys_go_on_while_the_agent_is_gone_and_take_up_what_they_missed") else {
        return;
    };
    let mut served = Served::new();
    let envoys = Envoys::start(&envoy, (&served, SERVER), (&served, CLIENT), &EXAMPLES);
    both_show_the_latest(&served, &envoys);
    let traffic = envoys.traffic();
    served.kill();
    served.rotate(SERVER);
    served.rotate(CLIENT);
    for _ in 0..20 {
        envoys.ask().unwrap();
    }
    served.restart();
    both_show_the_latest(&served, &envoys);
    none_failed(traffic);
    // What is taken back meanwhile is gone as soon as they hear from the agent again.
    served.kill();
    served.deregister(CLIENT);
    envoys.ask().unwrap();
    served.restart();
    refused_from_now_on(&envoys);
}

/// Its agent never takes it back: whoever holds a stolen key does not ask.
#[test]
fn a_revoked_certificate_is_refused_by_the_peer_s_envoy_and_others_are_not() {
    let Some(envoy) = envoy("a_revoked_certificate_is_refused_by_the_peer_s_envoy_and_others_are_not") else {
        return;
    };
    let (home, thief) = (Served::of("interop.test"), Served::of("interop.test"));
    home.register(SERVER);
    let (stolen, serial) = home.svid(CLIENT);
    thief.register_with(CLIENT, stolen);
    thief.trust(&[home.bundle()]);
    let envoys = Envoys::start(&envoy, (&home, SERVER), (&thief, CLIENT), &EXAMPLES);
    envoys.until("it gets through with the stolen key", Result::is_ok);
    home.revoke(&[serial]);
    refused_from_now_on(&envoys);
    thief.deregister(CLIENT);
    thief.register_with(CLIENT, home.svid(CLIENT).0);
    envoys.until(
        "a certificate that is not on the list gets through",
        Result::is_ok,
    );
}

/// An authority of another trust domain that signs whatever it likes.
struct Foreigner {
    issuer: Issuer<'static, KeyPair>,
    bundle: X509Bundle,
}

impl Foreigner {
    fn new(domain: &str) -> Self {
        let mut params = params(&format!("spiffe://{domain}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Self {
            issuer: Issuer::new(params, key),
            bundle: X509Bundle::new(TrustDomain::parse(domain).unwrap(), vec![root]).unwrap(),
        }
    }

    fn svid(&self, id: &str) -> Arc<X509Svid> {
        let mut params = params(id);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Arc::new(X509Svid::new(SpiffeId::parse(id).unwrap(), vec![leaf], key).unwrap())
    }
}

fn params(uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params
}

#[test]
fn spiffe_row_46_and_64_a_federated_workload_is_let_in_while_its_bundle_is_there_and_its_authority_speaks_for_no_other()
 {
    let test = "spiffe_row_46_and_64_a_federated_workload_is_let_in_while_its_bundle_is_there_and_its_authority_speaks_for_no_other";
    let Some(envoy) = envoy(test) else { return };
    let foreigner = Foreigner::new("other.test");
    let (home, abroad) = (Served::of("interop.test"), Served::of("other.test"));
    home.register(SERVER);
    home.trust(slice::from_ref(&foreigner.bundle));
    abroad.register_with(ABROAD, foreigner.svid(ABROAD.id));
    abroad.trust(&[home.bundle()]);
    let envoys = Envoys::start(&envoy, (&home, SERVER), (&abroad, ABROAD), &OF_ALL);
    envoys.until("it is let in", |answer| {
        answer.as_ref().is_ok_and(|answer| answer.ends_with(ABROAD.id))
    });
    home.trust(&[]);
    refused_from_now_on(&envoys);
    home.trust(slice::from_ref(&foreigner.bundle));
    envoys.until("it is let in again", Result::is_ok);

    drop(envoys);

    // The same authority about the other trust domain; then who it took itself for.
    let impostor = Served::of("interop.test");
    impostor.register_with(CLIENT, foreigner.svid(CLIENT.id));
    impostor.trust(&[home.bundle()]);
    let envoys = Envoys::start(&envoy, (&home, SERVER), (&impostor, CLIENT), &OF_ALL);
    refused_from_now_on(&envoys);
    impostor.deregister(CLIENT);
    impostor.register_with(CLIENT, home.svid(CLIENT).0);
    envoys.until("it is let in with an SVID of its own", Result::is_ok);
}
