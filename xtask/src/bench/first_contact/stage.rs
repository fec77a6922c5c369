//! The lab in which strangers meet.

use std::fmt::Write as _;

/// Asks for a proof.
pub(super) const PROVEN: u16 = 7000;
/// Asks for none.
pub(super) const PLAIN: u16 = 7001;

/// All clients on n0, the servers on the other nodes in turns.
pub(super) struct Stage {
    pub(super) name: &'static str,
    /// What the agents prove before anybody asks.
    pub(super) preauth: &'static str,
    /// Besides the clients'.
    pub(super) nodes: usize,
    pub(super) servers: usize,
    pub(super) clients: usize,
}

impl Stage {
    pub(super) fn yaml(&self) -> String {
        let mut yaml = format!(
            "name: {}\npreauth: {}\nnodes: [{{name: n0}}",
            self.name, self.preauth
        );
        for n in 1..=self.nodes {
            // Writing to a String cannot fail.
            let _ = write!(yaml, ", {{name: n{n}}}");
        }
        yaml.push_str("]\nworkloads:\n");
        for n in 1..=self.servers {
            let node = 1 + (n - 1) % self.nodes;
            let _ = writeln!(
                yaml,
                "- {{name: s{n}, node: n{node}, labels: {{app: server}}, serve: {{udp: [{PROVEN}, {PLAIN}]}}}}"
            );
        }
        let mut from = Vec::new();
        for n in 1..=self.clients {
            let _ = writeln!(yaml, "- {{name: c{n}, node: n0}}");
            from.push(format!("{{workload: {{serviceAccount: c{n}}}}}"));
        }
        let _ = write!(
            yaml,
            "policies:
- apiVersion: signet.io/v1alpha1
  kind: Policy
  metadata: {{name: servers, namespace: default}}
  spec:
    endpointSelector: {{matchLabels: {{app: server}}}}
    ingress:
    - from: [{}]
      ports: [{{protocol: UDP, port: {PROVEN}}}]
      authentication: required
    - from: [{{entity: cluster}}]
      ports: [{{protocol: UDP, port: {PLAIN}}}]
",
            from.join(", ")
        );
        yaml
    }
}

#[cfg(test)]
mod tests {
    use signet_lab::LabFile;

    use super::*;

    #[test]
    fn a_stage_is_a_lab_however_large_it_is() {
        for (servers, clients) in [(1, 1), (100, 100)] {
            let stage = Stage {
                name: "benchx",
                preauth: "policy",
                nodes: 2.min(servers),
                servers,
                clients,
            };
            let yaml = stage.yaml();
            let file = LabFile::parse(&yaml, "test").unwrap();
            assert_eq!(file.workloads.len(), servers + clients, "{yaml}");
        }
    }
}
