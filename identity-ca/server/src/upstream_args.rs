//! Who signs the CA's authorities, on the command line.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use signet_ca::{DiskUpstream, Upstream};
use signet_keys::SecretFile;

/// Who is above.
#[derive(Debug, Args)]
#[command(next_help_heading = "Upstream authority")]
pub(crate) struct UpstreamArgs {
    /// Who signs the certificates of this CA's authorities: itself (they are roots), `disk` (a root in files), or `files` (another CA,
    /// by `signet ca authority csr` and `import`) [default: itself].
    #[arg(long, value_enum, value_name = "KIND")]
    upstream: Option<Kind>,

    /// With `disk`: certificate that signs, PEM, then those above it, the self-signed root last.
    #[arg(long, value_name = "FILE", requires = "upstream")]
    upstream_cert: Option<PathBuf>,

    /// With `disk`: its private key, PEM, PKCS #8. It is read when an authority is prepared, and can be away otherwise.
    #[arg(long, value_name = "FILE", requires = "upstream")]
    upstream_key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A root in files.
    Disk,
    /// Another CA, by files.
    Files,
}

impl UpstreamArgs {
    pub(crate) fn upstream(self) -> anyhow::Result<Upstream> {
        let files = (self.upstream_cert, self.upstream_key);
        match (self.upstream, files) {
            (None, (None, None)) => Ok(Upstream::None),
            (Some(Kind::Files), (None, None)) => Ok(Upstream::Files),
            (Some(Kind::Disk), (certificate, key)) => Ok(Upstream::Disk(DiskUpstream {
                certificate: certificate.context("--upstream disk needs --upstream-cert FILE")?,
                key: SecretFile::new(key.context("--upstream disk needs --upstream-key FILE")?),
            })),
            (None | Some(Kind::Files), _) => {
                bail!("--upstream-cert and --upstream-key go with --upstream disk")
            }
        }
    }
}
