//! Arguments: what nodes may attest with.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use signet_ca::{AttestationConfig, NameRule, X509Pop};

#[derive(Debug, Args)]
pub(crate) struct AttestationArgs {
    /// Authorities (PEM) of certificates by whose key nodes may attest, each node that `signet ca node allow` names. Off
    /// unless given.
    #[arg(long, value_name = "FILE")]
    x509pop_ca: Option<PathBuf>,

    /// Where such a certificate carries the name of its node; another node's is refused, and entries of nodes need say no
    /// more than `--x509pop`.
    #[arg(long, value_enum, value_name = "WHERE", requires = "x509pop_ca")]
    x509pop_name: Option<Name>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// The subject's one common name.
    Cn,
    /// The first label of its one DNS name.
    Dns,
}

impl AttestationArgs {
    pub(crate) fn config(self) -> AttestationConfig {
        let name = self.x509pop_name.map(|name| match name {
            Name::Cn => NameRule::CommonName,
            Name::Dns => NameRule::Dns,
        });
        AttestationConfig {
            x509pop: self.x509pop_ca.map(|authorities| X509Pop { authorities, name }),
        }
    }
}
