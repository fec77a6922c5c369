//! Names under which maps are pinned.

/// Map names: stable, they are the debugging surface. Each is pinned as a file of this name in the node's pin
/// directory (default `/sys/fs/bpf/signet`).
pub mod maps {
    /// [`crate::IpcacheKey`] → [`crate::IpcacheValue`], LPM trie.
    pub const IPCACHE: &str = "IPCACHE";
    /// [`crate::Address`] → [`crate::Endpoint`], hash.
    pub const ENDPOINTS: &str = "ENDPOINTS";
    /// [`crate::PolicyKey`] → [`crate::PolicyValue`], LPM trie.
    pub const POLICY: &str = "POLICY";
    /// [`crate::AuthKey`] → [`crate::AuthValue`], hash.
    pub const AUTH: &str = "AUTH";
    /// [`crate::LeaseKey`] → [`crate::Lease`], hash.
    pub const LEASES: &str = "LEASES";
    /// [`crate::LeaseEndKey`] → [`crate::LeaseEnd`], hash.
    pub const LEASE_ENDS: &str = "LEASE_ENDS";
    /// [`crate::Ct4Key`] → [`crate::CtValue`], LRU hash.
    pub const CT4: &str = "CT4";
    /// [`crate::Ct6Key`] → [`crate::CtValue`], LRU hash.
    pub const CT6: &str = "CT6";
    /// [`crate::NodeId`] → [`crate::NodeState`], hash.
    pub const NODES: &str = "NODES";
    /// index 0 → [`crate::MeshConfig`], array.
    pub const CONFIG: &str = "CONFIG";
    /// [`crate::FragmentKey`] → [`crate::FragmentValue`], LRU hash.
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// Ring buffer of [`crate::Signal`].
    pub const SIGNALS: &str = "SIGNALS";
    /// [`crate::AuthKey`] → `u64` ns of the last signal, LRU hash; keeps signals of a pair apart.
    pub const SIGNALLED: &str = "SIGNALLED";
    /// Ring buffer of [`crate::Flow`].
    pub const FLOWS: &str = "FLOWS";
    /// [`crate::metrics_index`] → `[packets, bytes]`, per-CPU array.
    pub const METRICS: &str = "METRICS";
}
