//! What the command line says about operators and the audit stream.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{bail, ensure};
use clap::Args;
use signet_ca::{Access, AuditLog, Operations, Principals};
use signet_spiffe::{SpiffeId, TrustDomain};

#[derive(Debug, Args)]
#[command(next_help_heading = "Operators")]
pub(crate) struct OperationsArgs {
    /// Write down every operator's call, attestation, refusal and change of the registry, as lines of JSON: a file (rotate it
    /// by renaming), or - for standard output. What cannot be written down is not done.
    #[arg(long, value_name = "PATH|-", env = "SIGNET_CA_AUDIT_LOG")]
    audit_log: Option<AuditLog>,

    /// Let operators connect here, too, over mutual TLS: those of --admin-id and --reader-id, and SPIFFE IDs that were
    /// registered with --role.
    #[arg(long, value_name = "IP:PORT")]
    operator_listen: Option<SocketAddr>,

    /// A SPIFFE ID that may do everything; may be given several times.
    #[arg(long = "admin-id", value_name = "SPIFFE-ID")]
    admin_ids: Vec<String>,

    /// A SPIFFE ID that may look at everything; may be given several times.
    #[arg(long = "reader-id", value_name = "SPIFFE-ID")]
    reader_ids: Vec<String>,

    /// A Unix user who may do everything on the operator's socket, by name or number; may be given several times.
    #[arg(long = "operator-uid", value_name = "USER", value_parser = user)]
    operator_uids: Vec<u32>,

    /// A Unix group whose members may do everything on the operator's socket; may be given several times.
    #[arg(long = "operator-group", value_name = "GROUP", value_parser = group)]
    operator_groups: Vec<u32>,

    /// A Unix user who may look at everything on the operator's socket; may be given several times.
    #[arg(long = "reader-uid", value_name = "USER", value_parser = user)]
    reader_uids: Vec<u32>,

    /// A Unix group whose members may look at everything on the operator's socket; may be given several times.
    #[arg(long = "reader-group", value_name = "GROUP", value_parser = group)]
    reader_groups: Vec<u32>,
}

impl OperationsArgs {
    pub(crate) fn config(self, trust_domain: &TrustDomain) -> anyhow::Result<Operations> {
        let ids = |texts: Vec<String>| -> anyhow::Result<BTreeSet<SpiffeId>> {
            texts.iter().map(|text| id(text, trust_domain)).collect()
        };
        let operations = Operations {
            audit: self.audit_log,
            listen: self.operator_listen,
            access: Access {
                admins: Principals {
                    uids: self.operator_uids.into_iter().collect(),
                    gids: self.operator_groups.into_iter().collect(),
                    ids: ids(self.admin_ids)?,
                },
                readers: Principals {
                    uids: self.reader_uids.into_iter().collect(),
                    gids: self.reader_groups.into_iter().collect(),
                    ids: ids(self.reader_ids)?,
                },
            },
        };
        let names_ids = !operations.access.admins.ids.is_empty() || !operations.access.readers.ids.is_empty();
        ensure!(
            !names_ids || operations.listen.is_some(),
            "--admin-id and --reader-id are for operators who connect over TLS: say where, with --operator-listen"
        );
        Ok(operations)
    }
}

fn id(text: &str, trust_domain: &TrustDomain) -> anyhow::Result<SpiffeId> {
    let id = SpiffeId::parse(text).map_err(|error| anyhow::anyhow!("{text:?}: {error}"))?;
    if id.trust_domain() != trust_domain {
        bail!("{id} is not of the trust domain {trust_domain}, and operators are");
    }
    if id.path().is_empty() || id.is_infrastructure() {
        bail!(
            "{id} is no workload's: the trust domain's own ID and those below /signet do not operate the CA"
        );
    }
    Ok(id)
}

fn user(text: &str) -> Result<u32, String> {
    number_or_name(text, Path::new("/etc/passwd"), "user")
}

fn group(text: &str) -> Result<u32, String> {
    number_or_name(text, Path::new("/etc/group"), "group")
}

/// Both files have the name first and the number third.
fn number_or_name(text: &str, file: &Path, what: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let lines = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let named = lines.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(text);
        is_it.then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    named.ok_or_else(|| format!("there is no {what} {text} in {}; give its number", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_of_users_and_groups_are_found() {
        assert_eq!(user("0"), Ok(0));
        assert_eq!(user("root"), Ok(0));
        assert_eq!(group("root"), Ok(0));
        assert_eq!(group("4000000000"), Ok(4_000_000_000));
        for bad in ["", "no-such-user-here", "-1", "root:x"] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn operators_are_workloads_of_the_own_trust_domain() {
        let domain = TrustDomain::parse("td").unwrap();
        assert!(id("spiffe://td/ops/alice", &domain).is_ok());
        for bad in [
            "spiffe://other/ops",
            "spiffe://td",
            "spiffe://td/signet/node/n1",
            "alice",
        ] {
            assert!(id(bad, &domain).is_err(), "{bad}");
        }
    }
}
