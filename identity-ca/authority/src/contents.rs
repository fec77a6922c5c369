//! What a leaf says, beside key and validity.

use rcgen::SanType;
use signet_spiffe::{DnsName, SpiffeId};

/// What a leaf says of its holder. The CA decides it; nothing of it comes from a certificate request.
#[derive(Debug, Clone, Copy)]
pub struct LeafContents<'a> {
    /// Whose it is: the one URI SAN (X509-SVID §2).
    pub id: &'a SpiffeId,
    /// Hosts that it may speak for: dNSName SANs, after the URI (X509-SVID §3.1 lets other SANs stand beside it).
    pub dns_names: &'a [DnsName],
}

impl<'a> From<&'a SpiffeId> for LeafContents<'a> {
    fn from(id: &'a SpiffeId) -> Self {
        Self { id, dns_names: &[] }
    }
}

impl LeafContents<'_> {
    /// The SANs, the URI first.
    pub(crate) fn names(&self) -> Result<Vec<SanType>, rcgen::Error> {
        let uri = SanType::URI(self.id.as_str().try_into()?);
        let dns = self
            .dns_names
            .iter()
            .map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)));
        std::iter::once(Ok(uri)).chain(dns).collect()
    }
}
