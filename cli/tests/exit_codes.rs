//! What a script that calls `signet` can rely on: exit codes, where words go, JSON.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::process::{Command, Output};

/// Runs `signet` with no daemon and no lab of ours in sight.
fn signet(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signet"));
    command
        .env_remove("SIGNET_LAB")
        .env_remove("SIGNET_RUN_DIR")
        .env_remove("SIGNET_CA_SOCKET");
    command
        .args(["--run-dir", "/nonexistent", "--ca-socket", "/nonexistent/ca.sock"])
        .args(arguments)
        .output()
        .unwrap()
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Every command that asks a daemon, as it is typed, with the socket of the one that is not there.
const ASKING: [(&str, &str); 62] = [
    ("status", "agent.sock"),
    ("auth list", "agent.sock"),
    ("auth sessions", "agent.sock"),
    ("auth leases", "agent.sock"),
    ("auth prove a b", "agent.sock"),
    ("auth watch", "agent.sock"),
    ("auth watch --kind failed -o json", "agent.sock"),
    ("auth flush --all", "agent.sock"),
    ("auth flush --pair a b", "agent.sock"),
    ("auth flush --of spiffe://td/a", "agent.sock"),
    ("identity list", "agent.sock"),
    ("policy list", "meshd.sock"),
    ("flows", "meshd.sock"),
    ("flows --follow", "meshd.sock"),
    ("explain a b 80", "meshd.sock"),
    ("encryption status", "keyd.sock"),
    ("encryption set off", "ca.sock"),
    ("ca status", "ca.sock"),
    ("ca bundle", "ca.sock"),
    ("ca token n1", "ca.sock"),
    (
        "ca register spiffe://td/a --on n1 --selector unix:uid:1",
        "ca.sock",
    ),
    (
        "ca register spiffe://td/ca --on n1 --selector unix:uid:1 --downstream",
        "ca.sock",
    ),
    ("ca watch", "ca.sock"),
    ("ca watch --kind authority -o json", "ca.sock"),
    ("ca update x --hint y", "ca.sock"),
    ("ca deregister x", "ca.sock"),
    ("ca list", "ca.sock"),
    ("ca list --nodes", "ca.sock"),
    ("ca list --identities", "ca.sock"),
    ("ca show x", "ca.sock"),
    ("ca revoke --serial 1 --reason x", "ca.sock"),
    ("ca revoke --serial 1 --reason x --yes", "ca.sock"),
    ("ca reopen spiffe://td/a", "ca.sock"),
    ("ca revocations", "ca.sock"),
    ("ca ban n1 --reason x", "ca.sock"),
    ("ca evict n1 --reason x", "ca.sock"),
    ("ca crl", "ca.sock"),
    ("ca log show", "ca.sock"),
    ("ca log key", "ca.sock"),
    ("ca log checkpoint", "ca.sock"),
    ("ca log prove 01", "ca.sock"),
    ("ca log prove --position 1", "ca.sock"),
    ("ca log export /nonexistent/log", "ca.sock"),
    ("ca log verify", "ca.sock"),
    ("ca log show --from 1", "ca.sock"),
    (
        "ca federation add b.example --url https://b.example/ --profile https_web",
        "ca.sock",
    ),
    ("ca node allow n1 --x509pop dns:n1.example", "ca.sock"),
    ("ca node disallow n1", "ca.sock"),
    ("ca node list", "ca.sock"),
    ("ca federation list", "ca.sock"),
    ("ca federation show b.example", "ca.sock"),
    ("ca federation remove b.example", "ca.sock"),
    ("ca federation refresh b.example", "ca.sock"),
    ("ca authority list", "ca.sock"),
    ("ca authority prepare x509", "ca.sock"),
    ("ca authority csr", "ca.sock"),
    ("ca authority import /dev/null", "ca.sock"),
    ("ca authority activate jwt", "ca.sock"),
    ("ca authority taint x509 3fa9 --yes", "ca.sock"),
    ("ca authority retire x509 3fa9 --rehearse", "ca.sock"),
    ("ca authority revoke x509 3fa9 --reason x", "ca.sock"),
    ("ca authority revoke jwt 3fa9 --reason x --yes", "ca.sock"),
];

/// Every command that asks for a lab, about one that is not up: that is an answer, no.
const OF_A_LAB: [&str; 7] = [
    "lab status",
    "lab exec n1 -- true",
    "lab logs n1 agent",
    "lab kill n1 agent",
    "lab release n1 agent",
    "status",
    "flows",
];

/// Commands that ask nobody: one that is well, one whose answer is no (where it can be), one with bad input.
const ALONE: [(&str, &str, &str); 7] = [
    (
        "policy check GOOD",
        "policy check BAD",
        "policy check /nonexistent/x.yaml",
    ),
    ("lab schema", "lab down --lab nosuchlab", "lab schema x"),
    ("lab list", "", "lab list x"),
    ("--help", "", "lab down NO-LAB"),
    ("completions bash", "", "completions csh"),
    ("--help", "", "lab up /nonexistent/lab.yaml"),
    ("--version", "", "ca import /nonexistent/entries.json"),
];

#[test]
fn a_daemon_that_is_not_there_is_3_and_its_socket_is_named() {
    for (line, socket) in ASKING {
        let output = signet(&line.split(' ').collect::<Vec<_>>());
        let error = words(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{line}: {error}");
        assert!(
            error.contains(&format!("/nonexistent/{socket}: there is no such socket")),
            "{line}: {error}"
        );
        assert!(output.stdout.is_empty(), "{line}");
    }
}

#[test]
fn what_is_not_there_is_1() {
    for line in OF_A_LAB {
        let arguments: Vec<_> = ["--lab", "nosuchlab"]
            .into_iter()
            .chain(line.split(' '))
            .collect();
        let output = signet(&arguments);
        assert_eq!(output.status.code(), Some(1), "{line}: {}", words(&output.stderr));
        assert!(
            words(&output.stderr).contains("no lab `nosuchlab` is up"),
            "{line}"
        );
    }
}

#[test]
fn a_command_that_asks_nobody_is_0_1_or_2() {
    let folder = tempfile::tempdir().unwrap();
    let text = "apiVersion: signet.io/v1alpha1\nkind: Policy\nmetadata: {name: web, namespace: shop}\nspec:\n  ingress: []\n";
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = file("good.yaml", text);
    let bad = file("bad.yaml", &text.replace("ingress", "ingres"));
    for (well, no, wrong) in ALONE {
        for (line, code) in [(well, 0), (no, 1), (wrong, 2)] {
            if line.is_empty() {
                continue;
            }
            let line = line.replace("GOOD", &good).replace("BAD", &bad);
            let output = signet(&line.split(' ').collect::<Vec<_>>());
            let told = words(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{line}: {told}");
        }
    }
}

/// The words of every command that has no further ones, as `--help` lists them.
fn leaves(path: &[String]) -> Vec<String> {
    let mut arguments: Vec<_> = path.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = words(&signet(&arguments).stdout);
    let listed = help.split_once("\nCommands:\n").map(|(_, rest)| rest);
    let Some(listed) = listed else {
        return vec![path.join(" ")];
    };
    let names = listed
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    names
        .flat_map(|name| leaves(&[path, &[name.to_owned()]].concat()))
        .collect()
}

#[test]
fn every_command_is_held_to_the_table_and_refuses_what_it_does_not_know_with_2() {
    let leaves = leaves(&[]);
    assert!(leaves.len() >= 40, "{leaves:?}");
    for leaf in &leaves {
        let begins = |line: &str| line == leaf || line.starts_with(&format!("{leaf} "));
        let held = ASKING.iter().any(|(line, _)| begins(line))
            || OF_A_LAB.iter().any(|line| begins(line))
            || ALONE.iter().any(|(well, _, wrong)| begins(well) || begins(wrong));
        assert!(held, "no exit code of `{leaf}` is tested");
        let arguments: Vec<_> = leaf.split(' ').chain(["--no-such-option"]).collect();
        assert_eq!(signet(&arguments).status.code(), Some(2), "{leaf}");
    }
}

#[test]
fn the_usage_does_not_ask_for_what_the_environment_says() {
    let output = Command::new(env!("CARGO_BIN_EXE_signet"))
        .env("SIGNET_LAB", "demo")
        .env("SIGNET_RUN_DIR", "/nonexistent")
        .args(["explain", "a"])
        .output()
        .unwrap();
    let error = words(&output.stderr);
    assert!(
        error.contains("Usage: signet explain <SOURCE> <DESTINATION> <PORT>"),
        "{error}"
    );
}

#[test]
fn the_environment_says_where_daemons_are() {
    let ask = |variable: &str, value: &str, arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_signet"))
            .env_remove("SIGNET_LAB")
            .env(variable, value)
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code(), words(&output.stderr))
    };
    let (code, error) = ask("SIGNET_RUN_DIR", "/nonexistent/run", &["flows"]);
    assert!(
        code == Some(3) && error.contains("/nonexistent/run/meshd.sock"),
        "{error}"
    );
    let (code, error) = ask("SIGNET_CA_SOCKET", "/nonexistent/a.sock", &["ca", "list"]);
    assert!(
        code == Some(3) && error.contains("/nonexistent/a.sock"),
        "{error}"
    );
    let (code, error) = ask("SIGNET_LAB", "nosuchlab", &["flows"]);
    assert!(code == Some(1) && error.contains("nosuchlab"), "{error}");
}

#[test]
fn lives_that_cannot_be_are_refused_in_words() {
    for (line, words_of_it) in [
        ("ca token n1 --ttl 0", "a token lives 1 to 86400 seconds"),
        (
            "ca register spiffe://td/a --on n1 --selector unix:uid:1 --ttl 0",
            "SVIDs live 10 to 86400 seconds",
        ),
    ] {
        let output = signet(&line.split(' ').collect::<Vec<_>>());
        let error = words(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {error}");
        assert!(error.contains(words_of_it), "{error}");
    }
}

#[test]
fn what_is_no_exported_log_is_2_and_no_lie_of_the_ca() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("svid.pem");
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\n").unwrap();
    let output = signet(&["ca", "log", "verify", "--file", file.to_str().unwrap()]);
    let error = words(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("is no exported log") && !error.contains("lies"),
        "{error}"
    );
}

#[test]
fn several_files_and_standard_input_are_one_set() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let text = "apiVersion: signet.io/v1alpha1\nkind: Policy\nmetadata: {name: web, namespace: shop}\nspec:\n  ingress: []\n";
    std::fs::write(folder.path().join("a.yaml"), text).unwrap();
    let check = |input: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_signet"))
            .args(["policy", "check", folder.path().to_str().unwrap(), "-"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), words(&output.stdout))
    };
    let other = text.replace("name: web", "name: api");
    assert_eq!(
        check(&other),
        (Some(0), "2 files: good (0 workloads, 2 policies)\n".to_owned())
    );
    let (code, told) = check(text);
    assert_eq!(code, Some(1));
    assert!(
        told.starts_with("standard input:1:1: metadata.name: policy shop/web is there already, in "),
        "{told}"
    );
}

#[test]
fn wrong_usage_is_2() {
    for arguments in [
        &["explain", "a"][..],
        &["status", "--bogus"],
        &["--node", "n1", "status"],
        &["lab", "kill", "n1", "x"],
        &["ca", "revoke", "--reason", "x"],
        &[
            "ca",
            "revoke",
            "--serial",
            "1",
            "--authority",
            "2",
            "--reason",
            "x",
        ],
        &["--node", "n1", "ca", "revoke", "--serial", "1", "--reason", "x"],
        &["ca", "ban", "n1"],
    ] {
        let output = signet(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            words(&output.stderr)
        );
    }
}

#[test]
fn a_checked_file_is_0_or_1_and_json_tells_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.yaml");
    let bad = folder.path().join("bad.yaml");
    let text = "apiVersion: signet.io/v1alpha1\nkind: Policy\nmetadata: {name: web, namespace: shop}\nspec:\n  endpointSelector: {}\n  ingress: []\n";
    std::fs::write(&good, text).unwrap();
    std::fs::write(&bad, text.replace("ingress", "ingres")).unwrap();
    let output = signet(&["policy", "check", good.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output.stderr));
    assert!(words(&output.stdout).ends_with("good.yaml: good (0 workloads, 1 policy)\n"));
    let output = signet(&["-o", "json", "policy", "check", bad.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&line["good"], &line["problems"][0]["line"]),
        (&false.into(), &6.into())
    );
}

#[test]
fn a_lab_that_is_not_up_is_1_and_a_wrong_lab_file_is_2() {
    let output = signet(&["--lab", "nosuchlab", "status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output.stderr).contains("no lab `nosuchlab` is up"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lab.yaml");
    std::fs::write(&file, "name: x\nnodes:\n- name: n1\n  colour: red\n").unwrap();
    let output = signet(&["lab", "up", file.to_str().unwrap()]);
    let error = words(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("lab.yaml:4:") && error.contains("colour"),
        "{error}"
    );
}

#[test]
fn completions_and_the_lab_schema_need_nothing() {
    assert!(words(&signet(&["completions", "bash"]).stdout).contains("_signet"));
    let schema: serde_json::Value = serde_json::from_slice(&signet(&["lab", "schema"]).stdout).unwrap();
    assert_eq!(schema["properties"]["nodes"]["type"], "array");
}

#[test]
fn an_import_is_read_before_anybody_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let code = |arguments: &[&str]| signet(&[&["ca", "import"][..], arguments].concat()).status.code();
    assert_eq!(code(&[&file("good", r#"{"entries": []}"#)]), Some(3));
    assert_eq!(code(&[&file("bad", "entries:")]), Some(2));
    assert_eq!(code(&["/nonexistent/entries.json"]), Some(2));
    assert_eq!(
        code(&[&file("good", r#"{"entries": []}"#), "--node-map", "x"]),
        Some(2)
    );
}
