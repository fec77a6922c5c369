//! Tells the CA of the workloads.

use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::{ListRegistrationsRequest, RegisterRequest};
use tonic::transport::Channel;

use crate::clients::refused;
use crate::{LabError, Plan};

/// Registers every workload that should be and is not yet; returns how many there are.
pub(super) async fn register(
    plan: &Plan,
    ca: &mut OperatorServiceClient<Channel>,
) -> Result<usize, LabError> {
    let request = ListRegistrationsRequest {};
    let known = ca
        .list_registrations(request)
        .await
        .map_err(refused("the list of registrations"))?
        .into_inner();
    let wanted: Vec<_> = plan
        .workloads
        .iter()
        .filter(|workload| workload.registered)
        .collect();
    for workload in &wanted {
        let selector = format!("endpoint:{}", workload.full_name());
        if known
            .registrations
            .iter()
            .any(|registration| registration.selectors.contains(&selector))
        {
            continue;
        }
        let request = RegisterRequest {
            spiffe_id: workload.spiffe_id(&plan.trust_domain),
            node: workload.node.clone(),
            selectors: vec![selector],
            ttl: 0,
            ..RegisterRequest::default()
        };
        let what = format!("registering {}", workload.full_name());
        ca.register(request).await.map_err(refused(&what))?;
    }
    Ok(wanted.len())
}
