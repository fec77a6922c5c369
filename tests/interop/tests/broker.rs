//! go-spiffe as a broker, against a real agent. Needs root: the processes run under groups of their own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "support/daemons.rs"]
mod daemons;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use daemons::{DOMAIN, Daemons, until};
use signet_interop::{Event, Language, Toolbox};

const PROXY: u32 = 61103;
const WEB: u32 = 61104;

#[test]
fn spiffe_row_71_72_and_74_go_spiffe_acts_for_a_workload_as_long_as_it_lives() {
    let test = "spiffe_row_71_72_and_74_go_spiffe_acts_for_a_workload_as_long_as_it_lives";
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    let toolbox = Toolbox::new(Path::new(env!("CARGO_BIN_EXE_interop-rust")), &cache);
    let program = toolbox.prepare_or_skip(Language::Go, test);
    let Some(go) = program.unwrap_or_else(|missing| panic!("{missing}")) else {
        return;
    };
    let mut daemons = Daemons::new(&[]);
    daemons.agent_options = vec![format!("--broker=spiffe://{DOMAIN}/proxy")];
    daemons.start_ca();
    daemons.start_agent();
    daemons.register("/proxy", PROXY);
    daemons.register("/web", WEB);
    for gid in [PROXY, WEB] {
        until("it has an SVID", || {
            daemons.client(gid, &go, &["fetch"]).svid().is_ok()
        });
    }
    let mut workload = Command::new("sleep").arg("600").gid(WEB).spawn().unwrap();
    let socket = format!("unix:{}", daemons.path("run/broker/broker.sock").display());
    let (node, pid) = (
        format!("spiffe://{DOMAIN}/signet/node/n1"),
        workload.id().to_string(),
    );
    let act = ["broker", "--socket", &socket, "--peer-id", &node, "--pid", &pid];

    let mut broker = daemons.client(PROXY, &go, &act);
    assert_eq!(broker.svid().unwrap().id, format!("spiffe://{DOMAIN}/web"));
    // A workload is no broker, not even for itself.
    let Event::Refused(reason) = daemons.client(WEB, &go, &act).event().unwrap() else {
        panic!("a workload that is no broker got something");
    };
    assert!(reason.starts_with("PermissionDenied"), "{reason}");

    workload.kill().unwrap();
    workload.wait().unwrap();
    let Event::Refused(reason) = broker.event().unwrap() else {
        panic!("something came for a workload that has ended");
    };
    assert!(reason.starts_with("NotFound"), "{reason}");
}
