//! The guest's file system: an initramfs, made anew for each run.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use super::Script;
use super::files::Root;
use super::kernel::Kernel;

/// A cpio archive. Not compressed: QEMU copies it into the guest at memory speed, while the guest's own unpacking is
/// emulated.
pub(crate) struct Image {
    /// Where it lies, as long as this value lives.
    pub(crate) path: PathBuf,
    /// Bytes.
    pub(crate) size: u64,
    _directory: TempDir,
}

/// The guest's first process.
const INIT: &str = include_str!("init.sh");

/// Users that programs look up: tcpdump gives up root for its own.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n\
                      tcpdump:x:101:101::/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\ntcpdump:x:101:\n";

impl Image {
    /// Gathers tools, modules, binaries and the script, and packs them.
    pub(crate) fn build(kernel: &Kernel, script: &Script<'_>) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("signet-vm-").tempdir()?;
        let staging = directory.path().join("root");
        let mut root = Root::new(&staging)?;
        root.tools()?;
        for (index, module) in kernel.modules()?.iter().enumerate() {
            root.module(index, module)?;
        }
        for (from, to) in &script.executables {
            root.stripped(from, to)?;
        }
        root.text("init", INIT)?;
        root.text("etc/passwd", PASSWD)?;
        root.text("etc/group", GROUP)?;
        root.text("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")?;
        root.text(
            "signet/run",
            &format!(
                "#!/bin/bash\nstatus=0\n{}\nexit \"$status\"\n",
                script.lines.join("\n")
            ),
        )?;

        let path = directory.path().join("initrd");
        pack(&staging, &path)?;
        let size = path.metadata()?.len();
        std::fs::remove_dir_all(&staging)?;
        Ok(Self {
            path,
            size,
            _directory: directory,
        })
    }
}

fn pack(staging: &std::path::Path, archive: &std::path::Path) -> anyhow::Result<()> {
    let status = Command::new("bash")
        .args([
            "-o",
            "pipefail",
            "-c",
            "find . -print0 | cpio --quiet --null --create --format=newc --owner=0:0",
        ])
        .current_dir(staging)
        .stdout(std::fs::File::create(archive)?)
        .stdin(Stdio::null())
        .status()
        .context("bash could not be started")?;
    if !status.success() {
        bail!("cpio failed (package cpio); run `make setup`");
    }
    Ok(())
}
