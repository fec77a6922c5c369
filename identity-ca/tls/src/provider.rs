//! The cryptography that Signet's TLS is made of.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(build()));

/// aws-lc-rs with the cipher suites of TLS 1.3 alone, and hybrid post-quantum key exchange first: X25519MLKEM768, then
/// X25519, then P-256.
///
/// Pass it to every rustls builder: no process-wide default is installed.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

fn build() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    provider.kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];
    provider
}
