//! Clients that others wrote while the CA is gone, and across a SIGKILL of the agent: real daemons. Needs root: clients run under
//! groups of their own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "support/daemons.rs"]
mod daemons;

use std::path::Path;

use daemons::{DOMAIN, Daemons, until};
use signet_interop::{Event, Language, Running, Toolbox};

const SERVER: u32 = 61101;
const CLIENT: u32 = 61102;

fn client(language: Language, test: &str) -> Option<Vec<String>> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    let toolbox = Toolbox::new(Path::new(env!("CARGO_BIN_EXE_interop-rust")), &cache);
    toolbox
        .prepare_or_skip(language, test)
        .unwrap_or_else(|missing| panic!("{missing}"))
}

fn id(name: &str) -> String {
    format!("spiffe://{DOMAIN}/{name}")
}

/// One connection; the serial number that the server showed.
fn dial(daemons: &Daemons, program: &[String], address: &str, server: &mut Running) -> Option<String> {
    let peer = id("server");
    let mut dialing = daemons.client(CLIENT, program, &["dial", "--addr", address, "--peer-id", &peer]);
    let shown = dialing.peer().ok()?;
    assert_eq!(shown.id, peer);
    assert_eq!(server.peer().unwrap().id, id("client"));
    assert_eq!(
        dialing.event().unwrap(),
        Event::Reply(format!("hello {}", id("client")))
    );
    Some(shown.serial)
}

fn goes_on_without_the_ca_and_recovers_from_an_agent_killed(language: Language, test: &str) {
    let (Some(program), Some(dialer)) = (client(language, test), client(Language::Rust, test)) else {
        return;
    };
    let mut daemons = Daemons::new(&[]);
    daemons.start_ca();
    daemons.start_agent();
    daemons.register("/server", SERVER);
    daemons.register("/client", CLIENT);
    let fetches = |daemons: &Daemons, program: &[String], gid| {
        let mut fetch = daemons.client(gid, program, &["fetch"]);
        fetch.svid().ok().map(|svid| svid.serial)
    };
    until("the server has an SVID", || {
        fetches(&daemons, &program, SERVER).is_some()
    });
    until("the client has an SVID", || {
        fetches(&daemons, &dialer, CLIENT).is_some()
    });
    let peer = id("client");
    let mut server = daemons.client(SERVER, &program, &["serve", "--port", "0", "--peer-id", &peer]);
    let address = format!("127.0.0.1:{}", server.port().unwrap());
    let before = dial(&daemons, &dialer, &address, &mut server).unwrap();

    // Whoever begins now gets what the agent has.
    daemons.kill_ca();
    assert_eq!(fetches(&daemons, &program, SERVER).as_ref(), Some(&before));
    assert_eq!(
        dial(&daemons, &dialer, &address, &mut server).as_ref(),
        Some(&before)
    );

    // An agent that is restarted meanwhile has it, too.
    daemons.kill_agent();
    daemons.start_agent();
    until("the server's SVID is there again", || {
        fetches(&daemons, &program, SERVER).as_ref() == Some(&before)
    });
    until("the client's is, too", || {
        fetches(&daemons, &dialer, CLIENT).is_some()
    });
    assert_eq!(
        dial(&daemons, &dialer, &address, &mut server).as_ref(),
        Some(&before)
    );
    daemons.start_ca();

    // One that keeps nothing makes new keys: the server goes on with what it has, then takes the new one.
    daemons.kill_agent();
    daemons.agent_options.push("--keep-state=none".to_owned());
    daemons.start_agent();
    until("the client has an SVID again", || {
        fetches(&daemons, &dialer, CLIENT).is_some()
    });
    until("the server shows its new SVID", || {
        dial(&daemons, &dialer, &address, &mut server).is_some_and(|shown| shown != before)
    });
}

macro_rules! for_each_client {
    ($($module:ident => $language:expr;)*) => {$(
        mod $module {
            use super::Language;

            #[test]
            fn goes_on_without_the_ca_and_recovers_from_an_agent_killed() {
                let test = concat!(stringify!($module), "::goes_on_without_the_ca_and_recovers_from_an_agent_killed");
                super::goes_on_without_the_ca_and_recovers_from_an_agent_killed($language, test);
            }
        }
    )*};
}

for_each_client! {
    rust => Language::Rust;
    python => Language::Python;
    go => Language::Go;
}
