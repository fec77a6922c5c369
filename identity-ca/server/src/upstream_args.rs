//! Who signs the CA's authorities, on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use signet_ca::{DiskUpstream, SignetUpstream, Upstream};
use signet_keys::SecretFile;
use signet_spiffe::SpiffeId;

/// Who is above.
#[derive(Debug, Args)]
#[command(next_help_heading = "Upstream authority")]
pub(crate) struct UpstreamArgs {
    /// Who signs the certificates of this CA's authorities: itself (they are roots), `disk` (a root in files), or `files` (another CA,
    /// by `signet ca authority csr` and `import`), or `signet` (another Signet CA of the same trust domain, over the network) [default:
    /// itself].
    #[arg(long, value_enum, value_name = "KIND")]
    upstream: Option<Kind>,

    /// With `disk`: certificate that signs, PEM, then those above it, the self-signed root last.
    #[arg(long, value_name = "FILE", requires = "upstream")]
    upstream_cert: Option<PathBuf>,

    /// With `disk`: its private key, PEM, PKCS #8. It is read when an authority is prepared, and can be away otherwise.
    #[arg(long, value_name = "FILE", requires = "upstream")]
    upstream_key: Option<PathBuf>,

    /// With `signet`: where the CA above listens for agents; of several replicas each, or with commas between them.
    #[arg(long, value_name = "IP:PORT", requires = "upstream", value_delimiter = ',')]
    upstream_address: Vec<SocketAddr>,

    /// With `signet`: the Workload API of that CA's own agent on this node, by which this CA shows who it is and knows the one above. It
    /// has to be registered there with --downstream.
    #[arg(long, value_name = "PATH", requires = "upstream")]
    upstream_workload_socket: Option<PathBuf>,

    /// With `signet`: which identity of this process's to ask with [default: the default one].
    #[arg(long, value_name = "SPIFFE-ID", requires = "upstream", value_parser = spiffe_id)]
    upstream_identity: Option<SpiffeId>,
}

fn spiffe_id(text: &str) -> Result<SpiffeId, String> {
    SpiffeId::parse(text).map_err(|error| error.to_string())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A root in files.
    Disk,
    /// Another CA, by files.
    Files,
    /// Another Signet CA.
    Signet,
}

impl UpstreamArgs {
    pub(crate) fn upstream(self) -> anyhow::Result<Upstream> {
        let Self {
            upstream,
            upstream_cert,
            upstream_key,
            upstream_address,
            upstream_workload_socket,
            upstream_identity,
        } = self;
        let files = upstream_cert.is_some() || upstream_key.is_some();
        let network =
            !upstream_address.is_empty() || upstream_workload_socket.is_some() || upstream_identity.is_some();
        if files && upstream != Some(Kind::Disk) {
            bail!("--upstream-cert and --upstream-key go with --upstream disk");
        }
        if network && upstream != Some(Kind::Signet) {
            bail!(
                "--upstream-address, --upstream-workload-socket and --upstream-identity go with --upstream signet"
            );
        }
        match upstream {
            None => Ok(Upstream::None),
            Some(Kind::Files) => Ok(Upstream::Files),
            Some(Kind::Disk) => Ok(Upstream::Disk(DiskUpstream {
                certificate: upstream_cert.context("--upstream disk needs --upstream-cert FILE")?,
                key: SecretFile::new(upstream_key.context("--upstream disk needs --upstream-key FILE")?),
            })),
            Some(Kind::Signet) => {
                if upstream_address.is_empty() {
                    bail!("--upstream signet needs --upstream-address IP:PORT");
                }
                Ok(Upstream::Signet(SignetUpstream {
                    addresses: upstream_address,
                    workload_socket: upstream_workload_socket
                        .context("--upstream signet needs --upstream-workload-socket PATH")?,
                    identity: upstream_identity,
                }))
            }
        }
    }
}
