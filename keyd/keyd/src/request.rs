//! From the wire to types that are always valid.

use std::mem::take;

use signet_abi::NodeId;
use signet_proto::keyd::v1::InstallPeerRequest;
use signet_proto::view::v1::EncryptionMode;
use signet_toggle::Mode;
use signet_wireguard::{
    AllowedIp, AllowedIpError, Endpoint, EndpointError, KeyError, PeerConfig, PresharedKey, PublicKey,
};

/// AllowedIPs of one peer at most.
const MAX_ALLOWED_IPS: usize = 256;
/// Bytes of a node's name at most: a DNS label.
const MAX_NAME: usize = 63;

/// A request that makes no sense by itself.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// Node 0.
    #[error("node_id is 0: node numbers start at 1")]
    NodeId,
    /// No DNS label.
    #[error("node is not a DNS label of 1 to 63 letters, digits and '-'")]
    NodeName,
    /// No mode.
    #[error("mode is not set: say off or wireguard")]
    Mode,
    /// No public key.
    #[error("public_key: {0}")]
    PublicKey(#[source] KeyError),
    /// No preshared key.
    #[error("preshared_key: {0}")]
    PresharedKey(#[source] KeyError),
    /// No endpoint.
    #[error("endpoint: {0}")]
    Endpoint(#[source] EndpointError),
    /// No prefix.
    #[error("allowed_ips: {0}")]
    AllowedIp(#[source] AllowedIpError),
    /// Too many prefixes.
    #[error("allowed_ips has {0} entries: at most 256 are taken")]
    TooManyAllowedIps(usize),
    /// One prefix contains another.
    #[error("allowed_ips: {0} overlaps {1}")]
    SelfOverlap(AllowedIp, AllowedIp),
}

/// A peer to be installed.
#[derive(Debug)]
pub(crate) struct Install {
    pub(crate) node_id: NodeId,
    pub(crate) node: String,
    pub(crate) config: PeerConfig,
}

/// Reads an `InstallPeer`. The request's preshared key is zeroized in any case.
pub(crate) fn install(mut request: InstallPeerRequest) -> Result<Install, RequestError> {
    let preshared_key = PresharedKey::take(take(&mut request.preshared_key));
    let node_id = node_id(request.node_id)?;
    let label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if request.node.is_empty() || request.node.len() > MAX_NAME || !request.node.bytes().all(label) {
        return Err(RequestError::NodeName);
    }
    if request.allowed_ips.len() > MAX_ALLOWED_IPS {
        return Err(RequestError::TooManyAllowedIps(request.allowed_ips.len()));
    }
    let allowed_ips = request.allowed_ips.iter().map(|ip| ip.parse());
    let mut allowed_ips: Vec<AllowedIp> = allowed_ips
        .collect::<Result<_, _>>()
        .map_err(RequestError::AllowedIp)?;
    allowed_ips.sort_unstable();
    // Sorted, a prefix stands right before those that it contains.
    for pair in allowed_ips.windows(2) {
        if let [one, two] = pair
            && one.overlaps(two)
        {
            return Err(RequestError::SelfOverlap(*one, *two));
        }
    }
    let config = PeerConfig {
        public_key: PublicKey::from_slice(&request.public_key).map_err(RequestError::PublicKey)?,
        preshared_key: preshared_key.map_err(RequestError::PresharedKey)?,
        endpoint: request
            .endpoint
            .parse::<Endpoint>()
            .map_err(RequestError::Endpoint)?,
        allowed_ips,
    };
    Ok(Install {
        node_id,
        node: request.node,
        config,
    })
}

/// Reads a node's number.
pub(crate) fn node_id(number: u32) -> Result<NodeId, RequestError> {
    match NodeId(number) {
        NodeId::NONE => Err(RequestError::NodeId),
        node => Ok(node),
    }
}

/// Reads a mode.
pub(crate) fn mode(mode: EncryptionMode) -> Result<Mode, RequestError> {
    match mode {
        EncryptionMode::Unspecified => Err(RequestError::Mode),
        EncryptionMode::Off => Ok(Mode::Off),
        EncryptionMode::Wireguard => Ok(Mode::WireGuard),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> InstallPeerRequest {
        InstallPeerRequest {
            node_id: 2,
            node: "n2".to_owned(),
            public_key: vec![1; 32],
            endpoint: "192.0.2.2:51871".to_owned(),
            preshared_key: vec![2; 32],
            allowed_ips: vec!["10.244.2.0/24".to_owned(), "fd00:244:2::/64".to_owned()],
        }
    }

    fn refused(change: impl FnOnce(&mut InstallPeerRequest)) -> String {
        let mut request = good();
        change(&mut request);
        install(request).unwrap_err().to_string()
    }

    #[test]
    fn a_good_request_is_taken_whole() {
        let install = install(good()).unwrap();
        assert_eq!((install.node_id, install.node.as_str()), (NodeId(2), "n2"));
        assert_eq!(install.config.allowed_ips.len(), 2);
    }

    #[test]
    fn each_bad_field_is_named() {
        assert!(refused(|r| r.node_id = 0).contains("node_id"));
        assert!(refused(|r| r.node = "../n2".to_owned()).contains("node is not"));
        assert!(refused(|r| r.node = "n".repeat(64)).contains("node is not"));
        assert!(refused(|r| r.public_key = vec![1; 31]).starts_with("public_key: "));
        assert!(refused(|r| r.public_key = vec![0; 32]).starts_with("public_key: "));
        assert!(refused(|r| r.preshared_key = vec![]).starts_with("preshared_key: "));
        assert!(refused(|r| r.preshared_key = vec![0; 32]).starts_with("preshared_key: "));
        assert!(refused(|r| r.endpoint = "127.0.0.1:51871".to_owned()).starts_with("endpoint: "));
        assert!(refused(|r| r.allowed_ips = vec!["0.0.0.0/0".to_owned()]).starts_with("allowed_ips: "));
        assert!(refused(|r| r.allowed_ips = vec!["10.0.0.0/8".to_owned(); 257]).contains("257"));
        assert!(
            refused(|r| r.allowed_ips.insert(0, "10.0.0.0/8".to_owned()))
                .contains("10.0.0.0/8 overlaps 10.244.2.0/24")
        );
    }

    #[test]
    fn a_node_without_pods_may_have_no_prefix() {
        let mut request = good();
        request.allowed_ips.clear();
        assert!(install(request).is_ok());
    }
}
