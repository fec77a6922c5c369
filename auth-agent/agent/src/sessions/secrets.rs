//! What both ends of a session, and nobody else, can compute.

use std::fmt;

use aws_lc_rs::hmac;
use rustls::CommonState;
use signet_session::NodeNumber;
use tokio_rustls::TlsStream;
use zeroize::Zeroizing;

/// Exporter labels (RFC 8446 section 7.5).
const BINDING: &[u8] = b"EXPORTER-signet-session-binding-v1";
const TRANSPORT: &[u8] = b"EXPORTER-signet-session-transport-v1";

/// Two exporter values of one session, taken when it opened.
pub(crate) struct Secrets {
    binding: Zeroizing<[u8; 32]>,
    transport: Zeroizing<[u8; 32]>,
}

impl Secrets {
    pub(super) fn export<T>(stream: &TlsStream<T>) -> Result<Self, rustls::Error> {
        let export = |label| match stream {
            TlsStream::Client(stream) => {
                stream
                    .get_ref()
                    .1
                    .export_keying_material(Zeroizing::new([0_u8; 32]), label, None)
            }
            TlsStream::Server(stream) => {
                stream
                    .get_ref()
                    .1
                    .export_keying_material(Zeroizing::new([0_u8; 32]), label, None)
            }
        };
        Ok(Self {
            binding: export(BINDING)?,
            transport: export(TRANSPORT)?,
        })
    }

    /// Binds pair handshakes to the session.
    pub(super) fn binding(&self) -> Zeroizing<[u8; 32]> {
        self.binding.clone()
    }

    /// The `WireGuard` preshared key of the two nodes under their current transport epochs: HMAC-SHA256 under the
    /// session's transport secret. Both sides compute the same, whoever asks.
    pub(crate) fn preshared_key(
        &self,
        ours: (NodeNumber, u64),
        theirs: (NodeNumber, u64),
    ) -> Zeroizing<[u8; 32]> {
        let (low, high) = if ours.0 < theirs.0 {
            (ours, theirs)
        } else {
            (theirs, ours)
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.transport.as_slice());
        let mut context = hmac::Context::with_key(&key);
        context.update(b"signet wireguard preshared key v1");
        for (node, epoch) in [low, high] {
            context.update(&node.get().to_be_bytes());
            context.update(&epoch.to_be_bytes());
        }
        let mut preshared = Zeroizing::new([0; 32]);
        preshared.copy_from_slice(context.sign().as_ref());
        preshared
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

/// The connection's state whichever side it is.
pub(super) fn state<T>(stream: &TlsStream<T>) -> &CommonState {
    stream.get_ref().1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_compute_one_key_and_every_epoch_another() {
        let secrets = Secrets {
            binding: Zeroizing::new([1; 32]),
            transport: Zeroizing::new([2; 32]),
        };
        let node = |number| NodeNumber::new(number).expect("not zero");
        let here = secrets.preshared_key((node(1), 5), (node(2), 7));
        assert_eq!(*here, *secrets.preshared_key((node(2), 7), (node(1), 5)));
        assert_ne!(*here, *secrets.preshared_key((node(1), 7), (node(2), 5)));
        assert_ne!(*here, *secrets.preshared_key((node(1), 5), (node(2), 8)));
    }
}
