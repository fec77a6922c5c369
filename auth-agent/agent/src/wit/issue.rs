//! One WIT-SVID from the CA.

use std::sync::Arc;
use std::time::Duration;

use signet_proto::ca::v1::IssueWitSvidRequest;
use signet_proto::ca::v1::wit_service_client::WitServiceClient;
use signet_spiffe::{SpiffeId, UnixTime, UnprovenWitSvid, WitBundleSet, WitSvidError, verify_wit_svid};
use signet_workload_api::WitSvid;
use tokio::time::timeout;
use tonic::Code;
use zeroize::Zeroizing;

use super::key::{KeyFormat, WorkloadKey};
use crate::ca::{CaChannel, new_request};
use crate::clock::seconds;
use crate::tasks::Fault;
use crate::view::Registration;

const CALL: Duration = Duration::from_secs(10);

/// Why there is no WIT-SVID.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    #[error("failed to make a key")]
    Key(#[from] rcgen::Error),
    #[error(transparent)]
    KeyFormat(#[from] KeyFormat),
    #[error("the CA does not answer")]
    Deadline,
    /// It has none for anybody.
    #[error("the CA has none: {0}")]
    Off(String),
    #[error("the CA refused: {0}")]
    Refused(String),
    #[error("the CA's WIT-SVID does not verify")]
    Svid(#[from] WitSvidError),
    #[error("the CA's WIT-SVID is of {0}")]
    Other(SpiffeId),
    #[error("the CA's WIT-SVID is bound to another key")]
    OtherKey,
    #[error("the WIT-SVID cannot be given out")]
    Offer(#[from] signet_workload_api::WitSvidError),
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A workload's WIT-SVID, ready for the Workload API.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) svid: Arc<WitSvid>,
    /// What verification said of it.
    pub(super) read: UnprovenWitSvid,
}

impl Held {
    /// Unix seconds.
    pub(super) fn ends(&self) -> i64 {
        seconds(self.read.expires())
    }
}

/// Makes a key and has a token bound to it for a registration.
pub(super) async fn issue(
    channel: CaChannel,
    bundles: Arc<WitBundleSet>,
    registration: Arc<Registration>,
) -> Result<Held, IssueError> {
    let request = new_request()?;
    let call = IssueWitSvidRequest {
        registration: registration.id.clone(),
        csr: request.csr().to_vec(),
    };
    let key = WorkloadKey::read(&request.into_key())?;
    let answer = timeout(CALL, WitServiceClient::new(channel).issue_wit_svid(call))
        .await
        .map_err(|_| IssueError::Deadline)?
        .map_err(|status| {
            let why = status.message().to_owned();
            if status.code() == Code::Unimplemented {
                IssueError::Off(why)
            } else {
                IssueError::Refused(why)
            }
        })?
        .into_inner();
    check(
        Zeroizing::new(answer.token),
        key,
        &bundles,
        &registration.spiffe_id,
    )
}

/// Checks that a token is what was asked for: workloads get nothing that a peer would refuse.
pub(super) fn check(
    token: Zeroizing<String>,
    key: WorkloadKey,
    bundles: &WitBundleSet,
    wanted: &SpiffeId,
) -> Result<Held, IssueError> {
    let read = verify_wit_svid(&token, bundles, UnixTime::now())?;
    if read.issued_to() != wanted {
        return Err(IssueError::Other(read.issued_to().clone()));
    }
    if *read.key() != key.public {
        return Err(IssueError::OtherKey);
    }
    Ok(Held {
        svid: Arc::new(WitSvid::new(wanted.clone(), token, key.jwk)?),
        read,
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use signet_spiffe::{ProofContext, SeenProofs, TrustDomain, WitBundle, WitProofClaims, sign_wit_proof};

    use super::*;
    use crate::wit::testing::{Signer, token};

    #[test]
    fn an_answer_for_another_identity_or_another_key_is_of_no_use() {
        let (ca, domain) = (Signer::generate(), TrustDomain::parse("td").expect("valid"));
        let bundle = WitBundle::new(domain, vec![ca.public.clone()]).expect("a bundle");
        let bundles = WitBundleSet::single(bundle);
        let key = || WorkloadKey::read(&new_request().expect("a key").into_key()).expect("P-256");
        let web = SpiffeId::parse("spiffe://td/web").expect("valid");
        let other = SpiffeId::parse("spiffe://td/other").expect("valid");
        let mine = key();
        let of_other = token(&ca, &other, &mine);
        assert!(matches!(
            check(of_other, mine, &bundles, &web),
            Err(IssueError::Other(_))
        ));
        let of_other_key = token(&ca, &web, &key());
        assert!(matches!(
            check(of_other_key, key(), &bundles, &web),
            Err(IssueError::OtherKey)
        ));
        let mine = key();
        let by_another = token(&Signer::generate(), &web, &mine);
        assert!(matches!(
            check(by_another, mine, &bundles, &web),
            Err(IssueError::Svid(_))
        ));
        let mine = key();
        let good = token(&ca, &web, &mine);
        assert!(check(good, mine, &bundles, &web).is_ok());
    }

    /// The JWK that a workload gets is of the key in its token: with it a peer believes it.
    #[test]
    fn spiffe_row_33_the_key_that_a_workload_gets_proves_its_token() {
        let (ca, domain) = (Signer::generate(), TrustDomain::parse("td").expect("valid"));
        let bundle = WitBundle::new(domain, vec![ca.public.clone()]).expect("a bundle");
        let bundles = WitBundleSet::single(bundle);
        let web = SpiffeId::parse("spiffe://td/web").expect("valid");
        let key = WorkloadKey::read(&new_request().expect("a key").into_key()).expect("P-256");
        let token = token(&ca, &web, &key);
        let held = check(token, key, &bundles, &web).expect("good");
        let member = |name: &str| {
            let start = format!("\"{name}\":\"");
            let (_, rest) = held.svid.secret_key().split_once(&start).expect("a member");
            let (value, _) = rest.split_once('"').expect("an end");
            data_encoding::BASE64URL_NOPAD
                .decode(value.as_bytes())
                .expect("base64url")
        };
        let point = [vec![4], member("x"), member("y")].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &member("d"),
            &point,
        );
        let workload = Signer::new(pair.expect("one key"));
        let proof = WitProofClaims {
            wit_svid: held.svid.token(),
            audience: "https://reports",
            expires: UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() + 60)),
            token_id: "1",
            access_token: None,
            transaction_token: None,
        };
        let proof = sign_wit_proof(&workload, &proof).expect("signs");
        let proven = held.read.clone().proven_by(
            &proof,
            &ProofContext::of("https://reports"),
            &mut SeenProofs::new(1),
            UnixTime::now(),
        );
        assert_eq!(proven.expect("proven").id(), &web);
    }
}
