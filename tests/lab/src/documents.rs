//! The YAML that every signet-meshd of the lab reads.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::{LabError, LabPaths, Plan, WorkloadPlan};

/// Writes one file per workload and policy.
pub(crate) fn write(plan: &Plan, paths: &LabPaths) -> Result<(), LabError> {
    let folder = paths.config();
    fs::create_dir_all(&folder).map_err(LabError::io("make", &folder))?;
    for workload in &plan.workloads {
        let name = format!("workload-{}-{}.yaml", workload.namespace, workload.name);
        write_one(&folder.join(name), &document(workload, paths))?;
    }
    for (index, policy) in plan.policies.iter().enumerate() {
        let name = policy
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or("unnamed");
        // The number keeps policies of one name in different namespaces apart, and the name harmless in a path.
        let name: String = name
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect();
        write_one(&folder.join(format!("policy-{index:02}-{name}.yaml")), policy)?;
    }
    Ok(())
}

/// The Workload document of a workload.
fn document(workload: &WorkloadPlan, paths: &LabPaths) -> Value {
    json!({
        "apiVersion": "signet.io/v1alpha1",
        "kind": "Workload",
        "metadata": {
            "name": workload.name,
            "namespace": workload.namespace,
            "labels": workload.labels,
        },
        "spec": {
            "node": workload.node,
            "serviceAccount": workload.service_account,
            "addresses": [workload.ipv4, workload.ipv6],
            "interface": workload.interface,
            "netns": paths.netns(&workload.name),
        },
    })
}

fn write_one(path: &Path, document: &Value) -> Result<(), LabError> {
    let text = serde_saphyr::to_string(document).map_err(|error| LabError::State {
        path: path.to_owned(),
        what: error.to_string(),
    })?;
    // Written beside under a name that is not read, then renamed: no daemon sees half a file.
    let beside = path.with_extension("tmp");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(LabError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LabFile;

    #[test]
    fn a_policy_passes_through_unchanged() {
        let text = r#"
name: demo
nodes: [{name: n1}]
policies:
- apiVersion: signet.io/v1alpha1
  kind: Policy
  metadata: {name: web, namespace: shop}
  spec:
    endpointSelector: {matchLabels: {app: "true", version: "1.0"}}
    ingress:
    - from: [{workload: {serviceAccount: client}}]
      ports: [{protocol: TCP, port: 8080}]
      authentication: required
    - from: [{cidr: "::/0"}]
      action: Deny
    egress: []
"#;
        let plan = Plan::new(&LabFile::parse(text, "test").unwrap()).unwrap();
        let yaml = serde_saphyr::to_string(&plan.policies[0]).unwrap();
        assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), plan.policies[0]);
        assert_eq!(
            plan.policies[0]["spec"]["endpointSelector"]["matchLabels"]["version"],
            "1.0"
        );
    }

    #[test]
    fn a_workloads_document_says_where_it_is() {
        let text = "name: demo\nnodes: [{name: n1}]\nworkloads: [{name: web, namespace: shop, node: n1}]\n";
        let plan = Plan::new(&LabFile::parse(text, "test").unwrap()).unwrap();
        let document = document(&plan.workloads[0], &LabPaths::new(&plan.lab));
        assert_eq!(
            document["spec"]["addresses"],
            json!(["10.244.1.10", "fd00:244:1::10"])
        );
        assert_eq!(document["spec"]["netns"], "/run/netns/sg-demo-web");
        assert_eq!(document["spec"]["interface"], "sgv-web");
    }
}
