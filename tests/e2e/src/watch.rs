//! Whether the kernel's state stays as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use signet_abi::{AuthKey, SecurityIdentity, node_flags};
use signet_maps::{AuthMap, EndpointsMap, IpcacheMap, NodesMap, PolicyMap};

use crate::Stage;

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(3);

/// Compares the maps of every node with what they held at the start, until it is asked.
pub struct KernelWatch {
    thread: JoinHandle<Result<u64>>,
    stop: Arc<AtomicBool>,
}

/// The maps of one node, open all the time: one that was made anew would be another.
struct Maps {
    node: String,
    ipcache: IpcacheMap,
    endpoints: EndpointsMap,
    policy: PolicyMap,
    nodes: NodesMap,
    auth: AuthMap,
}

/// What they hold, as text: for comparing and for showing.
type Held = Vec<String>;

impl KernelWatch {
    /// Begins with what the maps hold now.
    pub fn start(stage: &Stage) -> Result<Self> {
        let mut all = Vec::new();
        for node in stage.nodes() {
            let maps = Maps::open(stage, &node)?;
            let held = maps.held()?;
            ensure!(!held.is_empty(), "the maps of {node} are empty");
            all.push((maps, held));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut looks = 0;
            while !flag.load(Ordering::Acquire) {
                for (maps, held) in &all {
                    maps.still_hold(held)?;
                }
                looks += 1;
                std::thread::park_timeout(PAUSE);
            }
            Ok(looks)
        });
        Ok(Self { thread, stop })
    }

    /// Ends; fails if anything that was there at the start was missing or different at any look.
    pub fn unchanged(self) -> Result<()> {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        let Ok(looks) = self.thread.join() else {
            bail!("the watcher panicked")
        };
        ensure!(looks? > 0, "the watcher never looked");
        Ok(())
    }
}

impl Maps {
    fn open(stage: &Stage, node: &str) -> Result<Self> {
        let pins = stage.lab().paths().node_bpffs(node);
        Ok(Self {
            node: node.to_owned(),
            ipcache: IpcacheMap::open(&pins)?,
            endpoints: EndpointsMap::open(&pins)?,
            policy: PolicyMap::open(&pins)?,
            nodes: NodesMap::open(&pins)?,
            auth: AuthMap::open(&pins)?,
        })
    }

    fn held(&self) -> Result<Held> {
        let mut held = Vec::new();
        held.extend(
            self.ipcache
                .entries()?
                .iter()
                .map(|entry| format!("IPCACHE {entry:?}")),
        );
        held.extend(
            self.endpoints
                .entries()?
                .iter()
                .map(|entry| format!("ENDPOINTS {entry:?}")),
        );
        held.extend(
            self.policy
                .entries()?
                .iter()
                .map(|entry| format!("POLICY {entry:?}")),
        );
        // Of a node, whether it is sent to encrypted; where the tunnel is may change with the process that is its end.
        for (node, state) in self.nodes.entries()? {
            held.push(format!(
                "NODES {node:?} {}",
                state.flags & node_flags::SEND_ENCRYPTED
            ));
        }
        for (AuthKey { local, remote, node }, proof) in self.auth.entries()? {
            let (SecurityIdentity(local), SecurityIdentity(remote)) = (local, remote);
            held.push(format!("AUTH {local} {remote} {} {}", node.0, proof.epoch));
        }
        Ok(held)
    }

    fn still_hold(&self, before: &Held) -> Result<()> {
        let current = self.ipcache.is_current()
            && self.endpoints.is_current()
            && self.policy.is_current()
            && self.nodes.is_current()
            && self.auth.is_current();
        ensure!(current, "a map of {} was made anew", self.node);
        let now = self.held()?;
        let missing = before.iter().find(|entry| !now.contains(entry));
        match missing {
            None => Ok(()),
            Some(entry) => Err(anyhow::anyhow!("{entry} is gone or changed"))
                .with_context(|| format!("the kernel of {} holds {now:#?}", self.node)),
        }
    }
}
