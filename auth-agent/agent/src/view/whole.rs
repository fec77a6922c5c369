//! A view as an update that makes it anew: for an agent's next life.

use signet_proto::view::v1 as wire;

use super::parse;
use super::state::View;

impl View {
    /// Everything that this node has been told, as a snapshot: what [`View::from_snapshot`] turns into the same view.
    pub fn whole(&self) -> wire::Update {
        wire::Update {
            registrations: self
                .registrations
                .values()
                .map(|registration| parse::registration_to_wire(registration, &self.self_name))
                .collect(),
            foreign_bundles: self.foreign_documents.values().cloned().collect(),
            revocations: self.revocations.rows().cloned().collect(),
            mark: self.position.mark.clone(),
            ..self.snapshot()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};
    use signet_spiffe::{NodeName, TrustDomain};

    use super::*;

    fn authority() -> Vec<u8> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.self_signed(&key).expect("a root").der().to_vec()
    }

    #[test]
    fn a_view_made_anew_is_the_same_to_the_last_field() {
        let own = NodeName::parse("n1").expect("valid");
        let domain = TrustDomain::parse("t.example").expect("valid");
        let update = wire::Update {
            revision: 7,
            snapshot: true,
            nodes: vec![wire::Node {
                name: "n1".to_owned(),
                id: 1,
                addresses: vec!["192.0.2.1".to_owned()],
                session_port: 4250,
                pod_cidrs: vec!["10.0.0.0/24".to_owned()],
            }],
            identities: vec![wire::Identity {
                spiffe_id: "spiffe://t.example/a".to_owned(),
                number: 256,
                nodes: vec!["n1".to_owned()],
            }],
            registrations: vec![wire::Registration {
                id: "one".to_owned(),
                spiffe_id: "spiffe://t.example/a".to_owned(),
                node: "n1".to_owned(),
                selectors: vec!["unix:uid:1".to_owned(), "unix:gid:2".to_owned()],
                identity: 256,
                ttl: 60,
                federates_with: vec!["u.example".to_owned()],
                hint: "outside".to_owned(),
                dns_names: vec!["a.example".to_owned()],
                key_type: "p384".to_owned(),
                jwt_ttl: 30,
                role: String::new(),
                ordinal: 3,
                downstream: false,
            }],
            bundle: Some(wire::TrustBundle {
                trust_domain: "t.example".to_owned(),
                x509_authorities: vec![authority()],
                sequence: 2,
                tainted_x509: vec!["ab".to_owned()],
                mark: "m".to_owned(),
                ..wire::TrustBundle::default()
            }),
            cluster: Some(wire::Cluster {
                encryption: wire::EncryptionMode::Wireguard.into(),
                availability_target: 9,
            }),
            self_node: "n1".to_owned(),
            foreign_bundles: vec![wire::ForeignBundle {
                trust_domain: "u.example".to_owned(),
                document: r#"{"keys":[]}"#.to_owned(),
            }],
            mark: vec![5; 16],
            ..wire::Update::default()
        };
        let view = View::from_snapshot(&own, &domain, &Arc::default(), &update).expect("a view");
        assert_eq!(view.whole(), update);
        let again = View::from_snapshot(&own, &domain, &Arc::default(), &view.whole()).expect("the same");
        assert_eq!(again.whole(), update);
    }
}
