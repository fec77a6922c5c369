//! Real rustls handshakes in memory, good and bad.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot make its certificate has failed"
)]

mod maker;
mod wire;

use std::sync::Arc;

use rustls::pki_types::DnsName;
use rustls::{ClientConfig, Error, NamedGroup, PeerIncompatible, ProtocolVersion, RootCertStore};
use signet_spiffe::{BundleSet, SvidError, X509Bundle};
use signet_tls::{
    BundleSource, ClientAuth, Expect, FixedBundles, FixedSigners, PeerError, SharedBundles, TlsError,
    client_config, client_config_for, in_words, peer_error, peer_svid, server_config, server_config_with,
    signer_name,
};

use crate::maker::{Authority, domain, id, now};
use crate::wire::{Outcome, handshake, handshake_with};

const NODE: &str = "spiffe://td/signet/node/n1";
const CA: &str = "spiffe://td/signet/ca";
const WEB: &str = "spiffe://td/ns/shop/sa/web";

/// Two parties of the trust domain `td`, as expected by one another unless a test changes something.
struct Parties {
    authority: Authority,
    client: ClientConfig,
    server: rustls::ServerConfig,
}

impl Parties {
    fn new() -> Self {
        Self::with_client(NODE, Expect::Exactly(id(CA)))
    }

    fn with_client(client_id: &str, expect: Expect) -> Self {
        let authority = Authority::new("td");
        let client = client_config(Some(&authority.svid(client_id)), authority.source(), expect).unwrap();
        let server = server_config(
            &authority.svid(CA),
            authority.source(),
            Expect::AnyNode(domain("td")),
            ClientAuth::Required,
        )
        .unwrap();
        Self {
            authority,
            client,
            server,
        }
    }

    fn handshake(self) -> Outcome {
        handshake(self.client, self.server)
    }
}

fn reason(error: &Error) -> PeerError {
    peer_error(error)
        .unwrap_or_else(|| panic!("not our verifier's: {error}"))
        .clone()
}

#[test]
fn two_expected_parties_agree_on_tls_1_3_with_the_hybrid_group() {
    let parties = Parties::new();
    let bundles = parties.authority.bundles();
    let (client, server) = parties.handshake().unwrap();
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    for group in [
        client.negotiated_key_exchange_group().unwrap().name(),
        server.negotiated_key_exchange_group().unwrap().name(),
    ] {
        assert_eq!(group, NamedGroup::X25519MLKEM768);
    }
    let svid = peer_svid(server.peer_certificates(), &bundles, now()).unwrap();
    assert_eq!(svid.id(), &id(NODE));
    let svid = peer_svid(client.peer_certificates(), &bundles, now()).unwrap();
    assert_eq!(svid.id(), &id(CA));
}

#[test]
fn no_ticket_is_sent_so_nothing_can_be_resumed() {
    let (client, server) = Parties::new().handshake().unwrap();
    assert_eq!(client.tls13_tickets_received(), 0);
    assert_eq!(server.handshake_kind(), Some(rustls::HandshakeKind::Full));
}

#[test]
fn the_client_refuses_a_server_with_another_id() {
    let refused = Parties::with_client(NODE, Expect::Exactly(id("spiffe://td/signet/other"))).handshake();
    let PeerError::Unexpected { found, .. } = reason(&refused.unwrap_err().client.unwrap()) else {
        panic!()
    };
    assert_eq!(found, id(CA));
}

#[test]
fn the_client_refuses_a_server_that_another_authority_of_the_trust_domain_signed() {
    let (ours, other) = (Authority::new("td"), Authority::new("td"));
    let both = [&ours, &other].map(|one| one.bundle().authorities()[0].clone());
    let both = X509Bundle::new(domain("td"), both.to_vec()).unwrap();
    let both: Arc<dyn BundleSource> = Arc::new(FixedBundles::new(BundleSet::single(both)));
    let ours_alone = FixedSigners::new(ours.bundle().key_ids().cloned());
    let connect = |signed_by: &Authority| {
        let client = client_config_for(
            Some(&ours.svid(NODE)),
            both.clone(),
            Expect::Exactly(id(CA)),
            Arc::new(ours_alone.clone()),
        );
        let server = server_config(
            &signed_by.svid(CA),
            both.clone(),
            Expect::AnyNode(domain("td")),
            ClientAuth::Required,
        );
        handshake(client.unwrap(), server.unwrap())
    };
    connect(&ours).unwrap();
    let refused = connect(&other).unwrap_err().client.unwrap();
    assert_eq!(reason(&refused), PeerError::Signer { found: id(CA) });
    let told = in_words(std::io::Error::other(refused)).to_string();
    assert_eq!(told, PeerError::Signer { found: id(CA) }.to_string());
}

#[test]
fn a_server_shows_the_svid_by_the_authority_that_it_is_asked_for_if_it_has_one() {
    let [present, former, other] = [(); 3].map(|()| Authority::new("td"));
    let all = [&present, &former, &other].map(|one| one.bundle().authorities()[0].clone());
    let all: Arc<dyn BundleSource> = Arc::new(FixedBundles::new(BundleSet::single(
        X509Bundle::new(domain("td"), all.to_vec()).unwrap(),
    )));
    let key = |of: &Authority| of.bundle().key_ids().next().unwrap().clone();
    let shown = |name: DnsName<'static>| {
        let client = client_config(Some(&former.svid(NODE)), all.clone(), Expect::Exactly(id(CA)));
        let server = server_config_with(
            &present.svid(CA),
            &[(key(&former), former.svid(CA))],
            all.clone(),
            Expect::AnyNode(domain("td")),
            ClientAuth::Required,
        );
        let (client, _) = handshake_with(name, client.unwrap(), server.unwrap()).unwrap();
        let svid = peer_svid(client.peer_certificates(), &all.bundles(), now()).unwrap();
        svid.signer().unwrap().clone()
    };
    assert_eq!(shown(signer_name(&key(&former)).unwrap()), key(&former));
    for by_default in [signer_name(&key(&present)), signer_name(&key(&other))] {
        assert_eq!(shown(by_default.unwrap()), key(&present));
    }
    assert_eq!(shown("ca.invalid".try_into().unwrap()), key(&present));
}

#[test]
fn the_server_refuses_a_workload_where_a_node_is_expected() {
    let refused = Parties::with_client(WEB, Expect::Exactly(id(CA))).handshake();
    let PeerError::Unexpected { found, expected } = reason(&refused.unwrap_err().server.unwrap()) else {
        panic!()
    };
    assert_eq!((found, expected.as_str()), (id(WEB), "a node of td"));
}

#[test]
fn a_client_of_a_foreign_trust_domain_is_refused() {
    let (mut parties, foreign) = (Parties::new(), Authority::new("other"));
    let stranger = foreign.svid("spiffe://other/signet/node/n1");
    parties.client = client_config(
        Some(&stranger),
        parties.authority.source(),
        Expect::Exactly(id(CA)),
    )
    .unwrap();
    let refused = parties.handshake().unwrap_err();
    let expected = SvidError::UntrustedDomain {
        id: id("spiffe://other/signet/node/n1"),
    };
    assert_eq!(reason(&refused.server.unwrap()), PeerError::Svid(expected));
}

#[test]
fn a_client_that_forged_our_trust_domain_is_refused() {
    let (mut parties, forger) = (Parties::new(), Authority::new("td"));
    let source = parties.authority.source();
    parties.client = client_config(Some(&forger.svid(NODE)), source, Expect::Exactly(id(CA))).unwrap();
    let error = parties.handshake().unwrap_err().server.unwrap();
    assert!(
        matches!(reason(&error), PeerError::Svid(SvidError::Path { .. })),
        "{error}"
    );
}

#[test]
fn a_trusted_foreign_domain_still_is_not_ours() {
    let ours = Authority::new("td");
    let foreign = Authority::new("other");
    let mut bundles = BundleSet::clone(&ours.bundles());
    bundles.insert(foreign.bundle());
    let source = Arc::new(FixedBundles::new(bundles));
    let stranger = foreign.svid("spiffe://other/signet/node/n1");
    let client = client_config(Some(&stranger), source.clone(), Expect::Exactly(id(CA))).unwrap();
    let node = Expect::AnyNode(domain("td"));
    let server = server_config(&ours.svid(CA), source, node, ClientAuth::Required).unwrap();
    let error = handshake(client, server).unwrap_err().server.unwrap();
    assert!(matches!(reason(&error), PeerError::Unexpected { .. }), "{error}");
}

#[test]
fn an_expired_certificate_is_refused_and_the_peer_is_told_so() {
    let mut parties = Parties::new();
    let expired = parties.authority.expired_svid(NODE);
    parties.client = client_config(
        Some(&expired),
        parties.authority.source(),
        Expect::Exactly(id(CA)),
    )
    .unwrap();
    let refused = parties.handshake().unwrap_err();
    let server = refused.server.unwrap();
    assert!(
        matches!(
            &server,
            Error::InvalidCertificate(rustls::CertificateError::ExpiredContext { .. })
        ),
        "{server}"
    );
    assert_eq!(
        refused.client,
        Some(Error::AlertReceived(rustls::AlertDescription::CertificateExpired))
    );
}

#[test]
fn a_client_without_certificate_gets_in_only_where_that_is_optional() {
    for (client_auth, admitted) in [(ClientAuth::Required, false), (ClientAuth::Optional, true)] {
        let authority = Authority::new("td");
        let client = client_config(None, authority.source(), Expect::Exactly(id(CA))).unwrap();
        let node = Expect::AnyNode(domain("td"));
        let server = server_config(&authority.svid(CA), authority.source(), node, client_auth).unwrap();
        match handshake(client, server) {
            Ok((_, server)) => {
                assert!(admitted, "a client without certificate got in");
                let nobody = peer_svid(server.peer_certificates(), &authority.bundles(), now());
                assert_eq!(nobody, Err(PeerError::NoCertificate));
            }
            Err(refused) => {
                assert!(!admitted, "refused: {refused:?}");
                assert_eq!(refused.server, Some(Error::NoCertificatesPresented));
            }
        }
    }
}

#[test]
fn a_bad_certificate_is_refused_even_where_none_is_needed() {
    let authority = Authority::new("td");
    let forged = Authority::new("td").svid(NODE);
    let client = client_config(Some(&forged), authority.source(), Expect::Exactly(id(CA))).unwrap();
    let node = Expect::AnyNode(domain("td"));
    let server = server_config(
        &authority.svid(CA),
        authority.source(),
        node,
        ClientAuth::Optional,
    )
    .unwrap();
    let error = handshake(client, server).unwrap_err().server.unwrap();
    assert!(
        matches!(reason(&error), PeerError::Svid(SvidError::Path { .. })),
        "{error}"
    );
}

#[test]
fn tls_1_2_is_refused() {
    let mut parties = Parties::new();
    parties.client =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
    let error = parties.handshake().unwrap_err().server.unwrap();
    assert!(
        matches!(
            error,
            Error::PeerIncompatible(
                PeerIncompatible::SupportedVersionsExtensionRequired
                    | PeerIncompatible::Tls12NotOfferedOrEnabled
                    | PeerIncompatible::ServerDoesNotSupportTls12Or13
            )
        ),
        "{error}"
    );
}

#[test]
fn a_peer_that_offers_no_group_of_ours_is_refused_and_no_weaker_one_is_agreed_on() {
    let mut parties = Parties::new();
    let mut other = rustls::crypto::aws_lc_rs::default_provider();
    other
        .kx_groups
        .retain(|group| group.name() == NamedGroup::secp384r1);
    parties.client = ClientConfig::builder_with_provider(Arc::new(other))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let error = parties.handshake().unwrap_err().server.unwrap();
    assert_eq!(
        error,
        Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon)
    );
}

#[test]
fn a_replaced_bundle_counts_from_the_next_handshake_on() {
    let authority = Authority::new("td");
    let shared = Arc::new(SharedBundles::default());
    let attempt = || {
        let client = client_config(
            Some(&authority.svid(NODE)),
            authority.source(),
            Expect::Exactly(id(CA)),
        )
        .unwrap();
        let node = Expect::AnyNode(domain("td"));
        let server = server_config(&authority.svid(CA), shared.clone(), node, ClientAuth::Required).unwrap();
        handshake(client, server).is_ok()
    };
    assert!(!attempt(), "an empty bundle set trusted someone");
    shared.replace(BundleSet::clone(&authority.bundles()));
    assert!(attempt());
    shared.replace(BundleSet::single(Authority::new("td").bundle()));
    assert!(!attempt(), "the old root is still trusted");
}

#[test]
fn a_key_that_does_not_belong_to_the_certificate_is_noticed_at_once() {
    let authority = Authority::new("td");
    let mut svid = authority.svid(NODE);
    svid.key = authority.svid(NODE).key.clone_key();
    let refused = client_config(Some(&svid), authority.source(), Expect::Exactly(id(CA)));
    assert!(matches!(refused, Err(TlsError::Mismatch(_))));
    svid.chain.clear();
    let refused = client_config(Some(&svid), authority.source(), Expect::Exactly(id(CA)));
    assert!(matches!(refused, Err(TlsError::NoCertificate)));
}

#[test]
fn an_identity_does_not_show_its_key() {
    let svid = Authority::new("td").svid(NODE);
    assert_eq!(format!("{svid:?}"), "SvidKeyPair { chain: 1, .. }");
}
