//! Arguments: what nodes may attest with.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use signet_ca::{AttestationConfig, NameRule, TpmDevid, X509Pop};

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

    /// Authorities (PEM) of device identities whose key is in a TPM (`signet-agent devid create`): by such a key nodes may
    /// attest, each node that `signet ca node allow --tpm-devid` names. Off unless given.
    #[arg(long, value_name = "FILE", requires = "tpm_ek_ca")]
    tpm_devid_ca: Option<PathBuf>,

    /// Authorities (PEM) of the makers of those TPMs: whose endorsement certificates are believed.
    #[arg(long, value_name = "FILE", requires = "tpm_devid_ca")]
    tpm_ek_ca: Option<PathBuf>,

    /// As --x509pop-name, of device identities.
    #[arg(long, value_enum, value_name = "WHERE", requires = "tpm_devid_ca")]
    tpm_devid_name: Option<Name>,
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
        let rule = |name| match name {
            Name::Cn => NameRule::CommonName,
            Name::Dns => NameRule::Dns,
        };
        AttestationConfig {
            x509pop: self.x509pop_ca.map(|authorities| X509Pop {
                authorities,
                name: self.x509pop_name.map(rule),
            }),
            tpm_devid: self
                .tpm_devid_ca
                .zip(self.tpm_ek_ca)
                .map(|(authorities, endorsements)| TpmDevid {
                    authorities,
                    endorsements,
                    name: self.tpm_devid_name.map(rule),
                }),
        }
    }
}
