//! Federation with bundle endpoints, and readers of bundle endpoints, that we did not write: those of go-spiffe.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "support/daemons.rs"]
mod daemons;

use std::fs;
use std::path::Path;

use daemons::{DOMAIN, Daemons, until};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use signet_interop::{Language, Toolbox};

/// go-spiffe's program; `None`: skipped, and counted.
fn go(test: &str) -> Option<Vec<String>> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    let toolbox = Toolbox::new(Path::new(env!("CARGO_BIN_EXE_interop-rust")), &cache);
    let program = toolbox.prepare_or_skip(Language::Go, test);
    program.unwrap_or_else(|missing| panic!("{missing}"))
}

#[test]
fn spiffe_row_65_and_68_a_bundle_endpoint_of_go_spiffe_is_followed() {
    let Some(go) = go("spiffe_row_65_and_68_a_bundle_endpoint_of_go_spiffe_is_followed") else {
        return;
    };
    let mut daemons = Daemons::new(&[]);
    daemons.start_ca();
    let mut theirs = daemons.client(0, &go, &["bundle-serve", "--domain", "theirs.test"]);
    let first = theirs.reply().unwrap();
    let port = theirs.port().unwrap();
    let file = daemons.path("theirs.json").display().to_string();
    fs::write(&file, first).unwrap();
    let add = |name: &str, endpoint: &str| {
        let url = format!("https://127.0.0.1:{port}/");
        daemons.signet(&[
            "ca",
            "federation",
            "add",
            name,
            "--url",
            &url,
            "--profile",
            "https_spiffe",
            "--endpoint-spiffe-id",
            endpoint,
            "--bundle",
            &file,
        ]);
    };
    let sequence = || {
        let shown = daemons.signet(&["-o", "json", "ca", "federation", "show", "theirs.test"]);
        let digits = shown.split("\"sequence\"").nth(1).unwrap_or_default();
        let digits = digits.trim_start_matches([':', ' ', '"']);
        digits
            .chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
    };
    add("theirs.test", "spiffe://theirs.test/bundle-endpoint");
    until("the first bundle is fetched", || sequence() == "1");
    // Each time that it is asked the other side has one more authority.
    daemons.signet(&["ca", "federation", "refresh", "theirs.test"]);
    until("the second one is fetched", || sequence() == "2");

    daemons.signet(&["ca", "federation", "remove", "theirs.test"]);
    add("theirs.test", "spiffe://theirs.test/somebody-else");
    until("whoever is not whom we were told is not believed", || {
        let shown = daemons.signet(&["ca", "federation", "show", "theirs.test"]);
        shown.contains("spiffe://theirs.test/bundle-endpoint")
    });
}

#[test]
fn spiffe_row_65_67_and_68_go_spiffe_reads_our_bundle_endpoint_by_both_profiles() {
    let Some(go) = go("spiffe_row_65_67_and_68_go_spiffe_reads_our_bundle_endpoint_by_both_profiles") else {
        return;
    };
    let mut ours = Daemons::new(&[]);
    ours.start_ca();
    fs::write(
        ours.path("ours.json"),
        ours.signet(&["ca", "bundle", "--format", "spiffe"]),
    )
    .unwrap();
    let fetch = |daemons: &Daemons, host: &str, endpoint: &str, file: &Path| {
        let url = format!("https://{host}:{}/", daemons.bundle_port);
        let (file, endpoint) = (file.display().to_string(), format!("--endpoint-id={endpoint}"));
        let mut fetch = daemons.client(
            0,
            &go,
            &[
                "bundle-fetch",
                "--domain",
                DOMAIN,
                "--url",
                &url,
                &endpoint,
                "--file",
                &file,
            ],
        );
        fetch.reply().map_err(|_| fetch.complaints())
    };
    let is_ours = |reply: Result<String, String>| {
        let reply = reply.unwrap();
        let numbers: Vec<u64> = reply.split(' ').map(|number| number.parse().unwrap()).collect();
        let [sequence, x509, jwt] = numbers.as_slice() else {
            panic!("{reply}")
        };
        assert!(*sequence > 0 && *x509 >= 1 && *jwt >= 1, "{reply}");
    };
    let file = ours.path("ours.json");
    is_ours(fetch(
        &ours,
        "127.0.0.1",
        &format!("spiffe://{DOMAIN}/signet/ca"),
        &file,
    ));
    let other = fetch(
        &ours,
        "127.0.0.1",
        &format!("spiffe://{DOMAIN}/signet/node/n1"),
        &file,
    );
    assert!(
        other.unwrap_err().contains("unexpected ID"),
        "somebody else than we are"
    );

    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let web = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let web = web.signed_by(&key, &root).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("root.pem"), root.pem()).unwrap();
    fs::write(at("web.pem"), web.pem()).unwrap();
    fs::write(at("web.key"), key.serialize_pem()).unwrap();
    fs::set_permissions(at("web.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let options = [
        "--bundle-endpoint-profile=https_web".to_owned(),
        format!("--bundle-endpoint-cert={}", at("web.pem").display()),
        format!("--bundle-endpoint-key={}", at("web.key").display()),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut ours = Daemons::new(&options);
    ours.start_ca();
    is_ours(fetch(&ours, "localhost", "", &at("root.pem")));
    assert!(
        fetch(&ours, "127.0.0.1", "", &at("root.pem")).is_err(),
        "another host name"
    );
}
