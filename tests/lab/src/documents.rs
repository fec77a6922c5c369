//! The YAML that every signet-meshd of the lab reads.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use signet_source::{Set, SourceError};

use crate::spec::{LabFile, SpecError, place};
use crate::{LabError, LabPaths, Plan, WorkloadPlan};

/// One document, and where in the lab file it comes from.
struct Document {
    /// As in `policies[0]`.
    origin: String,
    /// As in `policy shop/web`.
    object: String,
    /// Name of its file in the configuration folder.
    file: String,
    value: Value,
}

/// Writes one file per workload and policy.
pub(crate) fn write(plan: &Plan, paths: &LabPaths) -> Result<(), LabError> {
    let folder = paths.config();
    fs::create_dir_all(&folder).map_err(LabError::io("make", &folder))?;
    for document in documents(plan, paths) {
        let path = folder.join(&document.file);
        let text = serde_saphyr::to_string(&document.value).map_err(|error| LabError::State {
            path: path.clone(),
            what: error.to_string(),
        })?;
        write_one(&path, &text)?;
    }
    Ok(())
}

/// Reads all documents as signet-meshd will, before anything is made.
pub(crate) fn check(plan: &Plan, file: &LabFile) -> Result<(), SpecError> {
    let documents = documents(plan, &LabPaths::new(&plan.lab));
    let mut texts = Vec::with_capacity(documents.len());
    for document in &documents {
        let text = serde_saphyr::to_string(&document.value).map_err(|error| SpecError::Field {
            file: file.source.clone(),
            line: file.places.line(&document.origin),
            field: document.origin.clone(),
            what: error.to_string(),
        })?;
        texts.push(text);
    }
    let origins = documents.iter().map(|document| document.origin.as_str());
    let Err(errors) = Set::parse(origins.zip(texts.iter().map(String::as_str))) else {
        return Ok(());
    };
    let more = (errors.more() > 0).then(|| format!("and {} more errors", errors.more()));
    let lines = errors.iter().map(|error| line(error, &documents, file));
    Err(SpecError::Documents {
        lines: lines.chain(more).collect(),
    })
}

/// An error of a document as one of the lab file.
fn line(error: &SourceError, documents: &[Document], file: &LabFile) -> String {
    let Some(document) = documents.iter().find(|document| document.origin == error.file) else {
        return SourceError::file(&file.source, &error.message).to_string();
    };
    let field = match field(document, &error.field) {
        field if field.is_empty() => document.origin.clone(),
        field => format!("{}.{field}", document.origin),
    };
    // Where another document is meant, its place is that of its origin.
    let message = documents.iter().fold(error.message.clone(), |message, other| {
        let there = place(&file.source, file.places.line(&other.origin), 0);
        message.replace(&format!(" {}:1", other.origin), &format!(" {there}"))
    });
    let message = format!("{field}: {}: {message}", document.object);
    SourceError::file(place(&file.source, file.places.line(&field), 0), message).to_string()
}

/// The field of the lab file that a field of a document was made from: a workload is written in another way there.
fn field(document: &Document, field: &str) -> String {
    if document.origin.starts_with("policies") {
        return field.to_owned();
    }
    let inner = field
        .strip_prefix("metadata.")
        .or_else(|| field.strip_prefix("spec."));
    let made = ["addresses", "interface", "netns"];
    match inner {
        Some(inner) if !made.iter().any(|name| inner.starts_with(name)) => inner.to_owned(),
        Some(_) | None => String::new(),
    }
}

/// All documents: workloads, then policies, in the order of the lab file.
fn documents(plan: &Plan, paths: &LabPaths) -> Vec<Document> {
    let workloads = plan
        .workloads
        .iter()
        .enumerate()
        .map(|(index, workload)| Document {
            origin: format!("workloads[{index}]"),
            object: format!("workload {}", workload.full_name()),
            file: format!("workload-{}-{}.yaml", workload.namespace, workload.name),
            value: document(workload, paths),
        });
    let policies = plan.policies.iter().enumerate().map(|(index, policy)| {
        let text = |pointer| policy.pointer(pointer).and_then(Value::as_str);
        let name = text("/metadata/name").unwrap_or("unnamed");
        let namespace =
            text("/metadata/namespace").map_or_else(String::new, |namespace| format!("{namespace}/"));
        // The number keeps policies of one name in different namespaces apart, and the name harmless in a path.
        let harmless: String = name
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect();
        Document {
            origin: format!("policies[{index}]"),
            object: format!("policy {namespace}{name}"),
            file: format!("policy-{index:02}-{harmless}.yaml"),
            value: policy.clone(),
        }
    });
    workloads.chain(policies).collect()
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

fn write_one(path: &Path, text: &str) -> Result<(), LabError> {
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
    - from: [{entity: world}]
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

    const POLICY: &str = "\
name: demo
nodes: [{name: n1}]
workloads:
- {name: web, namespace: shop, node: n1}
policies:
- apiVersion: signet.io/v1alpha1
  kind: Policy
  metadata: {name: web, namespace: shop}
  spec:
    ingress:
    - from:
      - workload: {serviceAccount: client}
      ports: [{protocol: TCP, port: 8080}]
";

    fn refused(text: &str) -> String {
        let file = LabFile::parse(text, "lab.yaml").unwrap();
        Plan::new(&file).unwrap_err().to_string()
    }

    #[test]
    fn a_mistake_in_a_policy_is_refused_with_line_field_and_object() {
        assert!(Plan::new(&LabFile::parse(POLICY, "lab.yaml").unwrap()).is_ok());
        let message = refused(&POLICY.replace("      ports:", "      portz:"));
        let expected =
            "lab.yaml:13: policies[0].spec.ingress[0].portz: policy shop/web: unknown field `portz`";
        assert!(message.starts_with(expected), "{message}");
        let message = refused(&POLICY.replace("8080", "99999"));
        assert_eq!(
            message,
            "lab.yaml:13: policies[0].spec.ingress[0].ports[0].port: policy shop/web: expected a number up to 65535"
        );
        let message = refused(
            &POLICY
                .replace("    - from:\n", "    - action: Allow\n      from:\n")
                .replace("client}", "C l}"),
        );
        assert!(
            message.starts_with(
                "lab.yaml:13: policies[0].spec.ingress[0].from[0].workload.serviceAccount: policy shop/web: "
            ),
            "{message}"
        );
    }

    #[test]
    fn every_mistake_is_told_and_twice_the_same_name_with_the_place_of_the_first() {
        let (_, policy) = POLICY.split_once("policies:\n").unwrap();
        let twice = format!("{POLICY}{policy}{}", policy.replace("spec:", "spek:"));
        let message = refused(&twice);
        let lines: Vec<_> = message.lines().collect();
        assert_eq!(lines.len(), 2, "{message}");
        assert_eq!(
            lines[0],
            "lab.yaml:16: policies[1].metadata.name: policy shop/web: policy shop/web is there already, in lab.yaml:6"
        );
        assert!(
            lines[1].starts_with("lab.yaml:25: policies[2].spek: "),
            "{message}"
        );
    }

    #[test]
    fn a_workloads_mistake_is_told_of_its_field_in_the_lab_file() {
        let message = refused(&POLICY.replace("node: n1}", "node: n1,\n   labels: {app: 'a b'}}"));
        assert!(
            message.starts_with("lab.yaml:5: workloads[0].labels.app: workload shop/web: "),
            "{message}"
        );
    }
}
