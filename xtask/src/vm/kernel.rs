//! The guest's kernel, as `make setup` unpacked it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// Modules that the guest loads, with all that they need. Order does not matter here.
const MODULES: [&str; 5] = ["wireguard", "veth", "bridge", "tun", "vxlan"];

/// A kernel image and its modules.
pub(crate) struct Kernel {
    /// `uname -r`.
    pub(crate) release: String,
    /// The image that QEMU boots.
    pub(crate) image: PathBuf,
    root: PathBuf,
}

impl Kernel {
    /// The kernel in the cache.
    pub(crate) fn find(cache: &Path) -> anyhow::Result<Self> {
        let root = cache.join("vm/kernel");
        let release = std::fs::read_to_string(root.join("release"))
            .with_context(|| format!("no kernel for the VM in {}; run `make setup`", root.display()))?;
        Ok(Self {
            release: release.trim().to_owned(),
            image: root.join("vmlinuz"),
            root,
        })
    }

    /// Module files in the order in which they have to be loaded; those built into the kernel are left out.
    pub(crate) fn modules(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut files: Vec<PathBuf> = Vec::new();
        for module in MODULES {
            for file in self.depends(module)? {
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
        Ok(files)
    }

    fn depends(&self, module: &str) -> anyhow::Result<Vec<PathBuf>> {
        let output = Command::new("modprobe")
            .arg("--dirname")
            .arg(&self.root)
            .args(["--set-version", &self.release, "--show-depends", module])
            .output()
            .context("modprobe could not be started (package kmod); run `make setup`")?;
        if !output.status.success() {
            bail!(
                "module {module}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(load_order(&String::from_utf8_lossy(&output.stdout)))
    }
}

/// Lines are "insmod /path/of.ko.xz options" or "builtin name".
fn load_order(output: &str) -> Vec<PathBuf> {
    let files = output
        .lines()
        .filter_map(|line| line.strip_prefix("insmod ")?.split_whitespace().next());
    files.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_taken_in_modprobes_order_and_builtin_ones_left_out() {
        let output = "builtin ipv6\ninsmod /m/llc.ko.xz \ninsmod /m/stp.ko.xz \ninsmod /m/bridge.ko.xz a=1\n";
        assert_eq!(
            load_order(output),
            [
                Path::new("/m/llc.ko.xz"),
                Path::new("/m/stp.ko.xz"),
                Path::new("/m/bridge.ko.xz")
            ]
        );
    }
}
