use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use signet_proto::ca::v1::node_evidence::Proof;
use signet_proto::ca::v1::{NodeAnswer, NodeChallenge};
use zeroize::Zeroizing;

use super::{Answerer, Asked, NodeProver};

/// Longest join token that is read, bytes.
const TOKEN: usize = 4096;

/// By a join token in a file.
#[derive(Debug)]
pub struct JoinToken {
    /// The file. It need not be there yet.
    pub file: PathBuf,
}

impl NodeProver for JoinToken {
    fn begin(&self) -> anyhow::Result<(Proof, Box<dyn Answerer>)> {
        let file = self.file.display();
        let limit = u64::try_from(TOKEN + 1).unwrap_or(u64::MAX);
        // Room from the start, so that no half-grown copy of the token stays behind in freed memory.
        let mut text = Zeroizing::new(Vec::with_capacity(2 * TOKEN));
        File::open(&self.file)
            .and_then(|opened| opened.take(limit).read_to_end(&mut text))
            .with_context(|| format!("failed to read the join token in {file}"))?;
        ensure!(text.len() <= TOKEN, "{file} is too long for a join token");
        let text = std::str::from_utf8(&text).context("the join token is not text")?;
        Ok((Proof::JoinToken(text.trim().to_owned()), Box::new(Nothing)))
    }
}

/// Whoever shows a token is asked nothing.
struct Nothing;

impl Answerer for Nothing {
    fn answer(self: Box<Self>, _: &NodeChallenge, _: &Asked) -> anyhow::Result<NodeAnswer> {
        bail!("the CA asks for more than the join token")
    }
}
