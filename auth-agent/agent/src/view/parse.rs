//! From wire types to valid ones.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use signet_abi::SecurityIdentity;
use signet_attest::RequiredSelectors;
use signet_proto::view::v1 as wire;
use signet_session::NodeNumber;
use signet_spiffe::{
    BundleSet, CertificateDer, JwtBundle, JwtBundleSet, NodeName, SpiffeId, TrustDomain, WitBundle,
    WitBundleSet, X509Bundle,
};

use super::error::ViewError;
use super::state::{CertificateTerms, Encryption, Identity, Node, Registration};

pub(super) fn node_name(name: &str) -> Result<NodeName, ViewError> {
    NodeName::parse(name).map_err(|source| ViewError::NodeName {
        name: name.to_owned(),
        source,
    })
}

pub(super) fn spiffe_id(text: &str) -> Result<SpiffeId, ViewError> {
    SpiffeId::parse(text).map_err(|source| ViewError::SpiffeId {
        text: text.to_owned(),
        source,
    })
}

pub(super) fn trust_domain(name: &str) -> Result<TrustDomain, ViewError> {
    TrustDomain::parse(name).map_err(|source| ViewError::TrustDomain {
        name: name.to_owned(),
        source,
    })
}

pub(super) fn node(node: &wire::Node) -> Result<Node, ViewError> {
    let range = |what| ViewError::Range {
        what,
        name: node.name.clone(),
    };
    let address = |text: &String| {
        let invalid = |_| ViewError::Address {
            address: text.clone(),
            node: node.name.clone(),
        };
        text.parse::<IpAddr>().map_err(invalid)
    };
    Ok(Node {
        name: node_name(&node.name)?,
        number: NodeNumber::new(node.id).ok_or_else(|| range("node number"))?,
        addresses: node.addresses.iter().map(address).collect::<Result<_, _>>()?,
        session_port: u16::try_from(node.session_port).map_err(|_| range("session port"))?,
        pod_cidrs: node.pod_cidrs.clone(),
    })
}

pub(super) fn node_to_wire(node: &Node) -> wire::Node {
    wire::Node {
        name: node.name.to_string(),
        id: node.number.get(),
        addresses: node.addresses.iter().map(ToString::to_string).collect(),
        session_port: node.session_port.into(),
        pod_cidrs: node.pod_cidrs.clone(),
    }
}

pub(super) fn identity(identity: &wire::Identity) -> Result<(SpiffeId, Identity), ViewError> {
    let known = Identity {
        number: workload_number(identity.number, &identity.spiffe_id)?,
        nodes: identity
            .nodes
            .iter()
            .map(|name| node_name(name))
            .collect::<Result<_, _>>()?,
    };
    Ok((spiffe_id(&identity.spiffe_id)?, known))
}

pub(super) fn registration(registration: &wire::Registration) -> Result<Registration, ViewError> {
    let selectors =
        RequiredSelectors::parse(&registration.selectors).map_err(|source| ViewError::Selectors {
            id: registration.id.clone(),
            source,
        })?;
    Ok(Registration {
        id: registration.id.clone(),
        spiffe_id: spiffe_id(&registration.spiffe_id)?,
        identity: workload_number(registration.identity, &registration.spiffe_id)?,
        selectors,
        federates_with: registration
            .federates_with
            .iter()
            .map(|name| trust_domain(name))
            .collect::<Result<_, _>>()?,
        hint: term(&registration.id, &registration.hint)?,
        certificates: CertificateTerms {
            key_type: term(&registration.id, &registration.key_type)?.unwrap_or_default(),
            dns_names: registration
                .dns_names
                .iter()
                .filter_map(|name| term(&registration.id, name).transpose())
                .collect::<Result<_, _>>()?,
            ttl: registration.ttl,
        },
        jwt_ttl: registration.jwt_ttl,
        ordinal: registration.ordinal,
    })
}

/// Without the role, and whether it may run a CA: that is the CA's business alone.
pub(super) fn registration_to_wire(registration: &Registration, node: &NodeName) -> wire::Registration {
    let certificates = &registration.certificates;
    wire::Registration {
        id: registration.id.clone(),
        spiffe_id: registration.spiffe_id.to_string(),
        node: node.to_string(),
        selectors: texts(registration.selectors.iter()),
        identity: registration.identity.0,
        ttl: certificates.ttl,
        federates_with: texts(&registration.federates_with),
        hint: registration
            .hint
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        dns_names: texts(&certificates.dns_names),
        key_type: certificates.key_type.to_string(),
        jwt_ttl: registration.jwt_ttl,
        role: String::new(),
        ordinal: registration.ordinal,
        downstream: false,
    }
}

fn texts<T: Display>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    values.into_iter().map(|value| value.to_string()).collect()
}

/// What a registration says in words; an empty text says nothing.
fn term<T: FromStr<Err: Display>>(id: &str, text: &str) -> Result<Option<T>, ViewError> {
    let unreadable = |error: T::Err| ViewError::Terms {
        id: id.to_owned(),
        why: error.to_string(),
    };
    (!text.is_empty())
        .then(|| text.parse().map_err(unreadable))
        .transpose()
}

pub(super) fn bundles(
    trust_domain: &TrustDomain,
    bundle: &wire::TrustBundle,
) -> Result<BundleSet, ViewError> {
    if bundle.trust_domain != trust_domain.as_str() {
        return Err(ViewError::OtherTrustDomain(bundle.trust_domain.clone()));
    }
    let authorities = bundle
        .x509_authorities
        .iter()
        .cloned()
        .map(CertificateDer::from)
        .collect();
    Ok(BundleSet::single(X509Bundle::new(
        trust_domain.clone(),
        authorities,
    )?))
}

/// A CA that has no JWT keys sends none: then there are no JWT-SVIDs.
pub(super) fn jwt_bundles(
    trust_domain: &TrustDomain,
    bundle: &wire::TrustBundle,
) -> Result<JwtBundleSet, ViewError> {
    let keys = if bundle.jwt_keys.is_empty() {
        JwtBundle::empty(trust_domain.clone())
    } else {
        let text = std::str::from_utf8(&bundle.jwt_keys).map_err(|_| ViewError::JwtKeysText)?;
        JwtBundle::from_jwks(trust_domain.clone(), text)?
    };
    Ok(JwtBundleSet::single(keys))
}

/// In most trust domains there are no WIT keys, and so no WIT-SVIDs.
pub(super) fn wit_bundles(
    trust_domain: &TrustDomain,
    bundle: &wire::TrustBundle,
) -> Result<WitBundleSet, ViewError> {
    let keys = if bundle.wit_keys.is_empty() {
        WitBundle::empty(trust_domain.clone())
    } else {
        let text = std::str::from_utf8(&bundle.wit_keys).map_err(|_| ViewError::JwtKeysText)?;
        WitBundle::from_jwks(trust_domain.clone(), text)?
    };
    Ok(WitBundleSet::single(keys))
}

/// A mode that this version does not know is `Off`: it cannot encrypt in a way that it does not have.
pub(super) fn encryption(cluster: wire::Cluster) -> Encryption {
    match cluster.encryption() {
        wire::EncryptionMode::Wireguard => Encryption::WireGuard,
        wire::EncryptionMode::Off | wire::EncryptionMode::Unspecified => Encryption::Off,
    }
}

pub(super) fn availability_target(cluster: wire::Cluster) -> Duration {
    Duration::from_secs(cluster.availability_target.into())
}

/// Reserved numbers belong to no SPIFFE ID: a proof for one would open more than it should.
fn workload_number(number: u32, name: &str) -> Result<SecurityIdentity, ViewError> {
    let number = SecurityIdentity(number);
    if number.is_workload() {
        Ok(number)
    } else {
        Err(ViewError::Range {
            what: "security identity",
            name: name.to_owned(),
        })
    }
}
