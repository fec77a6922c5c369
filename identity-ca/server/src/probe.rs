//! What a first start needs beside its data: looked at before keys are made for a CA that could not serve anyway.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::fs::{Access, access};
use tokio::net::TcpListener;

use crate::config::{Config, Storage};

/// Fails where an address is taken or not this host's, or the operators' socket cannot be made. A CA that has data looks when it gets
/// there: the one before it may be about to end.
pub(crate) async fn probe(config: &Config) -> anyhow::Result<()> {
    if !is_new(&config.storage) {
        return Ok(());
    }
    let endpoint = config.bundle_endpoint.as_ref().map(|endpoint| endpoint.listen);
    let others = [config.metrics, config.operations.listen, endpoint];
    for address in others.into_iter().flatten().chain([config.listen]) {
        TcpListener::bind(address)
            .await
            .with_context(|| format!("failed to listen on {address}"))?;
    }
    place(&config.socket)
}

fn is_new(storage: &Storage) -> bool {
    match storage {
        Storage::Memory => true,
        Storage::Directory(path) | Storage::Database { directory: path, .. } => {
            fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none())
        }
    }
}

fn place(socket: &Path) -> anyhow::Result<()> {
    let Some(directory) = socket.parent() else {
        bail!("{} is no path of a socket", socket.display());
    };
    fs::create_dir_all(directory)
        .with_context(|| format!("failed to make the directory {}", directory.display()))?;
    access(directory, Access::WRITE_OK | Access::EXEC_OK).with_context(|| {
        let directory = directory.display();
        format!("no socket can be made in {directory}: run as a user who may write there, or name another place (--socket, --run-dir)")
    })
}
