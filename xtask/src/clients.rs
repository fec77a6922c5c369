//! docs/reference/clients.md: which client does what against us, each cell with the tests that show it.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::page::keep;
use crate::repository;
use crate::rows::title;

/// Options of `xtask clients`.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare only; fail when the committed page differs.
    #[arg(long)]
    check: bool,
}

const INTRODUCTION: &str = "\
# Clients

<!-- Written by `cargo run -p xtask -- clients` from xtask/src/clients.rs, which fails where a test that it names is not there. -->

SPIFFE clients that others wrote, unmodified, against our Workload API and secret discovery: which tests show what. `workload_api.rs` and
`envoy.rs` of `tests/interop` stand on the agent's server over test doubles; `matrix.rs` on two trust domains of real CAs and agents as
processes, with all clients at once, and `survival.rs` on one; `tests/e2e` on a lab of nodes with the kernel programs between them. No cell rests on
doubles alone. All run in `make test`.
";

const VERSIONS: [(&str, &str); 5] = [
    (
        "Rust `spiffe` 0.19",
        "fetches, streams, tokens; where its tests speak TLS, by `spiffe-rustls`",
    ),
    ("Rust `spiffe-rustls` 0.11", "TLS with rustls on top of it"),
    (
        "Python `spiffe` and `spiffe-tls`",
        "tests/interop/python/requirements.txt",
    ),
    ("go-spiffe 2.8", "module `github.com/spiffe/go-spiffe/v2`"),
    (
        "Envoy 1.40",
        "SDS, with the configurations of [Envoy](../envoy.md)",
    ),
];

const COLUMNS: [&str; 7] = [
    "fetch",
    "rotation",
    "bundle rotation",
    "redaction",
    "federation",
    "agent killed, restarted",
    "CA gone",
];

/// A test: its file, its module in the file if there are several of the name, its name.
type Test = (&'static str, &'static str, &'static str);

const API: &str = "tests/interop/tests/workload_api.rs";
const OUTAGES: &str = "tests/interop/tests/survival.rs";
const REAL: &str = "tests/interop/tests/matrix.rs";
const SDS: &str = "tests/interop/tests/envoy.rs";
const LAB: &str = "tests/e2e/tests/clients.rs";
const LAB_SDS: &str = "tests/e2e/tests/envoy.rs";
const REAL_FEDERATION: &str = "tests/interop/tests/federation.rs";

const FETCH: &str = "spiffe_row_39_43_and_47_fetches_its_svid_and_is_pushed_the_renewed_one";
const TLS: &str = "serves_mutual_tls_to_all";
const AUTHORITY: &str = "follows_a_new_authority";
const REDACTED: &str = "loses_an_identity_and_gets_it_back";
const DENIED: &str = "spiffe_row_40_gets_nothing_without_an_identity";
const FEDERATED: &str = "spiffe_row_44_and_46_trusts_another_trust_domain_while_its_bundle_is_there";
const AGENT_GONE: &str = "goes_on_while_the_agent_is_gone_and_takes_up_what_it_missed";
const OUTAGE: &str = "goes_on_without_the_ca_and_recovers_from_an_agent_killed";
const LAB_FETCH: &str =
    "spiffe_row_47_every_client_fetches_the_svid_of_its_workload_and_is_pushed_the_renewed_one";
const LAB_TLS: &str = "clients_on_two_nodes_do_mutual_tls_before_and_after_renewal";
const CHANGES: &str = "spiffe_row_44_46_62_and_64_real_daemons_change_under_every_client_and_each_follows";
const DOMAINS: &str = "spiffe_row_64_and_68_workloads_of_two_trust_domains_check_one_another";

/// The cells of a client whose module in the files for several has this name.
fn cells_of(module: &'static str) -> [Vec<Test>; 7] {
    [
        vec![(API, module, FETCH), (LAB, "", LAB_FETCH)],
        vec![(API, module, TLS), (LAB, "", LAB_TLS)],
        vec![(REAL, "", CHANGES), (API, module, AUTHORITY)],
        vec![
            (REAL, "", CHANGES),
            (API, module, REDACTED),
            (API, module, DENIED),
        ],
        vec![(REAL, "", CHANGES), (API, module, FEDERATED)],
        vec![
            (REAL, "", CHANGES),
            (API, module, AGENT_GONE),
            (OUTAGES, module, OUTAGE),
        ],
        vec![(REAL, "", CHANGES), (OUTAGES, module, OUTAGE)],
    ]
}

fn rows() -> [[Vec<Test>; 7]; 5] {
    let mut rust = cells_of("rust");
    rust[4].push((REAL_FEDERATION, "", DOMAINS));
    let rustls = cells_of("rust");
    let envoy = [
        vec![
            (REAL, "", CHANGES),
            (SDS, "", "certificates_rotate_under_traffic_and_no_request_fails"),
        ],
        vec![
            (SDS, "", "certificates_rotate_under_traffic_and_no_request_fails"),
            (
                SDS,
                "",
                "certificates_rotate_by_delta_under_traffic_and_no_request_fails",
            ),
            (
                LAB_SDS,
                "",
                "certificates_are_renewed_under_traffic_and_no_request_fails",
            ),
        ],
        vec![
            (REAL, "", CHANGES),
            (
                SDS,
                "",
                "the_authority_is_replaced_under_traffic_and_no_request_fails",
            ),
        ],
        vec![
            (REAL, "", CHANGES),
            (
                SDS,
                "",
                "an_identity_that_is_taken_back_makes_no_connection_and_comes_back",
            ),
            (
                SDS,
                "",
                "an_identity_that_is_taken_back_by_delta_makes_no_connection_and_comes_back",
            ),
            (
                LAB_SDS,
                "",
                "a_revoked_spiffe_id_makes_no_connection_until_it_is_reopened",
            ),
        ],
        vec![
            (REAL, "", CHANGES),
            (
                SDS,
                "",
                "spiffe_row_46_and_64_a_federated_workload_is_let_in_while_its_bundle_is_there_and_its_authority_speaks_for_no_other",
            ),
        ],
        vec![
            (REAL, "", CHANGES),
            (
                SDS,
                "",
                "envoys_go_on_while_the_agent_is_gone_and_take_up_what_they_missed",
            ),
            (
                LAB_SDS,
                "",
                "a_killed_agent_fails_no_request_and_goes_on_renewing_after_its_restart",
            ),
        ],
        vec![(REAL, "", CHANGES), (LAB_SDS, "", "a_killed_ca_fails_no_request")],
    ];
    [rust, rustls, cells_of("python"), cells_of("go"), envoy]
}

/// Writes the page, or compares it.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    keep("clients.md", "clients", &page()?, options.check)
}

fn page() -> anyhow::Result<String> {
    let mut page = INTRODUCTION.to_owned();
    // Writing to a String cannot fail.
    let _ = writeln!(page, "\n| client | {} |", COLUMNS.join(" | "));
    let _ = writeln!(page, "| --- |{}", " :---: |".repeat(COLUMNS.len()));
    let mut tests: Vec<Test> = Vec::new();
    for ((client, _), row) in VERSIONS.iter().zip(rows()) {
        let mut cells = Vec::new();
        for cell in row {
            ensure!(!cell.is_empty(), "{client}: a cell without a test");
            let mut numbers = Vec::new();
            for test in cell {
                check(test)?;
                let number = tests.iter().position(|known| *known == test).unwrap_or_else(|| {
                    tests.push(test);
                    tests.len() - 1
                });
                numbers.push(format!("[{0}](#{0})", number + 1));
            }
            cells.push(numbers.join(" "));
        }
        let _ = writeln!(page, "| {client} | {} |", cells.join(" | "));
    }
    let _ = writeln!(page, "\n| client | what of it |\n| --- | --- |");
    for (client, what) in VERSIONS {
        let _ = writeln!(page, "| {client} | {what} |");
    }
    let _ = writeln!(page, "\n| | test |\n| ---: | --- |");
    for (number, (file, module, name)) in (1..).zip(tests) {
        let of = if module.is_empty() {
            String::new()
        } else {
            format!("{module}: ")
        };
        let _ = writeln!(
            page,
            "| <a id=\"{number}\"></a>{number} | {of}[{}](../../{file}) |",
            title(name)
        );
    }
    page.push_str(LIMITS);
    Ok(page)
}

const LIMITS: &str = "
What the standard leaves to clients, and they do: whoever has an SVID keeps it when its identity is taken back and the stream ends; it gets no new
one, others refuse it once it is revoked or has ended, and a program that starts gets none. Envoy is given something in its place that nobody
trusts. A client with a running stream hears of everything at once; one that polls, or caches, at its own pace.
";

/// Fails where there is no such test.
fn check((file, module, name): Test) -> anyhow::Result<()> {
    let path = repository::root().join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let is_there = text.contains(&format!("fn {name}()"))
        || text.contains(&format!("fn {name}(\n"))
        || text.contains(&format!("name: \"{name}\""));
    ensure!(is_there, "{file} has no test {name}");
    ensure!(
        module.is_empty() || text.contains(&format!("{module} => Language::")),
        "{file} has no module {module}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_what_the_tests_say() {
        let committed = std::fs::read_to_string(crate::page::path("clients.md")).unwrap();
        assert_eq!(committed, page().unwrap(), "run `cargo run -p xtask -- clients`");
    }

    #[test]
    fn a_test_that_is_not_there_is_noticed() {
        assert!(check((API, "rust", TLS)).is_ok());
        assert!(check((API, "rust", "serves_mutual_tls_to")).is_err());
        assert!(check((API, "perl", TLS)).is_err());
    }
}
