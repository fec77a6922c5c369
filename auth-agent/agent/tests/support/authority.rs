//! Who signs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use signet_agent::ca::{CaAddresses, NodeAccess, NodeIdentity, channel};
use signet_spiffe::{BundleSet, NodeName, SpiffeId, TrustDomain, UnixTime, X509Bundle};
use signet_tls::{FixedBundles, SvidKeyPair, peer_svid};

use super::node_name;

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) root: CertificateDer<'static>,
    /// Between the leaves and the root.
    above: Vec<CertificateDer<'static>>,
    pub(crate) domain: TrustDomain,
}

impl Authority {
    /// The authority of a CA below this one, in the same trust domain.
    pub(crate) fn below(&self) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority below");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(&key, &self.issuer).expect("an authority");
        Self {
            above: vec![signed.der().clone()],
            issuer: Issuer::new(params, key),
            root: self.root.clone(),
            domain: self.domain.clone(),
        }
    }

    /// What signs the leaves, as a view names it.
    pub(crate) fn signer(&self) -> String {
        let pair = self.issue(&SpiffeId::node(&self.domain, &node_name(1)));
        let svid = peer_svid(Some(&pair.chain), &self.bundles(), UnixTime::now()).expect("valid");
        svid.signer().expect("has one").to_string()
    }

    pub(crate) fn new(domain: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "test root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(&format!("spiffe://{domain}"))];
        let root = params.self_signed(&key).expect("a root").der().clone();
        let domain = TrustDomain::parse(domain).expect("valid");
        Self {
            issuer: Issuer::new(params, key),
            root,
            above: Vec::new(),
            domain,
        }
    }

    pub(crate) fn bundles(&self) -> BundleSet {
        let bundle = X509Bundle::new(self.domain.clone(), vec![self.root.clone()]);
        BundleSet::single(bundle.expect("a bundle"))
    }

    pub(crate) fn issue(&self, id: &SpiffeId) -> SvidKeyPair {
        let now = SystemTime::now();
        self.issue_for(id, now - Duration::from_mins(1), now + Duration::from_hours(1))
    }

    pub(crate) fn issue_for(
        &self,
        id: &SpiffeId,
        not_before: SystemTime,
        not_after: SystemTime,
    ) -> SvidKeyPair {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.subject_alt_names = vec![uri(id.as_str())];
        params.not_before = not_before.into();
        params.not_after = not_after.into();
        let leaf = params
            .signed_by(&key, &self.issuer)
            .expect("a leaf")
            .der()
            .clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        SvidKeyPair {
            chain: std::iter::once(leaf).chain(self.above.iter().cloned()).collect(),
            key,
        }
    }

    pub(crate) fn access(&self, name: &NodeName) -> Arc<NodeAccess> {
        let bundles = Arc::new(FixedBundles::new(self.bundles()));
        // Nobody calls the CA in these tests.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let channel = channel(
            &CaAddresses::new(&[nowhere], 0),
            None,
            bundles,
            &self.domain,
            None,
        )
        .expect("a channel");
        Arc::new(NodeAccess {
            identity: self.identity(name),
            channel,
        })
    }

    pub(crate) fn identity(&self, name: &NodeName) -> NodeIdentity {
        let pair = self.issue(&SpiffeId::node(&self.domain, name));
        let identity = NodeIdentity::new(pair, &self.domain, name, &self.bundles(), UnixTime::now());
        identity.expect("its own")
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("IA5"))
}
