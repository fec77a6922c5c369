//! What the two sides confirm to each other.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use signet_spiffe::{CertificateDer, SpiffeId};
use zeroize::Zeroizing;

use crate::binding::Binding;

/// Exporter label of the confirmation key (RFC 8446 section 7.5).
const LABEL: &[u8] = b"EXPORTER-signet-pair-confirm-v1";

/// Which side says it. Part of what is confirmed, so that a confirmation cannot be sent back to its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Initiator,
    Responder,
}

impl Role {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Initiator => b'i',
            Self::Responder => b'r',
        }
    }
}

/// One workload as both sides must see it.
#[derive(Clone, Copy)]
pub(crate) struct Half<'a> {
    pub(crate) id: &'a SpiffeId,
    /// Its hash stands for key, serial and life; an exporter alone would not cover the client's certificate.
    pub(crate) leaf: &'a CertificateDer<'a>,
}

/// The confirmations of both sides.
pub(crate) struct Confirmations {
    key: hmac::Key,
    transcript: Vec<u8>,
}

impl Confirmations {
    pub(crate) fn new(
        connection: &rustls::Connection,
        binding: &Binding,
        initiator: Half<'_>,
        responder: Half<'_>,
    ) -> Result<Self, rustls::Error> {
        let secret = connection.export_keying_material(Zeroizing::new([0_u8; 32]), LABEL, None)?;
        let mut transcript = Vec::new();
        for field in [
            binding.exporter.as_slice(),
            binding.initiator_node.as_str().as_bytes(),
            binding.responder_node.as_str().as_bytes(),
            initiator.id.as_str().as_bytes(),
            responder.id.as_str().as_bytes(),
            digest(&SHA256, initiator.leaf).as_ref(),
            digest(&SHA256, responder.leaf).as_ref(),
        ] {
            // Lengths make the fields' borders unambiguous.
            transcript.extend_from_slice(&(field.len() as u64).to_be_bytes());
            transcript.extend_from_slice(field);
        }
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_slice()),
            transcript,
        })
    }

    pub(crate) fn of(&self, role: Role) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&[role.byte()]);
        context.update(&self.transcript);
        let mut mac = [0; 32];
        mac.copy_from_slice(context.sign().as_ref());
        mac
    }

    /// In constant time.
    pub(crate) fn verify(&self, role: Role, mac: &[u8; 32]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.of(role), mac).is_ok()
    }
}
