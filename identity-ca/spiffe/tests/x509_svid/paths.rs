//! Rules of the way from leaf to bundle.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
};
use signet_spiffe::{
    BundleSet, MAX_CHAIN_LENGTH, SignerError, SpiffeId, SvidError, X509Bundle, verify_x509_svid,
};

use crate::maker::{HOUR, NOW, Signer, at, domain, leaf_params, now, signer_params, valid};

const WEB: &str = "spiffe://td/ns/shop/sa/web";

fn web() -> SpiffeId {
    SpiffeId::parse(WEB).unwrap()
}

fn is_path_error(result: &Result<signet_spiffe::VerifiedSvid, SvidError>) -> bool {
    matches!(result, Err(SvidError::Path { .. }))
}

/// What the verifier says to a leaf below an intermediate of these parameters.
fn judge_below(intermediate: CertificateParams) -> Result<String, SvidError> {
    let root = Signer::root("td");
    let middle = root.intermediate(intermediate);
    let chain = [middle.leaf(&leaf_params(WEB)), middle.der()];
    verify_x509_svid(&chain, &root.bundles("td"), now()).map(|svid| svid.id().to_string())
}

#[test]
fn spiffe_row_17_a_path_over_intermediates_in_any_order_is_found() {
    let root = Signer::root("td");
    let upper = root.intermediate(signer_params(Some("spiffe://td")));
    let lower = upper.intermediate(signer_params(None));
    let leaf = lower.leaf(&leaf_params(WEB));
    for chain in [
        [leaf.clone(), lower.der(), upper.der()],
        [leaf.clone(), upper.der(), lower.der()],
    ] {
        assert_eq!(
            verify_x509_svid(&chain, &root.bundles("td"), now()).unwrap().id(),
            &web()
        );
    }
    assert!(is_path_error(&verify_x509_svid(
        &[leaf, upper.der()],
        &root.bundles("td"),
        now()
    )));
}

#[test]
fn the_leaf_is_the_first_certificate_and_no_other() {
    let root = Signer::root("td");
    let stranger = Signer::root("td");
    let good = root.leaf(&leaf_params(WEB));
    let other = root.leaf(&leaf_params("spiffe://td/ns/shop/sa/other"));
    let forged = stranger.leaf(&leaf_params(WEB));
    let bundles = root.bundles("td");
    let svid = verify_x509_svid(&[other.clone(), good.clone()], &bundles, now()).unwrap();
    assert_eq!(svid.id().as_str(), "spiffe://td/ns/shop/sa/other");
    assert!(is_path_error(&verify_x509_svid(
        &[forged.clone(), good],
        &bundles,
        now()
    )));
    assert!(verify_x509_svid(&[root.der(), other], &bundles, now()).is_err());
}

#[test]
fn spiffe_row_17_a_root_of_the_same_name_with_another_key_is_not_believed() {
    let params = signer_params(Some("spiffe://td"));
    let (ours, theirs) = (Signer::root_of(params.clone()), Signer::root_of(params));
    let forged = theirs.leaf(&leaf_params(WEB));
    assert!(is_path_error(&verify_x509_svid(
        &[forged.clone(), theirs.der()],
        &ours.bundles("td"),
        now()
    )));
    assert!(verify_x509_svid(&[forged], &theirs.bundles("td"), now()).is_ok());
}

#[test]
fn spiffe_row_17_a_leaf_cannot_sign_another_leaf() {
    let root = Signer::root("td");
    let middle = root.intermediate(leaf_params("spiffe://td/ns/shop/sa/mallory"));
    let chain = [middle.leaf(&leaf_params(WEB)), middle.der()];
    assert!(is_path_error(&verify_x509_svid(
        &chain,
        &root.bundles("td"),
        now()
    )));
}

#[test]
fn spiffe_row_17_expired_and_not_yet_valid_leaves_are_refused() {
    let root = Signer::root("td");
    let chain = [root.leaf(&leaf_params(WEB))];
    let bundles = root.bundles("td");
    let judge = |seconds| verify_x509_svid(&chain, &bundles, at(seconds)).map(drop);
    assert_eq!(judge(NOW + HOUR), Ok(()));
    assert_eq!(
        judge(NOW + HOUR + 1),
        Err(SvidError::Expired {
            id: web(),
            not_after: at(NOW + HOUR)
        })
    );
    assert_eq!(judge(NOW - HOUR), Ok(()));
    assert_eq!(
        judge(NOW - HOUR - 1),
        Err(SvidError::NotYetValid {
            id: web(),
            not_before: at(NOW - HOUR)
        })
    );
}

#[test]
fn spiffe_row_17_an_expired_intermediate_breaks_the_path() {
    let mut params = signer_params(None);
    valid(&mut params, NOW - 2 * HOUR, NOW - 1);
    assert!(matches!(judge_below(params), Err(SvidError::Path { .. })));
}

#[test]
fn spiffe_row_17_an_expired_root_signs_nothing_any_more() {
    let mut params = signer_params(Some("spiffe://td"));
    valid(&mut params, NOW - 2 * HOUR, NOW - 1);
    let root = Signer::root_of(params);
    let chain = [root.leaf(&leaf_params(WEB))];
    assert!(is_path_error(&verify_x509_svid(
        &chain,
        &root.bundles("td"),
        now()
    )));
    assert!(verify_x509_svid(&chain, &root.bundles("td"), at(NOW - 2)).is_ok());
}

#[test]
fn the_earliest_end_on_the_path_is_the_end_of_the_svid() {
    let root = Signer::root("td");
    let mut params = signer_params(None);
    valid(&mut params, NOW - HOUR, NOW + 60);
    let middle = root.intermediate(params);
    let chain = [middle.leaf(&leaf_params(WEB)), middle.der()];
    let svid = verify_x509_svid(&chain, &root.bundles("td"), now()).unwrap();
    assert_eq!(svid.not_after(), at(NOW + 60));

    let mut params = signer_params(None);
    valid(&mut params, NOW - HOUR, NOW + 30);
    let root = Signer::root_of(params);
    let svid = verify_x509_svid(&[root.leaf(&leaf_params(WEB))], &root.bundles("td"), now()).unwrap();
    assert_eq!(svid.not_after(), at(NOW + 30));
}

#[test]
fn spiffe_row_17_path_length_and_critical_extensions_count() {
    let root = Signer::root("td");
    let mut short = signer_params(None);
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let upper = root.intermediate(short);
    let lower = upper.intermediate(signer_params(None));
    let chain = [lower.leaf(&leaf_params(WEB)), lower.der(), upper.der()];
    assert!(is_path_error(&verify_x509_svid(
        &chain,
        &root.bundles("td"),
        now()
    )));

    let mut unknown = leaf_params(WEB);
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    extension.set_criticality(true);
    unknown.custom_extensions.push(extension);
    assert!(is_path_error(&verify_x509_svid(
        &[root.leaf(&unknown)],
        &root.bundles("td"),
        now()
    )));
}

#[test]
fn spiffe_row_15_an_intermediate_needs_a_key_usage_that_signs_certificates() {
    for usages in [
        vec![],
        vec![KeyUsagePurpose::CrlSign],
        vec![KeyUsagePurpose::DigitalSignature],
    ] {
        let mut params = signer_params(None);
        params.key_usages = usages;
        let expected = SvidError::Intermediate {
            id: web(),
            source: SignerError::KeyUsage,
        };
        assert_eq!(judge_below(params), Err(expected));
    }
    assert_eq!(judge_below(signer_params(None)).unwrap(), WEB);
}

#[test]
fn spiffe_row_14_an_intermediate_without_the_ca_bit_breaks_the_path() {
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let mut params = signer_params(None);
        params.is_ca = is_ca;
        assert!(matches!(judge_below(params), Err(SvidError::Path { .. })));
    }
}

#[test]
fn spiffe_row_12_an_intermediate_of_another_trust_domain_or_with_a_path_is_refused() {
    let judge = |uri| judge_below(signer_params(Some(uri)));
    let blame = |source| Err(SvidError::Intermediate { id: web(), source });
    assert_eq!(
        judge("spiffe://other"),
        blame(SignerError::TrustDomain {
            found: domain("other")
        })
    );
    assert_eq!(judge("spiffe://td/signer"), blame(SignerError::Path));
    assert_eq!(judge("spiffe://td").unwrap(), WEB);
}

#[test]
fn spiffe_row_16_an_intermediate_confined_to_one_side_breaks_the_path() {
    let mut params = signer_params(None);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    assert!(matches!(judge_below(params.clone()), Err(SvidError::Path { .. })));
    params
        .extended_key_usages
        .push(ExtendedKeyUsagePurpose::ClientAuth);
    assert_eq!(judge_below(params).unwrap(), WEB);
}

#[test]
fn spiffe_row_07_an_svid_is_checked_against_the_bundle_of_its_own_trust_domain_alone() {
    let (ours, theirs) = (Signer::root("td"), Signer::root("other"));
    let mut bundles = ours.bundles("td");
    let foreign = theirs.leaf(&leaf_params("spiffe://other/a"));
    let id = SpiffeId::parse("spiffe://other/a").unwrap();
    assert_eq!(
        verify_x509_svid(std::slice::from_ref(&foreign), &bundles, now()).unwrap_err(),
        SvidError::UntrustedDomain { id: id.clone() }
    );
    bundles.insert(theirs.bundle("other"));
    assert_eq!(verify_x509_svid(&[foreign], &bundles, now()).unwrap().id(), &id);
    let crossed = theirs.leaf(&leaf_params(WEB));
    assert!(is_path_error(&verify_x509_svid(&[crossed], &bundles, now())));
}

#[test]
fn a_chain_beyond_the_bound_is_refused() {
    let root = Signer::root("td");
    let leaf = root.leaf(&leaf_params(WEB));
    let chain = vec![leaf; MAX_CHAIN_LENGTH + 1];
    let expected = SvidError::ChainTooLong {
        length: MAX_CHAIN_LENGTH + 1,
    };
    assert_eq!(
        verify_x509_svid(&chain, &root.bundles("td"), now()).unwrap_err(),
        expected
    );
    assert!(verify_x509_svid(&chain[1..], &root.bundles("td"), now()).is_ok());
}

#[test]
fn two_roots_of_a_bundle_are_both_believed() {
    let (old, new) = (Signer::root("td"), Signer::root("td"));
    let bundle = X509Bundle::new(domain("td"), vec![old.der(), new.der()]).unwrap();
    let bundles = BundleSet::single(bundle);
    for root in [old, new] {
        assert!(verify_x509_svid(&[root.leaf(&leaf_params(WEB))], &bundles, now()).is_ok());
    }
}
