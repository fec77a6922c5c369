//! Rules of the leaf alone.

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use signet_spiffe::{
    CertificateDer, CertificateError, IdError, LeafError, MAX_CERTIFICATE_BYTES, SvidError, verify_x509_svid,
};

use crate::maker::{
    BASIC_CONSTRAINTS, DIGITAL_SIGNATURE, HOUR, KEY_USAGE, NOW, SUBJECT_ALT_NAME, Signer, URI, at, bare,
    extension, leaf_params, names, now, signer_params, uri_name,
};

const WEB: &str = "spiffe://td/ns/shop/sa/web";

/// What the verifier says to a leaf of these parameters, signed by the root of `td`.
fn judge(params: &CertificateParams) -> Result<String, SvidError> {
    let root = Signer::root("td");
    let leaf = root.leaf(params);
    verify_x509_svid(&[leaf], &root.bundles("td"), now()).map(|svid| svid.id().to_string())
}

fn judge_with(change: impl FnOnce(&mut CertificateParams)) -> Result<String, SvidError> {
    let mut params = leaf_params(WEB);
    change(&mut params);
    judge(&params)
}

#[test]
fn a_leaf_by_the_book_is_verified() {
    let root = Signer::root("td");
    let leaf = root.leaf(&leaf_params(WEB));
    let svid = verify_x509_svid(&[leaf], &root.bundles("td"), now()).unwrap();
    assert_eq!(svid.id().as_str(), WEB);
    assert_eq!(svid.not_before(), at(NOW - HOUR));
    assert_eq!(svid.not_after(), at(NOW + HOUR));
    assert_eq!(svid.serial(), [0x42; 16]);
}

#[test]
fn spiffe_row_08_nothing_but_a_whole_certificate_is_read() {
    let root = Signer::root("td");
    let bundles = root.bundles("td");
    let malformed = SvidError::Leaf(LeafError::Unreadable(CertificateError::Malformed));
    let good = root.leaf(&leaf_params(WEB));
    let trailing = CertificateDer::from([good.as_ref(), &[0]].concat());
    let short = CertificateDer::from(good[..good.len() - 1].to_vec());
    for bad in [
        trailing,
        short,
        CertificateDer::from(vec![]),
        CertificateDer::from(vec![0x30; 64]),
    ] {
        assert_eq!(verify_x509_svid(&[bad], &bundles, now()).unwrap_err(), malformed);
    }
    assert_eq!(
        verify_x509_svid(&[], &bundles, now()).unwrap_err(),
        SvidError::NoCertificate
    );
}

#[test]
fn spiffe_row_08_a_changed_byte_anywhere_is_noticed() {
    let root = Signer::root("td");
    let bundles = root.bundles("td");
    let good = root.leaf(&leaf_params(WEB));
    for position in 0..good.len() {
        let mut bytes = good.to_vec();
        bytes[position] ^= 1;
        let changed = CertificateDer::from(bytes);
        assert!(
            verify_x509_svid(&[changed], &bundles, now()).is_err(),
            "byte {position} does not matter"
        );
    }
}

#[test]
fn a_certificate_beyond_the_size_bound_is_not_even_read() {
    let root = Signer::root("td");
    let huge = CertificateDer::from(vec![0x30; MAX_CERTIFICATE_BYTES + 1]);
    let good = root.leaf(&leaf_params(WEB));
    assert_eq!(
        verify_x509_svid(&[good, huge], &root.bundles("td"), now()).unwrap_err(),
        SvidError::CertificateTooLong {
            number: 2,
            bytes: MAX_CERTIFICATE_BYTES + 1
        }
    );
}

#[test]
fn spiffe_row_09_two_uri_names_are_refused_even_if_equal() {
    for second in ["spiffe://td/other", WEB, "https://example.org/"] {
        for order in [[WEB, second], [second, WEB]] {
            let error = judge_with(|params| {
                params.subject_alt_names = order.iter().map(|uri| uri_name(uri)).collect();
            });
            assert_eq!(
                error,
                Err(SvidError::Leaf(LeafError::SeveralUris { count: 2 })),
                "{order:?}"
            );
        }
    }
}

#[test]
fn spiffe_row_09_an_unreadable_second_uri_name_counts() {
    let error = judge_with(|params| {
        params.subject_alt_names.clear();
        let content = names(&[(URI, WEB.as_bytes()), (URI, &[0xff, 0xfe])]);
        params
            .custom_extensions
            .push(extension(SUBJECT_ALT_NAME, &content, true));
    });
    let unreadable = LeafError::Unreadable(CertificateError::MalformedExtension);
    assert_eq!(error, Err(SvidError::Leaf(unreadable)));
}

#[test]
fn spiffe_row_09_a_second_san_extension_is_refused() {
    let error = judge_with(|params| {
        let content = names(&[(URI, b"spiffe://td/other")]);
        params
            .custom_extensions
            .push(extension(SUBJECT_ALT_NAME, &content, true));
    });
    let twice = LeafError::Unreadable(CertificateError::DuplicateExtension);
    assert_eq!(error, Err(SvidError::Leaf(twice)));
}

#[test]
fn spiffe_row_09_no_uri_name_is_no_identity_and_other_names_do_no_harm() {
    let dns = || SanType::DnsName("web.shop".try_into().unwrap());
    let none = judge_with(|params| params.subject_alt_names = vec![dns()]);
    assert_eq!(none, Err(SvidError::Leaf(LeafError::NoUri)));
    assert_eq!(
        judge_with(|params| params.subject_alt_names.insert(0, dns())).unwrap(),
        WEB
    );
}

#[test]
fn spiffe_row_10_an_id_without_path_does_not_authenticate() {
    assert_eq!(
        judge(&leaf_params("spiffe://td")),
        Err(SvidError::Leaf(LeafError::RootPath))
    );
    let slash = SvidError::Leaf(LeafError::Id(IdError::EmptySegment));
    assert_eq!(judge(&leaf_params("spiffe://td/")), Err(slash));
}

#[test]
fn spiffe_row_11_an_empty_subject_needs_a_critical_san() {
    let content = names(&[(URI, WEB.as_bytes())]);
    let not_critical = |params: &mut CertificateParams| {
        params.subject_alt_names.clear();
        params
            .custom_extensions
            .push(extension(SUBJECT_ALT_NAME, &content, false));
    };
    assert_eq!(
        judge_with(not_critical),
        Err(SvidError::Leaf(LeafError::SanNotCritical))
    );
    let with_subject = judge_with(|params| {
        not_critical(params);
        params.distinguished_name.push(DnType::CommonName, "web");
    });
    assert_eq!(with_subject.unwrap(), WEB);
}

#[test]
fn spiffe_row_13_a_ca_certificate_never_authenticates() {
    let root = Signer::root("td");
    let bundles = root.bundles("td");
    let intermediate = root.intermediate(signer_params(Some("spiffe://td")));
    for ca in [root.der(), intermediate.der()] {
        assert_eq!(
            verify_x509_svid(&[ca], &bundles, now()).unwrap_err(),
            SvidError::Leaf(LeafError::Ca)
        );
    }
}

#[test]
fn spiffe_row_14_a_leaf_with_the_ca_bit_is_refused_whatever_else_it_says() {
    let error = judge_with(|params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    assert_eq!(error, Err(SvidError::Leaf(LeafError::Ca)));
    assert_eq!(judge_with(|params| params.is_ca = IsCa::NoCa).unwrap(), WEB);
    let unreadable = judge_with(|params| {
        params.is_ca = IsCa::NoCa;
        params
            .custom_extensions
            .push(extension(BASIC_CONSTRAINTS, &[0x30, 5, 1], true));
    });
    let malformed = LeafError::Unreadable(CertificateError::MalformedExtension);
    assert_eq!(unreadable, Err(SvidError::Leaf(malformed)));
}

#[test]
fn spiffe_row_15_key_usage_must_be_present_critical_and_for_signatures() {
    let missing = judge_with(|params| params.key_usages.clear());
    assert_eq!(missing, Err(SvidError::Leaf(LeafError::NoKeyUsage)));

    let not_critical = judge_with(|params| {
        params.key_usages.clear();
        params
            .custom_extensions
            .push(extension(KEY_USAGE, DIGITAL_SIGNATURE, false));
    });
    assert_eq!(not_critical, Err(SvidError::Leaf(LeafError::KeyUsageNotCritical)));

    let other = judge_with(|params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement]);
    assert_eq!(other, Err(SvidError::Leaf(LeafError::NoDigitalSignature)));

    let twice = judge_with(|params| {
        params
            .custom_extensions
            .push(extension(KEY_USAGE, DIGITAL_SIGNATURE, true));
    });
    let duplicate = LeafError::Unreadable(CertificateError::DuplicateExtension);
    assert_eq!(twice, Err(SvidError::Leaf(duplicate)));

    let more = judge_with(|params| params.key_usages.push(KeyUsagePurpose::KeyAgreement));
    assert_eq!(more.unwrap(), WEB);
}

#[test]
fn spiffe_row_15_and_18_a_leaf_that_could_sign_certificates_or_crls_is_refused() {
    for signing in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign] {
        let error = judge_with(|params| params.key_usages.push(signing));
        assert_eq!(
            error,
            Err(SvidError::Leaf(LeafError::SigningKeyUsage)),
            "{signing:?}"
        );
    }
}

#[test]
fn spiffe_row_16_extended_key_usage_is_absent_or_has_both_sides() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    for lacking in [vec![ServerAuth], vec![ClientAuth], vec![Any]] {
        let error = judge_with(|params| params.extended_key_usages.clone_from(&lacking));
        assert_eq!(
            error,
            Err(SvidError::Leaf(LeafError::ExtendedKeyUsage)),
            "{lacking:?}"
        );
    }
    for enough in [
        vec![],
        vec![ClientAuth, ServerAuth],
        vec![ServerAuth, Any, ClientAuth],
    ] {
        assert_eq!(
            judge_with(|params| params.extended_key_usages = enough).unwrap(),
            WEB
        );
    }
}

#[test]
fn spiffe_row_18_another_scheme_is_no_identity() {
    for uri in ["https://td/ns/shop/sa/web", "SPIFFE://td/a", "spiffe:/td/a"] {
        assert_eq!(
            judge(&leaf_params(uri)),
            Err(SvidError::Leaf(LeafError::Id(IdError::Scheme))),
            "{uri}"
        );
    }
}

#[test]
fn spiffe_rows_01_to_05_hold_for_ids_in_certificates() {
    let long = format!("spiffe://td/{}", "a".repeat(2037));
    for uri in [
        "spiffe://td/a?b",
        "spiffe://td/a#b",
        "spiffe://TD/a",
        "spiffe://u@td/a",
        "spiffe://td:1/a",
        "spiffe://td/a%62",
        "spiffe://td/a/../b",
        "spiffe://td//a",
        "spiffe://td/a/",
        "spiffe:///a",
        &long,
    ] {
        let error = judge(&leaf_params(uri)).unwrap_err();
        assert!(
            matches!(error, SvidError::Leaf(LeafError::Id(_))),
            "{uri}: {error}"
        );
    }
}

#[test]
fn a_leaf_without_any_extension_is_refused() {
    let mut params = bare(&[]);
    params.distinguished_name.push(DnType::CommonName, WEB);
    let error = judge(&params).unwrap_err();
    assert!(
        matches!(
            error,
            SvidError::Leaf(LeafError::NoKeyUsage | LeafError::Unreadable(CertificateError::Malformed))
        ),
        "{error}"
    );
}
