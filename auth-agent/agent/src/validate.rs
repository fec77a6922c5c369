//! `run --validate`: the configuration, looked at without starting the agent.

use std::process::ExitCode;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use signet_devid::Directory;
use signet_preflight::Preflight;

use crate::cli::RunArgs;
use crate::run::trust;

/// Says everything that is wrong.
pub fn validate(args: &RunArgs) -> ExitCode {
    let preflight = look(args);
    preflight.conclude("signet-agent")
}

fn look(args: &RunArgs) -> Preflight {
    let mut preflight = Preflight::new();
    preflight.log_filter(args.log.as_deref());
    let trusted = trust(args).map_err(|error| format!("{error:#}"));
    let trusted = preflight.check("--trust-bundle", trusted);
    preflight.directory("--data-dir", &args.data_dir);
    preflight.directory("--run-dir", &args.run_dir);
    preflight.listen("--listen", args.listen);
    if let Some(address) = args.metrics_listen {
        preflight.listen("--metrics-listen", address);
    }
    if let Some(directory) = &args.tpm_devid {
        tpm_devid(args, directory, &mut preflight);
    }
    match (&args.join_token_file, &args.x509pop_cert, &args.x509pop_key) {
        (Some(file), _, _) => {
            // It may have been used and taken away.
            if file.exists() {
                preflight.secret_file("--join-token-file", file);
            } else {
                preflight.remark(format_args!(
                    "--join-token-file {}: it is not there; it is needed while the node has no SVID",
                    file.display()
                ));
            }
        }
        (None, Some(certificate), Some(key)) => {
            if let Some(text) = preflight.file("--x509pop-cert", certificate) {
                let certificate = CertificateDer::from_pem_slice(text.as_bytes());
                let certificate = certificate.map(drop).map_err(|_| "there is no certificate in it, PEM");
                preflight.check("--x509pop-cert", certificate);
            }
            if let Some(text) = preflight.secret_file("--x509pop-key", key) {
                let key = PrivateKeyDer::from_pem_slice(text.as_bytes());
                preflight.check("--x509pop-key", key.map(drop).map_err(|_| "there is no private key in it, PEM"));
            }
        }
        (None, _, _) if args.tpm_devid.is_some() => {}
        (None, _, _) => preflight.remark("neither a join token nor a certificate nor a TPM to attest with is given: that is enough while the node has an SVID"),
    }
    for broker in &args.broker {
        if let Some((domain, ..)) = &trusted {
            let own = if broker.trust_domain() == domain {
                Ok(())
            } else {
                Err(format!("it is not of the trust domain {domain}"))
            };
            preflight.check(format_args!("--broker {broker}"), own);
        }
    }
    if !args.bpffs.exists() {
        preflight.remark(format_args!(
            "--bpffs {}: it is not there yet; signet-meshd makes it",
            args.bpffs.display()
        ));
    }
    preflight
}

/// What lies in the directory; the TPM itself is not asked.
fn tpm_devid(args: &RunArgs, directory: &std::path::Path, preflight: &mut Preflight) {
    let directory = Directory::new(directory);
    let keys = directory
        .device_identity()
        .and_then(|_| directory.attestation_key());
    preflight.check("--tpm-devid", keys.map(drop));
    preflight.check(
        "--tpm-devid",
        Directory::chain(&directory.certificate()).map(drop),
    );
    let passwords = args.tpm.passwords().map_err(|error| format!("{error:#}"));
    preflight.check(
        "--tpm-owner-password-file, --tpm-endorsement-password-file",
        passwords.map(drop),
    );
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn what_would_keep_the_agent_from_starting_is_named_with_its_option() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("bundle.pem"), "no bundle").expect("written");
        std::fs::write(path("token"), "secret").expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(path("token"), mode).expect("set");
        let (bundle, token, data) = (path("bundle.pem"), path("token"), path("token/data"));
        let Command::Run(args) = Cli::try_parse_from([
            "signet-agent",
            "run",
            "--validate",
            "--node",
            "n1",
            "--ca",
            "192.0.2.1:4240",
            "--trust-bundle",
            &bundle,
            "--join-token-file",
            &token,
            "--data-dir",
            &data,
            "--listen",
            "192.0.2.1:4250",
        ])
        .expect("a command line")
        .command;
        let preflight = look(&args);
        let found = preflight.problems();
        for option in ["--trust-bundle", "--data-dir", "--listen"] {
            assert!(
                found.iter().any(|problem| problem.starts_with(option)),
                "{option}: {found:#?}"
            );
        }
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(
            preflight.remarks()[0].starts_with("--join-token-file")
                && !format!("{preflight:?}").contains("secret")
        );
    }
}
