//! Which pairs were used: what live connections say, and a list that outlives the agent, and the node's kernel with its proofs.
//!
//! The list decides about an order alone: whoever writes into it makes other pairs be proven first, and nothing pass.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use signet_abi::{AuthKey, Authentication};
use signet_maps::{CtMaps, MapError, boottime_now};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::pairs::Pairs;
use crate::replace::{Lasting, replace};

/// Longest file that is read, bytes.
const LONGEST: u64 = 4 << 20;
/// Most pairs of one look, and of the list.
const MOST: usize = 8_192;
/// Connections are looked at this often; an idle one of UDP is remembered for about as long.
const LOOK: Duration = Duration::from_mins(1);

/// A pair by its names: local SPIFFE ID, remote SPIFFE ID, the other side's node.
pub(crate) type Names = [String; 3];

/// The list, the pair that was used last first.
#[derive(Clone, Debug)]
pub struct UsedFile(PathBuf);

impl UsedFile {
    /// In the data directory.
    pub fn new(data_dir: &Path) -> Self {
        Self(data_dir.join("used-pairs"))
    }

    /// What was saved last; nothing readable is nothing known.
    pub(crate) fn load(&self) -> Vec<Names> {
        let is_read = fs::metadata(&self.0).is_ok_and(|file| file.len() <= LONGEST);
        let text = is_read.then(|| fs::read_to_string(&self.0).ok()).flatten();
        let names = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some([words.next()?, words.next()?, words.next()?])
        };
        let text = text.unwrap_or_default();
        text.lines().filter_map(names).take(MOST).collect()
    }

    /// Saves the list, on a thread that may wait. What cannot be written is missing from an order, no more.
    pub(crate) fn save(&self, pairs: &[Names]) {
        let lines: String = pairs
            .iter()
            .take(MOST)
            .map(|names| names.join(" ") + "\n")
            .collect();
        let path = self.0.clone();
        spawn_blocking(move || {
            if let Err(error) = replace(&path, &[lines.as_bytes()], Lasting::Memory) {
                tracing::debug!(%error, "the list of used pairs was not written");
            }
        });
    }
}

/// Runs for ever: tells which pairs have live connections that needed their proof.
pub async fn watch_use(directory: PathBuf, pairs: Pairs) {
    loop {
        let directory = directory.clone();
        match spawn_blocking(move || look(&directory)).await {
            Ok(Ok(used)) if !used.is_empty() => pairs.used(used).await,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "connections cannot be looked at"),
            Err(error) => tracing::debug!(%error, "connections were not looked at"),
        }
        sleep(LOOK).await;
    }
}

fn look(directory: &Path) -> Result<Vec<AuthKey>, MapError> {
    let now = boottime_now();
    let mut used = BTreeSet::new();
    CtMaps::open(directory)?.each_state(|state| {
        if needed_proof(state.authentication) && state.expires > now && used.len() < MOST {
            used.insert(AuthKey {
                local: state.local,
                remote: state.remote,
                node: state.node,
            });
        }
    })?;
    Ok(used.into_iter().collect())
}

/// Whether a connection of this mode, an [`Authentication`] as the kernel writes it, passed under a proof.
fn needed_proof(mode: u8) -> bool {
    let modes = [
        Authentication::Disabled,
        Authentication::RequiredOrRejected,
        Authentication::Required,
        Authentication::AlwaysFail,
    ];
    let known = modes.into_iter().find(|known| *known as u8 == mode);
    known.is_some_and(Authentication::asks_for_proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_under_either_mode_that_asks_for_a_proof_is_a_use_and_no_other_is() {
        assert!(needed_proof(Authentication::Required as u8));
        assert!(needed_proof(Authentication::RequiredOrRejected as u8));
        assert!(!needed_proof(Authentication::Disabled as u8));
        assert!(!needed_proof(Authentication::AlwaysFail as u8));
        assert!(!needed_proof(200), "nobody's");
    }

    #[tokio::test]
    async fn what_was_saved_is_loaded_in_its_order_and_what_cannot_be_read_is_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = UsedFile::new(directory.path());
        assert_eq!(file.load(), Vec::<Names>::new());
        let names = |number: u32| {
            [
                "spiffe://t/a".to_owned(),
                format!("spiffe://t/{number}"),
                "n2".to_owned(),
            ]
        };
        let list: Vec<Names> = (0..3).map(names).collect();
        file.save(&list);
        let path = directory.path().join("used-pairs");
        while !path.exists() {
            tokio::task::yield_now().await;
        }
        assert_eq!(file.load(), list);
        fs::write(&path, "one\n\nspiffe://t/a b n2 more\n\u{0}").expect("writes");
        assert_eq!(file.load().len(), 1);
        fs::write(&path, [0xff; 8]).expect("writes");
        assert_eq!(file.load(), Vec::<Names>::new());
    }
}
