//! What server and client of the example share: who they are, and who is at the other end.
//!
//! Nothing here is Signet's: the crates `spiffe` and `spiffe-rustls` speak the SPIFFE Workload API, which is all that a program
//! needs. The same goes for go-spiffe, Python's `spiffe`, java-spiffe and Envoy.

use std::time::Duration;

use anyhow::Context as _;
use rustls::pki_types::CertificateDer;
use spiffe::{SpiffeId, X509Source};

/// Where the server listens.
pub const ADDRESS: &str = "127.0.0.1:8443";

/// How long a program waits for its identity.
const PATIENCE: Duration = Duration::from_secs(5);

/// This program's SVID and what it trusts, renewed as long as the source lives. The agent finds out by itself which program asks:
/// there is no password and no file.
pub async fn identity() -> anyhow::Result<X509Source> {
    // The source itself would wait for as long as it takes.
    let source = tokio::time::timeout(PATIENCE, X509Source::new()).await;
    let source =
        source.context("no identity in time; is this program registered, at the path that it has?")?;
    source.context("no identity; is SPIFFE_ENDPOINT_SOCKET set?")
}

/// The command line: whom to talk to.
pub fn wanted_peer() -> anyhow::Result<String> {
    let peer = std::env::args().nth(1);
    peer.context("say whom to talk to, such as spiffe://example.org/client")
}

/// Whose certificate the peer showed. TLS has checked it before.
pub fn peer(certificates: Option<&[CertificateDer<'_>]>) -> anyhow::Result<SpiffeId> {
    let leaf = certificates.and_then(<[_]>::first);
    let leaf = leaf.context("the peer showed no certificate")?;
    Ok(spiffe::cert::spiffe_id_from_der(leaf)?)
}
