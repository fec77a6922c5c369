//! WIT-SVIDs from end to end: a real CA and a real agent, and a workload that fetches one, proves that it has its key to a peer, and
//! hears of everything that becomes of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "support/daemons.rs"]
mod daemons;

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use daemons::{DOMAIN, Daemons, PATIENCE};
use data_encoding::BASE64URL_NOPAD;
use signet_proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use signet_proto::workload::{WitBundlesRequest, Witsvid, WitsvidRequest, WitsvidResponse};
use signet_spiffe::{
    JwtAlgorithm, JwtSigner, JwtSignerError, ProofContext, ProofError, SeenProofs, TrustDomain, UnixTime,
    VerifiedWitSvid, WitBundle, WitBundleSet, WitProofClaims, sign_wit_proof, verify_wit_svid,
};
use tokio::time::{sleep, timeout};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

const HERE: &str = "https://reports.daemons.test/monthly";

type Client =
    SpiffeWorkloadApiClient<InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>>;

/// The key that came with a WIT-SVID.
struct Key(EcdsaKeyPair);

impl Key {
    fn of(svid: &Witsvid) -> Self {
        let member = |name: &str| {
            let (_, rest) = svid.wit_svid_key.split_once(&format!("\"{name}\":\"")).unwrap();
            let (value, _) = rest.split_once('"').unwrap();
            BASE64URL_NOPAD.decode(value.as_bytes()).unwrap()
        };
        let point = [vec![4], member("x"), member("y")].concat();
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        Self(EcdsaKeyPair::from_private_key_and_public_key(kind, &member("d"), &point).unwrap())
    }
}

impl JwtSigner for Key {
    fn algorithm(&self) -> JwtAlgorithm {
        JwtAlgorithm::Es256
    }

    fn key_id(&self) -> &'static str {
        "mine"
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JwtSignerError> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| JwtSignerError)?.as_ref().to_vec())
    }
}

fn client(socket: &Path) -> Client {
    SpiffeWorkloadApiClient::with_interceptor(signet_uds::connect(socket).unwrap(), |mut request| {
        request
            .metadata_mut()
            .insert("workload.spiffe.io", "true".parse().unwrap());
        Ok(request)
    })
}

async fn follow(client: &Client) -> Result<Streaming<WitsvidResponse>, Status> {
    let all = WitsvidRequest::default();
    Ok(client.clone().fetch_witsvid(all).await?.into_inner())
}

/// Until there is one: the agent tells us to try again.
async fn until_there(client: &Client) -> Streaming<WitsvidResponse> {
    let trying = async {
        loop {
            if let Ok(stream) = follow(client).await {
                return stream;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, trying).await.unwrap()
}

async fn next(stream: &mut Streaming<WitsvidResponse>) -> Result<Witsvid, Status> {
    let message = timeout(PATIENCE, stream.message()).await.unwrap()?;
    let mut svids = message.unwrap().svids;
    assert_eq!(svids.len(), 1);
    Ok(svids.remove(0))
}

async fn bundles(client: &Client) -> WitBundleSet {
    let stream = client.clone().fetch_wit_bundles(WitBundlesRequest {}).await;
    let message = stream.unwrap().into_inner().message().await.unwrap().unwrap();
    let own = &message.bundles[&format!("spiffe://{DOMAIN}")];
    WitBundleSet::single(WitBundle::from_jwks(TrustDomain::parse(DOMAIN).unwrap(), own).unwrap())
}

/// What a peer makes of a request with this SVID and a proof by that key.
fn shown(svid: &Witsvid, key: &Key, bundles: &WitBundleSet) -> Result<VerifiedWitSvid, ProofError> {
    let now = UnixTime::now();
    let proof = WitProofClaims {
        wit_svid: &svid.wit_svid,
        audience: HERE,
        expires: UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs() + 30)),
        token_id: "0123456789abcdef",
        access_token: None,
        transaction_token: None,
    };
    let proof = sign_wit_proof(key, &proof).unwrap();
    let read = verify_wit_svid(&svid.wit_svid, bundles, now).unwrap();
    read.proven_by(&proof, &ProofContext::of(HERE), &mut SeenProofs::new(1), now)
}

#[tokio::test]
async fn spiffe_row_31_32_33_34_a_workload_gets_one_proves_it_and_is_told_of_its_renewal_and_its_end() {
    let flag = "--experimental-wit-svid";
    let mut daemons = Daemons::new(&[flag, "--svid-ttl=10s"]);
    daemons.agent_options = vec![flag.to_owned()];
    daemons.start_ca();
    daemons.start_agent();
    let id = format!("spiffe://{DOMAIN}/reports-reader");
    daemons.register("/reports-reader", rustix::process::getgid().as_raw());
    let socket = daemons.path("run/workload.sock");
    let workload = client(&socket);
    let mut stream = until_there(&workload).await;
    let first = next(&mut stream).await.unwrap();
    assert_eq!(first.spiffe_id, id);
    let trusted = bundles(&workload).await;
    let key = Key::of(&first);
    let verified = shown(&first, &key, &trusted).unwrap();
    assert_eq!(verified.id().as_str(), id);
    assert_eq!(verified.key().algorithm(), JwtAlgorithm::Es256);

    // Renewed with a key of its own: a proof by the key of before is worth nothing with it.
    let second = next(&mut stream).await.unwrap();
    assert_ne!(second.wit_svid, first.wit_svid);
    assert!(shown(&second, &Key::of(&second), &trusted).is_ok());
    assert_eq!(shown(&second, &key, &trusted).unwrap_err(), ProofError::Signature);

    // Another signing key: whoever follows the bundles has it before anything is signed by it.
    daemons.signet(&["ca", "authority", "prepare", "wit"]);
    let turn = ["ca", "authority", "activate", "wit", "--now-that-nodes-know"];
    daemons::until("the node has the key", || daemons.try_signet(&turn).is_some());
    let before = trusted.iter().next().unwrap().keys().len();
    let trusted = bundles(&workload).await;
    assert_eq!((before, trusted.iter().next().unwrap().keys().len()), (1, 2));
    loop {
        let svid = next(&mut stream).await.unwrap();
        let read = verify_wit_svid(&svid.wit_svid, &trusted, UnixTime::now()).unwrap();
        if read.key_id() == trusted.iter().next().unwrap().keys()[1].id() {
            break;
        }
    }

    // Taken back: the stream ends, and there is none until the operator says so.
    daemons.signet(&[
        "ca",
        "revoke",
        "--spiffe-id",
        &id,
        "--reason",
        "key-compromise",
        "--yes",
    ]);
    let end = loop {
        if let Err(status) = next(&mut stream).await {
            break status;
        }
    };
    assert_eq!(end.code(), Code::PermissionDenied);
    assert!(follow(&workload).await.is_err());
    daemons.signet(&["ca", "reopen", &id]);
    let again = next(&mut until_there(&workload).await).await.unwrap();
    assert!(shown(&again, &Key::of(&again), &trusted).is_ok());

    // An agent without the flag has none, whatever the CA has.
    daemons.kill_agent();
    daemons.agent_options.clear();
    daemons.start_agent();
    let code = async || loop {
        match follow(&client(&socket)).await {
            Err(status) if status.code() == Code::Unavailable => sleep(Duration::from_millis(20)).await,
            Err(status) => return status.code(),
            Ok(_) => panic!("it gives one out"),
        }
    };
    assert_eq!(timeout(PATIENCE, code()).await.unwrap(), Code::Unimplemented);
}
