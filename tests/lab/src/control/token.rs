//! Join tokens: what lets a node's agent attest.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use signet_proto::ca::v1::{CreateJoinTokenRequest, StatusRequest};

use crate::clients::{ca_client, refused};
use crate::processes::token_file;
use crate::{LabError, LabPaths, NodePlan};

/// Life of a token, seconds.
const TTL: u32 = 600;

/// Gets a fresh token for a node, and the trust bundle, and writes both where the agent looks.
pub(super) async fn provide(paths: &LabPaths, node: &NodePlan) -> Result<(), LabError> {
    let mut ca = ca_client(&paths.ca_socket())?;
    let status = ca
        .status(StatusRequest {})
        .await
        .map_err(refused("the CA's status"))?
        .into_inner();
    let request = CreateJoinTokenRequest {
        node: node.name.clone(),
        pod_cidrs: node.pod_cidrs.to_vec(),
        ttl: TTL,
        addresses: vec![node.ipv4.to_string(), node.ipv6.to_string()],
    };
    let token = ca
        .create_join_token(request)
        .await
        .map_err(refused("a join token"))?
        .into_inner();
    write_private(&paths.trust_bundle(), &status.bundle_pem)?;
    write_private(&token_file(paths, &node.name), &token.token)
}

/// Replaces a file that only root may read.
fn write_private(path: &Path, text: &str) -> Result<(), LabError> {
    // Written beside and renamed: an agent that starts meanwhile never reads half of it.
    let beside = path.with_extension("tmp");
    let written = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&beside);
    let written = written.and_then(|mut file| file.write_all(text.as_bytes()));
    written
        .and_then(|()| fs::rename(&beside, path))
        .map_err(LabError::io("write", path))
}
