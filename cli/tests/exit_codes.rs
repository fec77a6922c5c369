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

#[test]
fn a_daemon_that_is_not_there_is_3_and_its_socket_is_named() {
    let cases: [(&[&str], &str); 9] = [
        (&["status"], "agent.sock"),
        (&["auth", "list"], "agent.sock"),
        (&["identity", "list"], "agent.sock"),
        (&["policy", "list"], "meshd.sock"),
        (&["flows"], "meshd.sock"),
        (&["explain", "a", "b", "80"], "meshd.sock"),
        (&["encryption", "status"], "keyd.sock"),
        (&["ca", "list"], "ca.sock"),
        (&["ca", "ban", "n1", "--reason", "x"], "ca.sock"),
    ];
    for (arguments, socket) in cases {
        let output = signet(arguments);
        let error = words(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {error}");
        assert!(
            error.contains(&format!("/nonexistent/{socket}: there is no such socket")),
            "{error}"
        );
        assert!(output.stdout.is_empty());
    }
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
