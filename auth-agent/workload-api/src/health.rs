//! The services beside the Workload API on its socket: health and reflection (Workload Endpoint §7). They tell nothing of
//! anybody's identity, so they ask nobody who they are.

use std::sync::Arc;

use signet_proto::workload;
use signet_proto::workload::spiffe_workload_api_server::SERVICE_NAME;
use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::Builder;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tonic_reflection::server::v1alpha;

use crate::Offers;
use crate::offer::State;

/// Says of the Workload API that it serves, once the first view has come from the CA. Never comes back.
pub(crate) async fn report(reporter: HealthReporter, mut offers: watch::Receiver<Arc<Offers>>) {
    loop {
        let status = match offers.borrow_and_update().0 {
            State::Starting => ServingStatus::NotServing,
            State::Ready { .. } => ServingStatus::Serving,
        };
        reporter.set_service_status(SERVICE_NAME, status).await;
        if offers.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

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
            .register_encoded_file_descriptor_set(workload::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok((builder().build_v1()?, builder().build_v1alpha()?))
}
