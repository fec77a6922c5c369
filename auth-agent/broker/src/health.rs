//! The services beside the Broker API on its socket: health and reflection (Broker Endpoint §7). Like everything there, for
//! brokers alone.

use signet_proto::broker;
use tonic_reflection::server::Builder;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tonic_reflection::server::v1alpha;

/// Reflection in both versions that clients ask for.
pub(crate) fn reflection() -> Result<
    (
        ServerReflectionServer<impl ServerReflection>,
        v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>,
    ),
    tonic_reflection::server::Error,
> {
    let builder = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(broker::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok((builder().build_v1()?, builder().build_v1alpha()?))
}
