//! Row 33: a WIT-SVID counts with a proof that its sender has its key, for this request, just now, and once.

use serde_json::{Value, json};
use signet_spiffe::{
    JwtAlgorithm, MAX_PROOF_LIFE, ProofContext, ProofError, SeenProofs, VerifiedWitSvid, WitProofClaims,
    sign_wit_proof,
};

use crate::maker::{NOW, Signer, WEB, at};
use crate::wit_svids::Pair;

const HERE: &str = "https://reports.td.test/monthly";

fn made<'a>(wit_svid: &'a str, token_id: &'a str) -> WitProofClaims<'a> {
    WitProofClaims {
        wit_svid,
        audience: HERE,
        expires: at(NOW + 60),
        token_id,
        access_token: None,
        transaction_token: None,
    }
}

fn show(
    pair: &Pair,
    svid: &str,
    proof: &str,
    context: &ProofContext<'_>,
    seen: &mut SeenProofs,
) -> Result<VerifiedWitSvid, ProofError> {
    pair.check(svid).unwrap().proven_by(proof, context, seen, at(NOW))
}

/// The same with a receiver of its own.
fn once(pair: &Pair, svid: &str, proof: &str) -> Result<VerifiedWitSvid, ProofError> {
    show(
        pair,
        svid,
        proof,
        &ProofContext::of(HERE),
        &mut SeenProofs::new(8),
    )
}

/// A proof by the book but for one thing.
fn spoiled(pair: &Pair, svid: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let good = sign_wit_proof(&pair.workload, &made(svid, "1")).unwrap();
    let part = |number: usize| -> Value {
        let part = good.split('.').nth(number).unwrap();
        serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
    };
    let (mut header, mut claims) = (part(0), part(1));
    change(&mut header, &mut claims);
    pair.workload.token(&header, &claims)
}

#[test]
fn spiffe_row_33_whoever_has_the_key_is_who_the_svid_says() {
    for algorithm in [JwtAlgorithm::Es256, JwtAlgorithm::Es384, JwtAlgorithm::Ps256] {
        let pair = Pair::of(algorithm);
        let svid = pair.good();
        let proof = sign_wit_proof(&pair.workload, &made(&svid, "1")).unwrap();
        let verified = once(&pair, &svid, &proof).unwrap();
        assert_eq!(verified.id().as_str(), WEB);
    }
}

#[test]
fn spiffe_row_33_a_stolen_svid_is_worth_nothing() {
    let pair = Pair::new();
    let svid = pair.good();
    // With the thief's own key, with the CA's, and with the SVID in the proof's place.
    let thief = Signer::new("mine", JwtAlgorithm::Es256);
    for signer in [&thief, &pair.ca] {
        let proof = sign_wit_proof(signer, &made(&svid, "1")).unwrap();
        assert_eq!(once(&pair, &svid, &proof).unwrap_err(), ProofError::Signature);
    }
    assert_eq!(once(&pair, &svid, &svid).unwrap_err(), ProofError::Type);
    for nothing in ["", "a.b", "..", "a.b.c"] {
        assert!(
            matches!(once(&pair, &svid, nothing), Err(ProofError::Form(_))),
            "{nothing}"
        );
    }
    // Another SVID of the same workload and key: the proof names the one that it was made with.
    let mut later = pair.token(&json!({}));
    assert!(pair.check(&later).is_err());
    let claims: Value = {
        let part = svid.split('.').nth(1).unwrap();
        serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
    };
    let mut other = claims;
    other["exp"] = json!(NOW + 301);
    later = pair.token(&other);
    let proof = sign_wit_proof(&pair.workload, &made(&svid, "1")).unwrap();
    assert_eq!(once(&pair, &later, &proof).unwrap_err(), ProofError::OtherSvid);
}

#[test]
fn spiffe_row_33_a_proof_is_for_one_request_at_one_receiver() {
    let pair = Pair::new();
    let svid = pair.good();
    let proof = sign_wit_proof(&pair.workload, &made(&svid, "1")).unwrap();
    let elsewhere = ProofContext::of("https://reports.td.test/yearly");
    let refused = show(&pair, &svid, &proof, &elsewhere, &mut SeenProofs::new(8));
    assert_eq!(refused.unwrap_err(), ProofError::Audience);
    for (bad, missing) in [(json!(null), "aud"), (json!([7]), "aud")] {
        let proof = spoiled(&pair, &svid, |_, claims| claims["aud"] = bad);
        assert_eq!(
            once(&pair, &svid, &proof).unwrap_err(),
            ProofError::Claim { claim: missing }
        );
    }
}

#[test]
fn spiffe_row_33_the_life_of_a_proof_is_bounded() {
    let pair = Pair::new();
    let svid = pair.good();
    let ending = |seconds: u64| {
        let claims = WitProofClaims {
            expires: at(seconds),
            ..made(&svid, "1")
        };
        once(&pair, &svid, &sign_wit_proof(&pair.workload, &claims).unwrap())
    };
    assert!(ending(NOW + 1).is_ok());
    assert_eq!(ending(NOW).unwrap_err(), ProofError::Expired);
    let most = MAX_PROOF_LIFE.as_secs();
    assert!(ending(NOW + most).is_ok());
    assert_eq!(ending(NOW + most + 1).unwrap_err(), ProofError::TooLong);
    assert_eq!(ending(u64::MAX).unwrap_err(), ProofError::TooLong);
    let without = spoiled(&pair, &svid, |_, claims| {
        claims.as_object_mut().unwrap().remove("exp").unwrap();
    });
    assert_eq!(
        once(&pair, &svid, &without).unwrap_err(),
        ProofError::Claim { claim: "exp" }
    );
    // A proof does not outlive its SVID.
    let late = pair.check(&svid).unwrap();
    let proof = WitProofClaims {
        expires: at(NOW + 320),
        ..made(&svid, "1")
    };
    let proof = sign_wit_proof(&pair.workload, &proof).unwrap();
    let refused = late.proven_by(
        &proof,
        &ProofContext::of(HERE),
        &mut SeenProofs::new(8),
        at(NOW + 300),
    );
    assert_eq!(refused.unwrap_err(), ProofError::Expired);
}

#[test]
fn spiffe_row_33_a_proof_counts_once() {
    let pair = Pair::new();
    let svid = pair.good();
    let mut seen = SeenProofs::new(2);
    let context = ProofContext::of(HERE);
    let proof = |id: &str| sign_wit_proof(&pair.workload, &made(&svid, id)).unwrap();
    let first = proof("1");
    assert!(show(&pair, &svid, &first, &context, &mut seen).is_ok());
    assert_eq!(
        show(&pair, &svid, &first, &context, &mut seen).unwrap_err(),
        ProofError::Replayed
    );
    // Signed anew, it is the same.
    assert_eq!(
        show(&pair, &svid, &proof("1"), &context, &mut seen).unwrap_err(),
        ProofError::Replayed
    );
    // What was refused is not used up.
    let elsewhere = ProofContext::of("https://else.td.test");
    assert!(show(&pair, &svid, &proof("2"), &elsewhere, &mut seen).is_err());
    assert!(show(&pair, &svid, &proof("2"), &context, &mut seen).is_ok());
    // Full: refused rather than forgotten, until some have ended.
    assert_eq!(
        show(&pair, &svid, &proof("3"), &context, &mut seen).unwrap_err(),
        ProofError::Full
    );
    assert_eq!(
        show(&pair, &svid, &first, &context, &mut seen).unwrap_err(),
        ProofError::Replayed
    );
    let later = WitProofClaims {
        expires: at(NOW + 120),
        ..made(&svid, "4")
    };
    let later = sign_wit_proof(&pair.workload, &later).unwrap();
    let svid_then = pair.check(&svid).unwrap();
    let taken = svid_then.proven_by(&later, &context, &mut seen, at(NOW + 60));
    assert!(taken.is_ok());
    assert_eq!(seen.len(), 1);
}

#[test]
fn spiffe_row_33_the_header_is_a_proofs_with_the_keys_own_alg() {
    let pair = Pair::new();
    let svid = pair.good();
    for bad in ["wit+jwt", "JWT", "dpop+jwt", ""] {
        let proof = spoiled(&pair, &svid, |header, _| header["typ"] = json!(bad));
        assert_eq!(once(&pair, &svid, &proof).unwrap_err(), ProofError::Type, "{bad}");
    }
    for bad in ["ES384", "none", "HS256"] {
        let proof = spoiled(&pair, &svid, |header, _| header["alg"] = json!(bad));
        assert_eq!(
            once(&pair, &svid, &proof).unwrap_err(),
            ProofError::Algorithm,
            "{bad}"
        );
    }
    // A key that could sign with both signs with the one that its SVID names.
    let rsa = Pair::of(JwtAlgorithm::Rs256);
    let svid = rsa.good();
    let proof = spoiled(&rsa, &svid, |header, _| header["alg"] = json!("PS256"));
    assert_eq!(once(&rsa, &svid, &proof).unwrap_err(), ProofError::Algorithm);
    let proof = spoiled(&pair, &pair.good(), |header, _| header["crit"] = json!(["x"]));
    assert_eq!(
        once(&pair, &pair.good(), &proof).unwrap_err(),
        ProofError::Critical
    );
}

#[test]
fn spiffe_row_33_a_proof_binds_the_tokens_beside_it() {
    let pair = Pair::new();
    let svid = pair.good();
    let bound = WitProofClaims {
        access_token: Some("access"),
        transaction_token: Some("transaction"),
        ..made(&svid, "1")
    };
    let bound = sign_wit_proof(&pair.workload, &bound).unwrap();
    let plain = sign_wit_proof(&pair.workload, &made(&svid, "2")).unwrap();
    let with = |proof: &str, access_token, transaction_token| {
        let context = ProofContext {
            audience: HERE,
            access_token,
            transaction_token,
        };
        show(&pair, &svid, proof, &context, &mut SeenProofs::new(8)).map(drop)
    };
    assert_eq!(with(&bound, Some("access"), Some("transaction")), Ok(()));
    let beside = |claim| Err(ProofError::Beside { claim });
    assert_eq!(with(&bound, Some("another"), Some("transaction")), beside("ath"));
    assert_eq!(with(&bound, Some("access"), Some("another")), beside("tth"));
    // Left out by whoever passed the request on, or put beside it.
    assert_eq!(with(&bound, None, Some("transaction")), beside("ath"));
    assert_eq!(with(&plain, Some("access"), None), beside("ath"));
    let others = spoiled(&pair, &svid, |_, claims| claims["oth"] = json!({"x-user": "AA"}));
    assert_eq!(with(&others, None, None), Err(ProofError::Others));
}
