//! `signet ca node`: which nodes may attest without a join token.

use std::net::IpAddr;

use clap::{ArgAction, Args, Subcommand};
use signet_proto::ca::v1::{AllowNodeRequest, DisallowNodeRequest, ListNodeEntriesRequest};

use crate::clients::Ca;
use crate::failure::Failure;
use crate::output::Output;
use crate::view::node_entries::{DisallowedView, EntriesView, EntryView};

const AFTER: &str = "\
Examples:
  signet ca node allow n1 --x509pop dns:n1.nodes.example --pod-cidr 10.244.1.0/24
  signet ca node allow n2 --x509pop sha256:$(openssl x509 -in n2.pem -outform DER | sha256sum | cut -d' ' -f1)
  signet ca node allow n3 --tpm-devid ek-sha256:$(signet-agent devid show --dir /etc/signet/devid --ek-sha256)
  signet ca node list
  signet ca node disallow n1

What can be asked of a certificate: dns:<name>, uri:<URI>, cn:<common name>, sha256:<hex of the certificate>,
issuer-cn:<common name>, serial:<hex>; of a TPM: ek-sha256:<hex of its endorsement key>. All that an entry asks for has to be
there. Nodes that are in are listed by `signet ca list --nodes`, and put out by `signet ca ban` and
`signet ca evict`, which take their entries away. See docs/attestation.md.";

/// Arguments of `signet ca node`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let a node attest with something of its own. Replaces what was said of it before.
    Allow {
        /// The node's name.
        name: String,
        /// The key of a certificate that an authority of `signet-ca run --x509pop-ca` issued, and that is this; may be given
        /// several times. Without a value where the CA finds the node's name in it (--x509pop-name).
        #[arg(
            long,
            value_name = "SELECTOR",
            num_args = 0..=1,
            default_missing_value = "",
            action = ArgAction::Append
        )]
        x509pop: Vec<String>,
        /// A device identity in a TPM that an authority of `signet-ca run --tpm-devid-ca` issued, and that is this; may be given
        /// several times. Without a value where the CA finds the node's name in it (--tpm-devid-name).
        #[arg(
            long,
            value_name = "SELECTOR",
            num_args = 0..=1,
            default_missing_value = "",
            action = ArgAction::Append
        )]
        tpm_devid: Vec<String>,
        /// A range of its workloads' addresses; may be given several times.
        #[arg(long = "pod-cidr", value_name = "CIDR")]
        pod_cidrs: Vec<String>,
        /// An address that the node may announce to other nodes beside the one that the CA sees; may be given several
        /// times. None leaves those that it may already.
        #[arg(long = "address", value_name = "IP")]
        addresses: Vec<IpAddr>,
    },
    /// Take that back. A node that is in stays in; it does not get in again.
    Disallow {
        /// The node's name.
        name: String,
    },
    /// List the nodes that may attest without a join token.
    List,
}

/// Runs a subcommand.
pub(crate) async fn run(arguments: &Arguments, ca: &Ca, output: &Output) -> Result<(), Failure> {
    let mut client = ca.client.clone();
    match &arguments.command {
        Command::Allow {
            name,
            x509pop,
            tpm_devid,
            pod_cidrs,
            addresses,
        } => {
            let request = AllowNodeRequest {
                node: name.clone(),
                pod_cidrs: pod_cidrs.clone(),
                addresses: addresses.iter().map(ToString::to_string).collect(),
                ways: [ways("x509pop", x509pop), ways("tpm_devid", tpm_devid)].concat(),
            };
            let made = ca.daemon.answer(client.allow_node(request)).await?;
            output.show(&EntryView::from(made))
        }
        Command::Disallow { name } => {
            let request = DisallowNodeRequest { node: name.clone() };
            let gone = ca.daemon.answer(client.disallow_node(request)).await?;
            output.show(&DisallowedView::from(gone))
        }
        Command::List => {
            let entries = client.list_node_entries(ListNodeEntriesRequest {});
            output.show(&EntriesView::from(ca.daemon.answer(entries).await?))
        }
    }
}

/// As the CA writes them: the way, and what is asked of it.
fn ways(way: &str, selectors: &[String]) -> Vec<String> {
    let one = |selector: &String| format!("{way} {selector}").trim_end().to_owned();
    selectors.iter().map(one).collect()
}
