//! One certificate from the CA.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use signet_handshake::Credentials;
use signet_proto::ca::v1::IssueX509SvidRequest;
use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use signet_spiffe::{BundleSet, SpiffeId, SvidError, UnixTime, VerifiedSvid, verify_x509_svid};
use signet_workload_api::{X509Svid, X509SvidError};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::ca::{CaChannel, new_request_for};
use crate::clock::seconds;
use crate::tasks::Fault;
use crate::view::Registration;

const CALL: Duration = Duration::from_secs(10);

/// Why there is no SVID.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// No key.
    #[error("failed to make a key")]
    Key(#[from] rcgen::Error),
    /// The agent ends.
    #[error("the key was not finished")]
    Interrupted,
    /// No answer.
    #[error("the CA does not answer")]
    Deadline,
    /// A refusal.
    #[error("the CA refused: {}", .0.message())]
    Refused(Box<tonic::Status>),
    /// An answer that is of no use.
    #[error("the CA's SVID does not verify")]
    Svid(#[from] SvidError),
    /// An answer for somebody else.
    #[error("the CA's SVID is of {0}")]
    Other(SpiffeId),
    /// A key of an unexpected kind.
    #[error("the key is not PKCS#8")]
    KeyFormat,
    /// Not for workloads.
    #[error("the SVID cannot be given out")]
    Offer(#[from] X509SvidError),
    /// Ours.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A workload's SVID with its key, ready for handshakes and for the Workload API.
#[derive(Debug)]
pub struct WorkloadSvid {
    /// For handshakes.
    pub credentials: Arc<Credentials>,
    /// For the workload.
    pub offer: Arc<X509Svid>,
    /// What verification said of it.
    pub verified: VerifiedSvid,
    /// Unix seconds.
    pub not_before: i64,
    /// Unix seconds.
    pub not_after: i64,
    /// Hexadecimal.
    pub serial: String,
}

/// Gets SVIDs from the CA.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The node's channel to the CA.
    pub channel: CaChannel,
    /// What answers are verified against.
    pub bundles: Arc<BundleSet>,
}

impl Issuer {
    /// Makes a key and has it certified for a registration.
    pub async fn issue(self, registration: Arc<Registration>) -> Result<WorkloadSvid, IssueError> {
        let kind = registration.certificates.key_type;
        let request = spawn_blocking(move || new_request_for(kind))
            .await
            .map_err(|_| IssueError::Interrupted)??;
        let call = IssueX509SvidRequest {
            registration: registration.id.clone(),
            csr: request.csr().to_vec(),
        };
        let svid = timeout(CALL, NodeServiceClient::new(self.channel).issue_x509_svid(call))
            .await
            .map_err(|_| IssueError::Deadline)?
            .map_err(|status| IssueError::Refused(Box::new(status)))?
            .into_inner();
        let chain = svid.chain.into_iter().map(Into::into).collect();
        WorkloadSvid::new(request.with_chain(chain), &registration.spiffe_id, &self.bundles)
    }
}

impl WorkloadSvid {
    /// Checks that the pair is a valid SVID of `wanted`, now.
    pub fn new(
        key_pair: signet_tls::SvidKeyPair,
        wanted: &SpiffeId,
        bundles: &BundleSet,
    ) -> Result<Self, IssueError> {
        let verified = verify_x509_svid(&key_pair.chain, bundles, UnixTime::now())?;
        if verified.id() != wanted {
            return Err(IssueError::Other(verified.id().clone()));
        }
        let PrivateKeyDer::Pkcs8(key) = &key_pair.key else {
            return Err(IssueError::KeyFormat);
        };
        let key = PrivatePkcs8KeyDer::from(key.secret_pkcs8_der().to_vec());
        let offer = X509Svid::new(wanted.clone(), key_pair.chain.clone(), key)?;
        let mut serial = String::new();
        for byte in verified.serial() {
            // Writing to a String cannot fail.
            let _ = write!(serial, "{byte:02x}");
        }
        Ok(Self {
            credentials: Arc::new(Credentials::new(key_pair, &verified)),
            offer: Arc::new(offer),
            not_before: seconds(verified.not_before()),
            not_after: seconds(verified.not_after()),
            serial,
            verified,
        })
    }
}
