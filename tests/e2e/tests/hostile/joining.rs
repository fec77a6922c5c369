//! Nodes that want to join: with a good token, once, and with any other, never.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Child;

use anyhow::{Context, Result, ensure};
use signet_e2e::Stage;
use signet_proto::ca::v1::{CreateJoinTokenRequest, ListNodesRequest, StatusRequest};

use crate::still_works;

/// A join token for a node, from the operator.
pub(crate) fn join_token(stage: &Stage, node: &str, pod_cidrs: &[String]) -> Result<String> {
    stage.ca(async |mut ca| {
        let request = CreateJoinTokenRequest {
            node: node.into(),
            pod_cidrs: pod_cidrs.to_vec(),
            ttl: 600,
            addresses: vec![],
        };
        Ok(ca.create_join_token(request).await?.into_inner().token)
    })
}

/// The nodes that have attested.
fn attested(stage: &Stage) -> Result<Vec<String>> {
    stage.ca(async |mut ca| {
        let nodes = ca.list_nodes(ListNodesRequest {}).await?.into_inner().nodes;
        let names = nodes.into_iter().filter_map(|entry| Some(entry.node?.name));
        Ok(names.collect())
    })
}

/// An agent beside the lab's own ones, killed when this is dropped.
struct Joining {
    child: Child,
    home: PathBuf,
}

impl Joining {
    /// Starts an agent that wants to be n9, in a folder of its own.
    fn start(stage: &Stage, name: &str, token: &str) -> Result<Self> {
        let home = stage.lab().paths().run_dir().join("joining").join(name);
        std::fs::create_dir_all(home.join("bpf"))?;
        let bundle =
            stage.ca(async |mut ca| Ok(ca.status(StatusRequest {}).await?.into_inner().bundle_pem))?;
        std::fs::write(home.join("bundle.pem"), bundle)?;
        std::fs::write(home.join("token"), token)?;
        let text = |path: &Path| path.display().to_string();
        let agent = text(&stage.lab().bin_dir().join("signet-agent"));
        let [bundle, token, data, run, bpf] =
            ["bundle.pem", "token", "data", "run", "bpf"].map(|file| text(&home.join(file)));
        let arguments = [
            agent.as_str(),
            "run",
            "--node",
            "n9",
            "--ca",
            "172.30.0.2:4240",
            "--trust-bundle",
            &bundle,
            "--join-token-file",
            &token,
            "--data-dir",
            &data,
            "--run-dir",
            &run,
            "--bpffs",
            &bpf,
            "--listen",
            "127.0.0.1:4299",
        ];
        let log = File::create(home.join("log"))?;
        let child = stage.lab().command("n1", &arguments)?.stderr(log).spawn()?;
        Ok(Self { child, home })
    }

    /// Waits until its log has a line with all these words.
    fn says(&self, stage: &Stage, words: &[&str]) -> Result<()> {
        let log = || std::fs::read_to_string(self.home.join("log")).unwrap_or_default();
        let said = stage.eventually(&format!("the agent says {words:?}"), |_| {
            let log = log();
            let mut lines = log.lines();
            Ok(lines
                .any(|line| words.iter().all(|word| line.contains(word)))
                .then_some(()))
        });
        said.with_context(|| format!("its log: {}", log()))
    }

    /// Whether it keeps a key or a certificate.
    fn has_identity(&self) -> bool {
        std::fs::read_dir(self.home.join("data")).is_ok_and(|mut entries| entries.next().is_some())
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn join_tokens_work_once_and_wrong_ones_never(stage: &mut Stage) -> Result<()> {
    const REFUSED: [&str; 2] = ["did not accept this node", "the join token was refused"];
    let token = join_token(stage, "n9", &["10.244.9.0/24".to_owned()])?;
    let mut forged = token.clone();
    let last = forged.pop().context("an empty token")?;
    forged.push(if last == '0' { '1' } else { '0' });
    for (name, wrong) in [("garbage", "not-a-token-at-all"), ("forged", forged.as_str())] {
        let joining = Joining::start(stage, name, wrong)?;
        joining.says(stage, &REFUSED)?;
        ensure!(
            !joining.has_identity(),
            "a {name} token left something on the disk"
        );
    }
    ensure!(
        !attested(stage)?.contains(&"n9".to_owned()),
        "a refused node is listed"
    );

    let joining = Joining::start(stage, "first", &token)?;
    joining.says(stage, &["attested to the CA", "/signet/node/n9"])?;
    ensure!(
        attested(stage)?.contains(&"n9".to_owned()),
        "the node is not listed"
    );
    drop(joining);

    let joining = Joining::start(stage, "second", &token)?;
    joining.says(stage, &REFUSED)?;
    ensure!(!joining.has_identity(), "a used token left something on the disk");
    // The nodes that are there are none the worse for it.
    still_works(stage)
}
