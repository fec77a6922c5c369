//! What SPIFFE's rules need to know of one certificate, read strictly.

use rustls_pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use x509_parser::prelude::{
    ExtendedKeyUsage, FromDer, GeneralName, KeyUsage, ParsedExtension, SubjectAlternativeName,
    X509Certificate, X509Version,
};

use crate::id::{IdError, SpiffeId};

/// Why a certificate could not be read. All of these blame whoever made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not DER, bytes after its end, or not version 3.
    #[error("is not one well-formed X.509 version 3 certificate")]
    Malformed,
    /// The same extension twice (RFC 5280 §4.2).
    #[error("has an extension twice")]
    DuplicateExtension,
    /// An extension that matters here and cannot be read.
    #[error("has an extension that cannot be read")]
    MalformedExtension,
    /// Validity before 1970.
    #[error("has a validity that cannot be read")]
    Validity,
}

/// The facts of one certificate.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) ca: bool,
    pub(crate) key_usage: Option<(Critical, KeyUsage)>,
    pub(crate) extended: Option<Extended>,
    /// URI SANs in order.
    pub(crate) uris: Vec<&'a str>,
    pub(crate) san_critical: Critical,
    pub(crate) subject_empty: bool,
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
    /// Big-endian, as encoded.
    pub(crate) serial: &'a [u8],
    /// Subject key identifier.
    pub(crate) key_id: Option<&'a [u8]>,
}

/// Whether an extension is marked critical.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Critical(pub(crate) bool);

/// The extended key usages that SPIFFE speaks of (X509-SVID §4.4).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extended {
    pub(crate) server_auth: bool,
    pub(crate) client_auth: bool,
}

impl<'a> Facts<'a> {
    pub(crate) fn read(certificate: &'a CertificateDer<'_>) -> Result<Self, CertificateError> {
        let Ok(([], parsed)) = X509Certificate::from_der(certificate.as_ref()) else {
            return Err(CertificateError::Malformed);
        };
        if parsed.version() != X509Version::V3 {
            return Err(CertificateError::Malformed);
        }
        let mut facts = Self {
            ca: false,
            key_usage: None,
            extended: None,
            uris: Vec::new(),
            san_critical: Critical(false),
            subject_empty: parsed.subject().iter_rdn().next().is_none(),
            not_before: unix_time(parsed.validity().not_before.timestamp())?,
            not_after: unix_time(parsed.validity().not_after.timestamp())?,
            serial: parsed.raw_serial(),
            key_id: None,
        };
        facts.read_extensions(&parsed)?;
        Ok(facts)
    }

    fn read_extensions(&mut self, parsed: &X509Certificate<'a>) -> Result<(), CertificateError> {
        parsed
            .extensions_map()
            .map_err(|_| CertificateError::DuplicateExtension)?;
        for extension in parsed.iter_extensions() {
            let critical = Critical(extension.critical);
            let value = extension.parsed_extension();
            if let ParsedExtension::BasicConstraints(constraints) = value {
                self.ca = constraints.ca;
            } else if let ParsedExtension::KeyUsage(usage) = value {
                self.key_usage = Some((critical, *usage));
            } else if let ParsedExtension::ExtendedKeyUsage(usage) = value {
                self.extended = Some(extended(usage));
            } else if let ParsedExtension::SubjectAlternativeName(names) = value {
                self.uris = uris(names)?;
                self.san_critical = critical;
            } else if let ParsedExtension::SubjectKeyIdentifier(key) = value {
                self.key_id = Some(key.0);
            } else if let ParsedExtension::ParseError { .. } = value {
                return Err(CertificateError::MalformedExtension);
            }
        }
        Ok(())
    }

    /// The one SPIFFE ID of the certificate; `None` where it has no URI SAN.
    pub(crate) fn spiffe_id(&self) -> Result<Option<SpiffeId>, UriError> {
        match self.uris.as_slice() {
            [] => Ok(None),
            [uri] => Ok(Some(SpiffeId::parse(uri)?)),
            uris => Err(UriError::Several { count: uris.len() }),
        }
    }
}

/// Why the URI SANs are not one SPIFFE ID.
#[derive(Debug)]
pub(crate) enum UriError {
    Several { count: usize },
    NotSpiffe(IdError),
}

impl From<IdError> for UriError {
    fn from(error: IdError) -> Self {
        Self::NotSpiffe(error)
    }
}

fn extended(usage: &ExtendedKeyUsage<'_>) -> Extended {
    Extended {
        server_auth: usage.server_auth,
        client_auth: usage.client_auth,
    }
}

/// A name that cannot be read could be a second URI: it spoils the whole extension.
fn uris<'a>(names: &SubjectAlternativeName<'a>) -> Result<Vec<&'a str>, CertificateError> {
    let mut uris = Vec::new();
    for name in &names.general_names {
        if let GeneralName::URI(uri) = name {
            uris.push(*uri);
        } else if let GeneralName::Invalid(..) = name {
            return Err(CertificateError::MalformedExtension);
        }
    }
    Ok(uris)
}

fn unix_time(seconds: i64) -> Result<UnixTime, CertificateError> {
    let seconds = u64::try_from(seconds).map_err(|_| CertificateError::Validity)?;
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}
