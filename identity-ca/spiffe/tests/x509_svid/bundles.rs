//! Rules of bundles.

use rcgen::{CertificateParams, IsCa, KeyUsagePurpose};
use signet_spiffe::{BundleError, MAX_AUTHORITIES, SignerError, X509Bundle};

use crate::maker::{KEY_USAGE, Signer, domain, extension, signer_params};

fn refusal(params: CertificateParams) -> SignerError {
    match X509Bundle::new(
        domain("td"),
        vec![Signer::root("td").der(), Signer::root_of(params).der()],
    ) {
        Err(BundleError::Authority {
            number: 2, source, ..
        }) => source,
        other => panic!("not refused as it should be: {other:?}"),
    }
}

#[test]
fn a_bundle_survives_pem() {
    let bundle = X509Bundle::new(
        domain("td"),
        vec![Signer::root("td").der(), Signer::root("td").der()],
    )
    .unwrap();
    let pem = bundle.to_pem();
    assert!(pem.lines().all(|line| line.len() <= 64), "{pem}");
    assert_eq!(X509Bundle::from_pem(domain("td"), &pem).unwrap(), bundle);
    let broken = pem.replacen('M', "!", 1);
    assert!(matches!(
        X509Bundle::from_pem(domain("td"), &broken),
        Err(BundleError::Pem(_))
    ));
    assert!(matches!(
        X509Bundle::from_pem(domain("td"), "no PEM"),
        Err(BundleError::Empty)
    ));
}

#[test]
fn spiffe_row_12_an_authority_s_id_is_the_trust_domain_s_own() {
    let uri = |uri| signer_params(Some(uri));
    assert_eq!(refusal(uri("spiffe://td/a")), SignerError::Path);
    assert_eq!(
        refusal(uri("spiffe://other")),
        SignerError::TrustDomain {
            found: domain("other")
        }
    );
    assert!(matches!(refusal(uri("https://td")), SignerError::Id(_)));
    let mut two = uri("spiffe://td");
    two.subject_alt_names.push(two.subject_alt_names[0].clone());
    assert_eq!(refusal(two), SignerError::SeveralUris { count: 2 });
    let without = Signer::root_of(signer_params(None)).der();
    assert!(X509Bundle::new(domain("td"), vec![without]).is_ok());
}

#[test]
fn spiffe_row_14_an_authority_has_the_ca_bit() {
    let mut params = signer_params(None);
    params.is_ca = IsCa::ExplicitNoCa;
    assert_eq!(refusal(params), SignerError::NotCa);
}

#[test]
fn spiffe_row_15_an_authority_has_a_critical_key_usage_that_signs_certificates() {
    for usages in [vec![], vec![KeyUsagePurpose::CrlSign]] {
        let mut params = signer_params(None);
        params.key_usages = usages;
        assert_eq!(refusal(params), SignerError::KeyUsage);
    }
    let mut params = signer_params(None);
    params.key_usages.clear();
    params
        .custom_extensions
        .push(extension(KEY_USAGE, &[3, 2, 1, 6], false));
    assert_eq!(refusal(params), SignerError::KeyUsage);
}

#[test]
fn a_bundle_is_neither_empty_nor_boundless() {
    assert!(matches!(
        X509Bundle::new(domain("td"), vec![]),
        Err(BundleError::Empty)
    ));
    let many = vec![Signer::root("td").der(); MAX_AUTHORITIES + 1];
    assert!(matches!(
        X509Bundle::new(domain("td"), many),
        Err(BundleError::TooMany { .. })
    ));
}
