use anyhow::{Context as _, bail};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// What is shown of a certificate. It has been verified before, by the library under test.
pub(crate) struct Certificate {
    pub(crate) id: String,
    pub(crate) serial: String,
}

impl Certificate {
    pub(crate) fn parse(der: &[u8]) -> anyhow::Result<Self> {
        let (_, certificate) = X509Certificate::from_der(der)?;
        let names = certificate.subject_alternative_name()?.context("no SAN")?;
        let [GeneralName::URI(id)] = names.value.general_names.as_slice() else {
            bail!("the SAN is not one URI");
        };
        Ok(Self {
            id: (*id).to_owned(),
            serial: certificate.serial.to_str_radix(16),
        })
    }
}
