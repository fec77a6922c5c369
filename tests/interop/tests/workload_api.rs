//! Clients that others wrote, unmodified, against our Workload API server. Needs root: they run under groups of their own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "support/served.rs"]
mod served;

use std::path::Path;
use std::time::Instant;

use served::{ABROAD, CLIENT, NOBODY, PATIENCE, SERVER, Served, Workload};
use signet_interop::{Event, Language, Toolbox};

/// The client's command line; `None`: skipped, and counted.
fn client(language: Language, test: &str) -> Option<Vec<String>> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    let toolbox = Toolbox::new(Path::new(env!("CARGO_BIN_EXE_interop-rust")), &cache);
    toolbox
        .prepare_or_skip(language, test)
        .unwrap_or_else(|missing| panic!("{missing}"))
}

fn fetches_and_is_pushed_the_renewed_svid(language: Language, test: &str) {
    let Some(program) = client(language, test) else {
        return;
    };
    let served = Served::new();
    let mut fetch = served.start(SERVER, &program, &["fetch"]);
    assert_eq!(fetch.svid().unwrap(), served.current(SERVER));
    assert!(fetch.end().unwrap().success());

    let mut watch = served.start(SERVER, &program, &["watch"]);
    assert_eq!(watch.svid().unwrap(), served.current(SERVER));
    for _ in 0..2 {
        served.rotate(CLIENT);
        served.rotate(SERVER);
        assert_eq!(watch.svid().unwrap(), served.current(SERVER));
    }
}

/// What one library fetches all others check, with the keys that they fetched and through the Workload API.
fn fetches_a_token_that_all_validate(language: Language, test: &str) {
    let Some(program) = client(language, test) else {
        return;
    };
    let served = Served::new();
    let mut fetch = served.start(CLIENT, &program, &["token", "--audience", "reports"]);
    let token = fetch.reply().unwrap();
    assert!(fetch.end().unwrap().success());
    for other in Language::ALL {
        let Some(checker) = client(other, test) else {
            return;
        };
        let check = ["check", "--audience", "reports", "--token", &token];
        let mut check = served.start(SERVER, &checker, &check);
        assert_eq!(check.reply().unwrap(), CLIENT.id, "{other:?}, by its own check");
        assert_eq!(
            check.reply().unwrap(),
            CLIENT.id,
            "{other:?}, by the Workload API"
        );
    }
    let mut forged = token.clone();
    forged.truncate(token.len() - 8);
    forged.push_str("AAAAAAAA");
    for (audience, token) in [("invoices", &token), ("reports", &forged)] {
        let check = ["check", "--audience", audience, "--token", token];
        let mut check = served.start(SERVER, &program, &check);
        for by in ["its own check", "the Workload API"] {
            let event = check.event().unwrap();
            assert!(matches!(event, Event::Refused(_)), "{audience}, {by}: {event:?}");
        }
    }
}

fn gets_nothing_without_an_identity(language: Language, test: &str) {
    let Some(program) = client(language, test) else {
        return;
    };
    let served = Served::new();
    let mut fetch = served.start(NOBODY, &program, &["fetch"]);
    assert!(!fetch.end().unwrap().success());
    assert!(fetch.event().is_err(), "it printed something");
    let complaints = fetch.complaints().to_lowercase();
    assert!(complaints.contains("no identity issued"), "{complaints}");

    let mut fetch = served.start(NOBODY, &program, &["token", "--audience", "reports"]);
    assert!(!fetch.end().unwrap().success());
    assert!(fetch.event().is_err(), "it printed something");
    let complaints = fetch.complaints().to_lowercase();
    assert!(complaints.contains("no identity issued"), "{complaints}");
}

/// As a server, to clients of all languages, before and after its SVID was renewed.
fn serves_mutual_tls_to_all(language: Language, test: &str) {
    let Some(program) = client(language, test) else {
        return;
    };
    let served = Served::new();
    let mut server = served.start(
        SERVER,
        &program,
        &["serve", "--port", "0", "--peer-id", CLIENT.id],
    );
    let address = format!("127.0.0.1:{}", server.port().unwrap());
    for other in Language::ALL {
        let Some(dialer) = client(other, test) else {
            return;
        };
        let dial = ["dial", "--addr", &address, "--peer-id", SERVER.id];
        let mut dial = served.start(CLIENT, &dialer, &dial);
        assert_eq!(dial.peer().unwrap(), served.current(SERVER), "{other:?}");
        assert_eq!(server.peer().unwrap(), served.current(CLIENT), "{other:?}");
        assert_eq!(
            dial.event().unwrap(),
            Event::Reply(format!("hello {}", CLIENT.id))
        );
        assert!(dial.end().unwrap().success());
        served.rotate(CLIENT);
    }
    presents_the_renewed_svid(&served, &mut server, &address, test);
}

/// The running server takes up the pushed SVID. When it has done so cannot be seen but by asking it, again and again.
fn presents_the_renewed_svid(
    served: &Served,
    server: &mut signet_interop::Running,
    address: &str,
    test: &str,
) {
    let Some(dialer) = client(Language::Rust, test) else {
        return;
    };
    let before = served.current(SERVER);
    served.rotate(SERVER);
    let until = Instant::now() + PATIENCE;
    loop {
        let dial = ["dial", "--addr", address, "--peer-id", SERVER.id];
        let seen = served.start(CLIENT, &dialer, &dial).peer().unwrap();
        if seen == served.current(SERVER) {
            return;
        }
        assert_eq!(seen, before);
        assert!(
            Instant::now() < until,
            "it still presents the old SVID; {}",
            server.complaints()
        );
        server.event().unwrap();
    }
}

/// A peer that is authentic, but not the one that was asked for.
fn refuses_the_wrong_peer(language: Language, test: &str) {
    let Some(program) = client(language, test) else {
        return;
    };
    let served = Served::new();
    let mut server = served.start(
        SERVER,
        &program,
        &["serve", "--port", "0", "--peer-id", CLIENT.id],
    );
    let address = format!("127.0.0.1:{}", server.port().unwrap());

    let as_dialer = ["dial", "--addr", &address, "--peer-id", CLIENT.id];
    let mut dial = served.start(CLIENT, &program, &as_dialer);
    assert!(
        !dial.end().unwrap().success(),
        "it took the server for the client"
    );
    assert!(matches!(server.event().unwrap(), Event::Refused(_)));

    let as_server = ["dial", "--addr", &address, "--peer-id", SERVER.id];
    let mut dial = served.start(SERVER, &program, &as_server);
    assert!(
        !dial.end().unwrap().success(),
        "the server took itself for the client"
    );
    assert!(matches!(server.event().unwrap(), Event::Refused(_)));
}

/// Dials a server that runs, as a workload of some agent, until the answer is what it should be: pushes arrive when they arrive.
fn dial_until(
    (from, who): (&Served, Workload),
    address: &str,
    server: &mut signet_interop::Running,
    wanted: impl Fn(Option<&str>) -> bool,
) {
    let dialer = client(Language::Rust, "").unwrap_or_default();
    let until = Instant::now() + PATIENCE;
    loop {
        let dial = ["dial", "--addr", address, "--peer-id", SERVER.id];
        let mut dial = from.start(who, &dialer, &dial);
        // With TLS 1.3 a client hears only behind the handshake that the server has refused it.
        let shown = dial.peer().map(|peer| peer.serial);
        let answered = matches!(dial.event(), Ok(Event::Reply(_)));
        let shown = shown.ok().filter(|_| answered);
        // Whatever the server says of it, so that its output never fills up.
        drop(server.event());
        if wanted(shown.as_deref()) {
            return;
        }
        assert!(
            Instant::now() < until,
            "{}; {}",
            dial.complaints(),
            server.complaints()
        );
    }
}

fn serving(served: &Served, program: &[String], peer: Workload) -> (signet_interop::Running, String) {
    let serve = ["serve", "--port", "0", "--peer-id", peer.id];
    let mut server = served.start(SERVER, program, &serve);
    let address = format!("127.0.0.1:{}", server.port().unwrap());
    (server, address)
}

/// Published before it is used, used, and alone.
fn follows_a_new_authority(language: Language, test: &str) {
    let Some(program) = client(language, test) else {
        return;
    };
    let served = Served::new();
    let (mut server, address) = serving(&served, &program, CLIENT);
    let by = (&served, CLIENT);
    dial_until(by, &address, &mut server, |shown| {
        shown == Some(&served.current(SERVER).serial)
    });
    for _ in 0..2 {
        let successor = served.successor();
        served.trust(&[successor.bundle().clone()]);
        served.succeed(successor);
        dial_until(by, &address, &mut server, |shown| {
            shown == Some(&served.current(SERVER).serial)
        });
        served.trust(&[]);
        served.rotate(SERVER);
        dial_until(by, &address, &mut server, |shown| {
            shown == Some(&served.current(SERVER).serial)
        });
    }
}

/// A bundle of another trust domain that comes, and goes.
fn trusts_another_trust_domain_while_its_bundle_is_there(language: Language, test: &str) {
    let Some(program) = client(language, test) else {
        return;
    };
    let (home, abroad) = (Served::of("interop.test"), Served::of("other.test"));
    home.register(SERVER);
    abroad.register(ABROAD);
    abroad.trust(&[home.bundle()]);
    home.trust(&[abroad.bundle()]);
    let (mut server, address) = serving(&home, &program, ABROAD);
    let by = (&abroad, ABROAD);
    dial_until(by, &address, &mut server, |shown| shown.is_some());
    home.trust(&[]);
    dial_until(by, &address, &mut server, |shown| shown.is_none());
    home.trust(&[abroad.bundle()]);
    dial_until(by, &address, &mut server, |shown| shown.is_some());
}

/// What is taken back is had by nobody who asks, and whoever runs takes it up when it comes back.
fn loses_an_identity_and_gets_it_back(language: Language, test: &str) {
    let Some(program) = client(language, test) else {
        return;
    };
    let served = Served::new();
    let (mut server, address) = serving(&served, &program, CLIENT);
    let by = (&served, CLIENT);
    dial_until(by, &address, &mut server, |shown| shown.is_some());
    served.deregister(SERVER);
    let mut fetch = served.start(SERVER, &program, &["fetch"]);
    assert!(!fetch.end().unwrap().success(), "it got what was taken back");
    served.register(SERVER);
    dial_until(by, &address, &mut server, |shown| {
        shown == Some(&served.current(SERVER).serial)
    });
}

/// The agent goes without a word, and comes back with something new.
fn goes_on_while_the_agent_is_gone_and_takes_up_what_it_missed(language: Language, test: &str) {
    let Some(program) = client(language, test) else {
        return;
    };
    let mut served = Served::new();
    let (mut server, address) = serving(&served, &program, CLIENT);
    let mut watch = served.start(SERVER, &program, &["watch"]);
    let before = watch.svid().unwrap();
    dial_until((&served, CLIENT), &address, &mut server, |shown| shown.is_some());
    served.kill();
    served.rotate(SERVER);
    served.restart();
    assert_ne!(served.current(SERVER), before);
    let mut last = before;
    while last != served.current(SERVER) {
        last = watch.svid().unwrap();
    }
    dial_until((&served, CLIENT), &address, &mut server, |shown| {
        shown == Some(&served.current(SERVER).serial)
    });
}

macro_rules! for_each_client {
    ($($module:ident => $language:expr;)*) => {$(
        mod $module {
            use super::Language;

            #[test]
            fn spiffe_row_39_43_and_47_fetches_its_svid_and_is_pushed_the_renewed_one() {
                let test = concat!(stringify!($module), "::spiffe_row_39_43_and_47_fetches_its_svid_and_is_pushed_the_renewed_one");
                super::fetches_and_is_pushed_the_renewed_svid($language, test);
            }

            #[test]
            fn spiffe_row_24_50_51_and_52_fetches_a_token_that_all_validate() {
                let test = concat!(stringify!($module), "::spiffe_row_24_50_51_and_52_fetches_a_token_that_all_validate");
                super::fetches_a_token_that_all_validate($language, test);
            }

            #[test]
            fn spiffe_row_40_gets_nothing_without_an_identity() {
                let test = concat!(stringify!($module), "::spiffe_row_40_gets_nothing_without_an_identity");
                super::gets_nothing_without_an_identity($language, test);
            }

            #[test]
            fn serves_mutual_tls_to_all() {
                super::serves_mutual_tls_to_all($language, concat!(stringify!($module), "::serves_mutual_tls_to_all"));
            }

            #[test]
            fn follows_a_new_authority() {
                super::follows_a_new_authority($language, concat!(stringify!($module), "::follows_a_new_authority"));
            }

            #[test]
            fn spiffe_row_44_and_46_trusts_another_trust_domain_while_its_bundle_is_there() {
                let test = concat!(stringify!($module), "::spiffe_row_44_and_46_trusts_another_trust_domain_while_its_bundle_is_there");
                super::trusts_another_trust_domain_while_its_bundle_is_there($language, test);
            }

            #[test]
            fn loses_an_identity_and_gets_it_back() {
                let test = concat!(stringify!($module), "::loses_an_identity_and_gets_it_back");
                super::loses_an_identity_and_gets_it_back($language, test);
            }

            #[test]
            fn goes_on_while_the_agent_is_gone_and_takes_up_what_it_missed() {
                let test = concat!(stringify!($module), "::goes_on_while_the_agent_is_gone_and_takes_up_what_it_missed");
                super::goes_on_while_the_agent_is_gone_and_takes_up_what_it_missed($language, test);
            }

            #[test]
            fn refuses_the_wrong_peer() {
                super::refuses_the_wrong_peer($language, concat!(stringify!($module), "::refuses_the_wrong_peer"));
            }
        }
    )*};
}

for_each_client! {
    rust => Language::Rust;
    python => Language::Python;
    go => Language::Go;
}
