//! Our types as wire types.

use std::time::Duration;

use signet_authority::{IssuedSvid, IssuedToken};
use signet_proto::ca::v1::{JwtSvid, Svid};
use signet_proto::view::v1::{
    Cluster, EncryptionMode, ForeignBundle as WireForeignBundle, Identity as WireIdentity, Node as WireNode,
    Registration as WireRegistration, Revocation as WireRevocation, TrustBundle, Update, revocation::Subject,
};
use signet_registry::{Changes, Encryption, ForeignBundle, Identity, Node, Registration, Revocation, Target};

use crate::clock::unix_seconds;

pub(crate) fn svid(svid: &IssuedSvid) -> Svid {
    Svid {
        spiffe_id: svid.id.to_string(),
        chain: svid
            .chain
            .iter()
            .map(|certificate| certificate.to_vec())
            .collect(),
        not_after: unix_seconds(svid.not_after),
    }
}

pub(crate) fn jwt_svid(svid: &IssuedToken) -> JwtSvid {
    JwtSvid {
        spiffe_id: svid.id.to_string(),
        token: svid.token.to_string(),
        expires: unix_seconds(svid.expires),
    }
}

pub(crate) fn node(node: &Node) -> WireNode {
    WireNode {
        name: node.name.to_string(),
        id: node.number.0.into(),
        addresses: node.addresses.iter().map(ToString::to_string).collect(),
        session_port: node.session_port.into(),
        pod_cidrs: node.pod_cidrs.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn identity(identity: &Identity) -> WireIdentity {
    WireIdentity {
        spiffe_id: identity.spiffe_id.to_string(),
        number: identity.number,
        nodes: identity.nodes.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn registration(registration: &Registration) -> WireRegistration {
    WireRegistration {
        id: registration.id.to_string(),
        spiffe_id: registration.spiffe_id.to_string(),
        node: registration.node.to_string(),
        selectors: registration.selectors.iter().map(ToString::to_string).collect(),
        identity: registration.identity,
        ttl: registration.ttl,
        federates_with: registration
            .federates_with
            .iter()
            .map(ToString::to_string)
            .collect(),
        hint: registration
            .terms
            .hint
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        dns_names: registration
            .terms
            .dns_names
            .iter()
            .map(ToString::to_string)
            .collect(),
        key_type: registration.terms.key_type.to_string(),
        jwt_ttl: registration.terms.jwt_ttl,
        role: registration.role.map(|role| role.to_string()).unwrap_or_default(),
        ordinal: registration.ordinal,
        downstream: registration.terms.downstream,
    }
}

pub(crate) fn cluster(encryption: Encryption, availability_target: Duration) -> Cluster {
    let mode = match encryption {
        Encryption::Off => EncryptionMode::Off,
        Encryption::WireGuard => EncryptionMode::Wireguard,
    };
    Cluster {
        encryption: mode.into(),
        availability_target: whole_seconds(availability_target),
    }
}

/// Of a time span that is at most some days.
pub(crate) fn whole_seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}

/// `None` for a mode that is not one.
pub(crate) fn encryption(mode: i32) -> Option<Encryption> {
    match EncryptionMode::try_from(mode) {
        Ok(EncryptionMode::Off) => Some(Encryption::Off),
        Ok(EncryptionMode::Wireguard) => Some(Encryption::WireGuard),
        Ok(EncryptionMode::Unspecified) | Err(_) => None,
    }
}

pub(crate) fn revocation(revocation: &Revocation) -> WireRevocation {
    let subject = match &revocation.target {
        Target::Serial(serial) => Subject::Serial(serial.as_bytes().to_vec()),
        Target::Id(id) => Subject::SpiffeId(id.to_string()),
        Target::Node(name) => Subject::Node(name.to_string()),
        Target::Authority(key) => Subject::Authority(key.as_bytes().to_vec()),
    };
    WireRevocation {
        id: revocation.target.to_string(),
        subject: Some(subject),
        not_before: unix_seconds(revocation.cut),
        reason: revocation.reason.clone(),
        at: unix_seconds(revocation.at),
        until: unix_seconds(revocation.until),
        closed: revocation.closed,
        banned: revocation.banned,
        version: revocation.version,
        owner: revocation
            .owner
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        node_id: revocation.node_number.map_or(0, |number| number.0.into()),
    }
}

fn foreign(bundle: &ForeignBundle) -> WireForeignBundle {
    WireForeignBundle {
        trust_domain: bundle.trust_domain.to_string(),
        document: bundle.document.clone(),
    }
}

/// All of an update that is not of one node.
pub(crate) fn shared_update(changes: &Changes, trust_bundle: &TrustBundle) -> Update {
    Update {
        revision: changes.revision.0,
        nodes: changes.nodes.iter().map(node).collect(),
        removed_nodes: changes.removed_nodes.iter().map(ToString::to_string).collect(),
        identities: changes.identities.iter().map(identity).collect(),
        removed_identities: changes
            .removed_identities
            .iter()
            .map(ToString::to_string)
            .collect(),
        bundle: changes.bundle.then(|| trust_bundle.clone()),
        cluster: changes
            .encryption
            .map(|mode| cluster(mode, changes.availability_target.unwrap_or_default())),
        revocations: changes.revocations.iter().map(revocation).collect(),
        foreign_bundles: changes.foreign.iter().map(foreign).collect(),
        removed_foreign_bundles: changes.removed_foreign.iter().map(ToString::to_string).collect(),
        mark: changes.mark.as_bytes().to_vec(),
        ..Update::default()
    }
}
