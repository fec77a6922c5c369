//! Which life of its kernel each node is in.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use signet_session::{Boot, NodeNumber};

/// Chosen by the kernel at its start.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The life that this node's kernel is in. Others are told a digest: the number itself is nobody else's business.
pub fn own_boot() -> io::Result<Boot> {
    let id = fs::read(BOOT_ID)?;
    let mut boot = [0; 8];
    for (to, from) in boot.iter_mut().zip(digest(&SHA256, &id).as_ref()) {
        *to = *from;
    }
    Ok(Boot(boot))
}

/// The lives in which peers were met last. An entry per node number, of which there are 65,535.
#[derive(Debug, Default)]
pub(super) struct Boots(Mutex<HashMap<NodeNumber, Boot>>);

impl Boots {
    /// Takes down in which life a peer is met. Whether it was met in another one before.
    pub(super) fn meet(&self, node: NodeNumber, boot: Boot) -> bool {
        let mut boots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        boots.insert(node, boot).is_some_and(|before| before != boot)
    }
}
