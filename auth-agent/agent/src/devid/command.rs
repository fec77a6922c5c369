use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use clap::{Args, Subcommand, ValueEnum};
use data_encoding::HEXLOWER;
use signet_devid::{Directory, EndorsementCertificate, Kind, Prepared, Tpm, Wanted, create};
use signet_spiffe::NodeName;

use super::TpmArgs;

/// Arguments of `signet-agent devid`.
#[derive(Debug, Args)]
pub struct DevidArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DevidCommand,
}

/// What to do with a device identity.
#[derive(Debug, Subcommand)]
pub enum DevidCommand {
    /// Make a device identity in this machine's TPM, and print the request for its certificate.
    #[command(after_long_help = "Examples:\n  \
        signet-agent devid create --name n1 --dir /etc/signet/devid > n1.csr\n  \
        # the owner's authority signs n1.csr; its certificate becomes /etc/signet/devid/devid.pem\n  \
        signet-agent devid show --dir /etc/signet/devid\n\n\
        The keys cannot leave the TPM; what is written to --dir is of no use to another one. See docs/attestation.md.")]
    Create {
        /// Common name in the request: the node's name, as signet-agent's --node takes it.
        #[arg(long, value_name = "NAME")]
        name: NodeName,
        /// A DNS name in the request; may be given several times.
        #[arg(long, value_name = "NAME")]
        dns: Vec<String>,
        /// The key.
        #[arg(long, value_enum, default_value = "p256")]
        key: KeyKind,
        /// Where.
        #[command(flatten)]
        at: Place,
    },
    /// Say which TPM this is, and whether everything is there to attest with it.
    #[command(after_long_help = "Examples:\n  \
        signet-agent devid show --dir /etc/signet/devid\n  \
        signet ca node allow n1 --tpm-devid ek-sha256:$(signet-agent devid show --dir /etc/signet/devid --ek-sha256)")]
    Show {
        /// Print only the SHA-256 of the TPM's endorsement key, as `signet ca node allow` takes it. Nothing but the TPM is
        /// needed for it.
        #[arg(long)]
        ek_sha256: bool,
        /// Where.
        #[command(flatten)]
        at: Place,
    },
}

/// Where a device identity lies, and where its TPM is.
#[derive(Debug, Args)]
pub struct Place {
    /// Directory of the device identity.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/signet/devid")]
    pub dir: PathBuf,
    #[command(flatten)]
    tpm: TpmArgs,
}

/// Kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// RSA of 2048 bits.
    #[value(name = "rsa-2048")]
    Rsa2048,
}

/// Does it.
///
/// # Errors
/// It could not be done: the words say what can be.
pub fn run(arguments: &DevidArgs) -> anyhow::Result<()> {
    match &arguments.command {
        DevidCommand::Create { name, dns, key, at } => {
            let wanted = Wanted {
                kind: match key {
                    KeyKind::P256 => Kind::P256,
                    KeyKind::Rsa2048 => Kind::Rsa2048,
                },
                common_name: name.to_string(),
                dns: dns.clone(),
            };
            make(at, &wanted)
        }
        DevidCommand::Show { ek_sha256, at } => show(at, *ek_sha256),
    }
}

fn make(at: &Place, wanted: &Wanted) -> anyhow::Result<()> {
    let directory = Directory::new(&at.dir);
    let made = create(&at.tpm.tpm, &at.tpm.passwords()?, &directory, wanted)
        .context("no device identity was made")?;
    say(&made.request)?;
    let hint = format!(
        "The request is also in {}. Put its certificate into {} (PEM, with its intermediates).",
        directory.request().display(),
        directory.certificate().display()
    );
    let endorsement = match made.endorsement {
        Ok(sha256) => format!("This TPM is ek-sha256:{sha256}"),
        Err(error) => format!("{error}"),
    };
    writeln!(std::io::stderr(), "{hint}\n{endorsement}").context("failed to write")
}

fn show(at: &Place, only: bool) -> anyhow::Result<()> {
    let directory = Directory::new(&at.dir);
    let passwords = at.tpm.passwords()?;
    let endorsement = {
        let mut tpm = Tpm::open(&at.tpm.tpm, &passwords)?;
        let certificate = EndorsementCertificate::find(&mut tpm, &directory)?;
        certificate.key(&mut tpm)?;
        certificate.sha256()
    };
    if only {
        return say(&format!("{endorsement}\n"));
    }
    say(&format!("ek-sha256:{endorsement}\n"))?;
    let prepared = Prepared::new(&at.tpm.tpm, &passwords, &directory)
        .context("this node cannot attest by its TPM yet")?;
    let leaf = prepared
        .shown()
        .chain
        .first()
        .context("there is no certificate")?;
    let leaf = HEXLOWER.encode(digest(&SHA256, leaf).as_ref());
    say(&format!("sha256:{leaf}\n"))
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("failed to write")
}
