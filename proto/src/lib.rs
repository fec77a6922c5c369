//! Every wire format of Signet and the code generated from it. The `.proto` files beside this crate are the documentation.
//!
//! Wire types stop at the edge of each crate that uses them: they are parsed there into types that are always valid.

#![expect(
    missing_docs,
    unused_qualifications,
    clippy::large_enum_variant,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

/// The SPIFFE Workload API.
pub mod workload {
    tonic::include_proto!("_");

    /// The definition itself with what it imports, a `google.protobuf.FileDescriptorSet`.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/workload.binpb"));
}

/// The SPIFFE Broker API.
pub mod broker {
    tonic::include_proto!("spiffe.broker");

    /// The definition itself with what it imports, a `google.protobuf.FileDescriptorSet`.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/broker.binpb"));
}

/// Details of errors.
pub mod rpc {
    tonic::include_proto!("google.rpc");
}

/// Envoy's Secret Discovery Service, version 3.
pub mod sds {
    tonic::include_proto!("envoy.service.secret.v3");
}

/// What a node knows of the trust domain.
pub mod view {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("signet.view.v1");
    }
}

/// The CA's services.
pub mod ca {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("signet.ca.v1");
    }
}

/// The node agent's service.
pub mod agent {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("signet.agent.v1");
    }
}

/// The mesh daemon's service.
pub mod mesh {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("signet.mesh.v1");
    }
}

/// The key daemon's service.
pub mod keyd {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("signet.keyd.v1");
    }
}

/// Messages of node sessions.
pub mod session {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("signet.session.v1");
    }
}
