use std::net::SocketAddr;
use std::path::PathBuf;

use signet_spiffe::SpiffeId;

/// Another Signet CA, which signs this one's authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignetUpstream {
    /// Where its replicas listen for agents; each is tried in turn.
    pub addresses: Vec<SocketAddr>,
    /// The Workload API of its agent on this node, which gives this CA the SVID to ask with.
    pub workload_socket: PathBuf,
    /// Which of this process's identities there; `None`: the default one.
    pub identity: Option<SpiffeId>,
}
