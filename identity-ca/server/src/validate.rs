//! `run --validate`: the CA's configuration, looked at without starting it.

use std::path::Path;
use std::process::ExitCode;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use signet_ca::{AuditLog, Config, Database, EndpointIdentity, Storage, Upstream};
use signet_preflight::Preflight;

use crate::RunArgs;

/// Says everything that is wrong.
pub(crate) fn run(run: RunArgs, credentials: Option<&Path>) -> ExitCode {
    let mut preflight = Preflight::new();
    preflight.log_filter(run.log.as_deref());
    let config = run.config(credentials).map_err(|error| format!("{error:#}"));
    if let Some(config) = preflight.check("command line", config) {
        look(&config, &mut preflight);
    }
    preflight.conclude("signet-ca")
}

fn look(config: &Config, preflight: &mut Preflight) {
    match &config.storage {
        Storage::Memory => {
            preflight.remark("--in-memory: a restart begins a new trust domain under the old name");
        }
        Storage::Directory(path) => preflight.private_directory("--data-dir", path),
        Storage::Database { directory, database } => {
            preflight.private_directory("--data-dir", directory);
            match database {
                Database::Sqlite(path) => {
                    if let Some(above) = path.parent() {
                        preflight.directory("--database", above);
                    }
                }
                Database::Postgres(_) => {
                    preflight.remark(
                        "--database: whether PostgreSQL answers is seen at the start, which also migrates it",
                    );
                }
            }
        }
    }
    if let Some(above) = config.socket.parent() {
        preflight.directory("--socket", above);
    }
    preflight.listen("--listen", config.listen);
    for (option, address) in [
        ("--metrics-listen", config.metrics),
        ("--operator-listen", config.operations.listen),
        (
            "--bundle-endpoint",
            config.bundle_endpoint.as_ref().map(|endpoint| endpoint.listen),
        ),
    ] {
        if let Some(address) = address {
            preflight.listen(option, address);
        }
    }
    match &config.operations.audit {
        Some(AuditLog::File(path)) => audit_log(path, preflight),
        Some(AuditLog::Stdout) | None => {}
    }
    if let Some(endpoint) = &config.bundle_endpoint {
        match &endpoint.identity {
            EndpointIdentity::Spiffe => {}
            EndpointIdentity::Web { certificate, key } => {
                if let Some(text) = preflight.file("--bundle-endpoint-cert", certificate) {
                    preflight.check("--bundle-endpoint-cert", certificates(&text));
                }
                if let Some(text) = preflight.secret_file("--bundle-endpoint-key", key) {
                    let key = PrivateKeyDer::from_pem_slice(text.as_bytes());
                    preflight.check(
                        "--bundle-endpoint-key",
                        key.map(drop).map_err(|_| "there is no private key in it, PEM"),
                    );
                }
            }
        }
    }
    if let Some(x509pop) = &config.attestation.x509pop
        && let Some(text) = preflight.file("--x509pop-ca", &x509pop.authorities)
    {
        preflight.check("--x509pop-ca", certificates(&text));
    }
    if let Some(tpm) = &config.attestation.tpm_devid {
        for (option, path) in [
            ("--tpm-devid-ca", &tpm.authorities),
            ("--tpm-ek-ca", &tpm.endorsements),
        ] {
            if let Some(text) = preflight.file(option, path) {
                preflight.check(option, certificates(&text));
            }
        }
    }
    match &config.upstream {
        Upstream::Disk(upstream) => {
            // They need not be there but when an authority is prepared.
            if upstream.certificate.exists()
                && let Some(text) = preflight.file("--upstream-cert", &upstream.certificate)
            {
                preflight.check("--upstream-cert", certificates(&text));
            }
        }
        Upstream::Signet(above) => {
            if let Some(directory) = above.workload_socket.parent() {
                preflight.directory("--upstream-workload-socket", directory);
            }
            preflight
                .remark("--upstream signet: whether the CA above answers and signs is seen at the start");
        }
        Upstream::None | Upstream::Files => {}
    }
    if config.node_svid_ttl < config.svid_ttl {
        preflight
            .remark("--node-svid-ttl is shorter than --svid-ttl: a node's outage ends before its workloads'");
    }
}

fn audit_log(path: &Path, preflight: &mut Preflight) {
    if let Some(above) = path.parent() {
        preflight.directory("--audit-log", above);
    }
    if let Ok(metadata) = path.symlink_metadata() {
        let regular = if metadata.is_file() {
            Ok(())
        } else {
            Err("it is not a regular file")
        };
        preflight.check(format_args!("--audit-log {}", path.display()), regular);
    }
}

fn certificates(text: &str) -> Result<(), &'static str> {
    let mut found = CertificateDer::pem_slice_iter(text.as_bytes()).peekable();
    if found.peek().is_none() || found.any(|one| one.is_err()) {
        return Err("it is not certificates in PEM");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{Cli, Command};

    fn problems(arguments: &[&str]) -> Vec<String> {
        let all = ["signet-ca", "run", "--trust-domain", "td", "--validate"];
        let Command::Run(run) = Cli::try_parse_from(all.iter().chain(arguments)).unwrap().command else {
            panic!("`run` expected")
        };
        let mut preflight = Preflight::new();
        look(&run.config(None).unwrap(), &mut preflight);
        preflight.problems().to_vec()
    }

    #[test]
    fn a_good_configuration_has_no_problems_and_nothing_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (data, socket, log) = (path("data"), path("run/ca.sock"), path("log/audit.log"));
        let good = [
            "--data-dir",
            &data,
            "--socket",
            &socket,
            "--audit-log",
            &log,
            "--listen",
            "127.0.0.1:4240",
        ];
        assert_eq!(problems(&good), Vec::<String>::new());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_would_keep_the_ca_from_starting_is_named_with_its_option() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::os::unix::fs::symlink("/etc/hostname", path("audit.log")).unwrap();
        std::fs::create_dir(path("data")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path("data"), mode).unwrap();
        std::fs::write(path("cert.pem"), "no certificate").unwrap();
        std::fs::write(path("socket"), "").unwrap();
        let (data, socket, log) = (path("data"), path("socket/ca.sock"), path("audit.log"));
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        let bad = [
            "--data-dir",
            &data,
            "--socket",
            &socket,
            "--audit-log",
            &log,
            "--listen",
            "192.0.2.1:4240",
            "--bundle-endpoint",
            "127.0.0.1:0",
            "--bundle-endpoint-profile",
            "https_web",
            "--bundle-endpoint-cert",
            &cert,
            "--bundle-endpoint-key",
            &key,
        ];
        let found = problems(&bad);
        for option in [
            "--data-dir",
            "--socket",
            "--audit-log",
            "--listen",
            "--bundle-endpoint-cert",
            "--bundle-endpoint-key",
        ] {
            assert!(
                found.iter().any(|problem| problem.starts_with(option)),
                "{option}: {found:#?}"
            );
        }
        assert_eq!(found.len(), 6, "{found:#?}");
    }
}
