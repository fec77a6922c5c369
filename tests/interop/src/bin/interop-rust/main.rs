//! The Rust crates `spiffe` and `spiffe-rustls`, as a program that a test can drive.
//!
//! Prints one event a line, like its fellows in Go and Python: `svid ID SERIAL`, `listening ADDRESS`, `peer ID SERIAL`,
//! `reply TEXT`, `refused WHY`. Serial numbers are hexadecimal.

mod peer;
mod tls;

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use spiffe::{JwtSvid, WorkloadApiClient, X509Source, X509Svid};

use crate::peer::Certificate;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the SVID of this process.
    Fetch,
    /// Prints it now and whenever a new one is pushed.
    Watch,
    /// Prints a JWT-SVID of this process.
    Token {
        #[arg(long)]
        audience: String,
    },
    /// Checks a JWT-SVID with the keys that the Workload API gives, then has the Workload API check it.
    Check {
        #[arg(long)]
        audience: String,
        #[arg(long)]
        token: String,
    },
    /// Answers clients that have the peer ID.
    Serve {
        /// TCP port; 0: any.
        #[arg(long)]
        port: u16,
        #[arg(long)]
        peer_id: String,
    },
    /// Asks a server that has the peer ID.
    Dial {
        #[arg(long)]
        addr: SocketAddr,
        #[arg(long)]
        peer_id: String,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Fetch => {
            let client = WorkloadApiClient::connect_env().await?;
            show(&client.fetch_x509_svid().await?)
        }
        Command::Watch => watch(X509Source::new().await?).await,
        Command::Token { audience } => {
            let client = WorkloadApiClient::connect_env().await?;
            let svid = client.fetch_jwt_svid([audience], None).await?;
            event(&format!("reply {}", svid.token()))
        }
        Command::Check { audience, token } => check(&audience, &token).await,
        Command::Serve { port, peer_id } => tls::serve(X509Source::new().await?, port, &peer_id).await,
        Command::Dial { addr, peer_id } => tls::dial(X509Source::new().await?, addr, &peer_id).await,
    }
}

async fn check(audience: &str, token: &str) -> anyhow::Result<()> {
    let client = WorkloadApiClient::connect_env().await?;
    let bundles = client.fetch_jwt_bundles().await?;
    match JwtSvid::parse_and_validate(token, &bundles, &[audience]) {
        Ok(svid) => event(&format!("reply {}", svid.spiffe_id()))?,
        Err(error) => event(&format!("refused {}", one_line(&error)))?,
    }
    match client.validate_jwt_token(audience, token).await {
        Ok(svid) => event(&format!("reply {}", svid.spiffe_id())),
        Err(error) => event(&format!("refused {}", one_line(&error))),
    }
}

fn one_line(error: &impl std::fmt::Display) -> String {
    error.to_string().replace('\n', " ")
}

async fn watch(source: X509Source) -> anyhow::Result<()> {
    let mut updates = source.updated();
    loop {
        show(&*source.svid()?)?;
        updates.changed().await?;
    }
}

fn show(svid: &X509Svid) -> anyhow::Result<()> {
    let leaf = Certificate::parse(svid.leaf().as_bytes()).context("the SVID's leaf cannot be read")?;
    event(&format!("svid {} {}", svid.spiffe_id(), leaf.serial))
}

/// One line, at once.
fn event(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
