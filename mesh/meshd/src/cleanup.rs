//! Takes away what a stopped daemon left in the kernel.

use anyhow::{Context, bail};
use signet_datapath::Datapath;
use signet_uds::{Access, BindError, serve_incoming};

use crate::args::CleanupArgs;

/// Refuses while a daemon runs: it would go on with maps that nobody else can see.
pub(crate) fn cleanup(args: &CleanupArgs) -> anyhow::Result<()> {
    let socket = args.run_dir.join("meshd.sock");
    match serve_incoming(&socket, Access::Owner) {
        Ok(_held_until_removed) => {
            Datapath::remove(&args.bpffs).context("failed to remove the pins")?;
            std::fs::remove_file(&socket)
                .with_context(|| format!("failed to remove {}", socket.display()))?;
        }
        Err(error @ BindError::InUse { .. }) => bail!("{error}: signet-meshd is running"),
        // No run directory: no daemon.
        Err(BindError::NotASocket { .. } | BindError::Unsafe { .. } | BindError::Io { .. }) => {
            Datapath::remove(&args.bpffs).context("failed to remove the pins")?;
        }
    }
    Ok(())
}
