//! The certificate revocation list (RFC 5280 §5), for those who are not told over a stream.

use std::time::Duration;

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use rcgen::{Error, RevocationReason};
use signet_spiffe::UnixTime;

use crate::authority::{Authority, IssueError, date, later};

/// A certificate that the list names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedSerial {
    /// Its serial number, big-endian.
    pub serial: Vec<u8>,
    /// When it was revoked.
    pub at: UnixTime,
    /// In the operator's words; a reason code of RFC 5280 §5.3.1 where it is one's name (`keyCompromise`).
    pub reason: String,
}

/// A list that was just signed.
#[derive(Debug, Clone)]
pub struct RevocationList {
    /// ASN.1 DER.
    pub der: Vec<u8>,
    /// The same, PEM.
    pub pem: String,
    /// From when on it counts: like a certificate's, [`BACKDATE`](crate::BACKDATE) ago, for clocks that are behind ours.
    pub this_update: UnixTime,
    /// When the next one is due at the latest.
    pub next_update: UnixTime,
}

impl Authority {
    /// Signs a list of certificates that were revoked and have not expired. Verifiers want one of each authority whose certificates
    /// they meet, whether it names any of those or not. `number` must never go down.
    pub fn revocation_list(
        &self,
        revoked: &[RevokedSerial],
        number: u64,
        now: UnixTime,
        life: Duration,
    ) -> Result<RevocationList, IssueError> {
        if now < self.not_before() || now >= self.not_after() {
            return Err(IssueError::RootNotValid);
        }
        let (this_update, next_update) = (self.begins(now), later(now, life));
        let entry = |entry: &RevokedSerial| {
            Ok(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&entry.serial),
                revocation_time: date(entry.at).ok_or(IssueError::Time)?,
                reason_code: code(&entry.reason),
                invalidity_date: None,
            })
        };
        let list = CertificateRevocationListParams {
            this_update: date(this_update).ok_or(IssueError::Time)?,
            next_update: date(next_update).ok_or(IssueError::Time)?,
            crl_number: SerialNumber::from_slice(&number.to_be_bytes()),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect::<Result<_, IssueError>>()?,
            key_identifier_method: KeyIdMethod::PreSpecified(self.key_id().as_bytes().to_vec()),
        };
        let list = list.signed_by(self.issuer()).map_err(IssueError::Sign)?;
        Ok(RevocationList {
            der: list.der().to_vec(),
            pem: list.pem().map_err(|error: Error| IssueError::Sign(error))?,
            this_update,
            next_update,
        })
    }
}

/// The code whose name (RFC 5280 §5.3.1) the reason is, in any case and with or without hyphens.
fn code(reason: &str) -> Option<RevocationReason> {
    let plain: String = reason
        .chars()
        .filter(|character| !matches!(character, '-' | '_' | ' '))
        .collect();
    match plain.to_ascii_lowercase().as_str() {
        "keycompromise" => Some(RevocationReason::KeyCompromise),
        "cacompromise" => Some(RevocationReason::CaCompromise),
        "affiliationchanged" => Some(RevocationReason::AffiliationChanged),
        "superseded" => Some(RevocationReason::Superseded),
        "cessationofoperation" => Some(RevocationReason::CessationOfOperation),
        "privilegewithdrawn" => Some(RevocationReason::PrivilegeWithdrawn),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_is_a_code_s_name_becomes_the_code_and_any_other_stays_words() {
        for name in ["keyCompromise", "key-compromise", "Key compromise"] {
            assert_eq!(code(name), Some(RevocationReason::KeyCompromise));
        }
        assert_eq!(code("the laptop was stolen"), None);
    }
}
