//! Puts programs of this machine, with their shared libraries, into a directory that becomes the guest's root.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// Programs that the guest cannot do without.
const NEEDED: [&str; 16] = [
    "bash", "cat", "chmod", "cp", "env", "insmod", "ip", "ln", "ls", "mkdir", "mount", "ping", "rm", "sh",
    "sleep", "tc",
];

/// Programs that a test may call, or a person who looks around; one that this machine lacks is left out, and the test
/// that wants it says so.
const WELCOME: [&str; 38] = [
    "awk",
    "bridge",
    "cut",
    "date",
    "dd",
    "dmesg",
    "false",
    "find",
    "free",
    "grep",
    "head",
    "hostname",
    "id",
    "iperf3",
    "kill",
    "nc",
    "nsenter",
    "ps",
    "readlink",
    "sed",
    "seq",
    "setpriv",
    "sha256sum",
    "socat",
    "sort",
    "ss",
    "stat",
    "sysctl",
    "tail",
    "tcpdump",
    "timeout",
    "touch",
    "tr",
    "true",
    "umount",
    "uname",
    "unshare",
    "wg",
];

/// A directory that becomes the guest's root.
pub(crate) struct Root<'a> {
    path: &'a Path,
    libraries: BTreeSet<PathBuf>,
}

impl<'a> Root<'a> {
    /// Lays out the directories; `/bin` and the like are the links that Debian has.
    pub(crate) fn new(path: &'a Path) -> anyhow::Result<Self> {
        for directory in [
            "dev",
            "etc",
            "modules",
            "proc",
            "root",
            "run",
            "signet/bin/deps",
            "sys",
            "tmp",
            "usr/bin",
            "usr/lib",
            "usr/lib64",
            "var",
        ] {
            std::fs::create_dir_all(path.join(directory))?;
        }
        for (link, target) in [
            ("bin", "usr/bin"),
            ("sbin", "usr/bin"),
            ("usr/sbin", "bin"),
            ("lib", "usr/lib"),
            ("lib64", "usr/lib64"),
            ("var/run", "/run"),
        ] {
            std::os::unix::fs::symlink(target, path.join(link))?;
        }
        Ok(Self {
            path,
            libraries: BTreeSet::new(),
        })
    }

    /// Copies the tools.
    pub(crate) fn tools(&mut self) -> anyhow::Result<()> {
        for tool in NEEDED {
            let program = find(tool).with_context(|| format!("`{tool}` is not on PATH; run `make setup`"))?;
            self.program(&program, &format!("usr/bin/{tool}"))?;
        }
        for (tool, program) in WELCOME.iter().filter_map(|tool| Some((tool, find(tool)?))) {
            self.program(&program, &format!("usr/bin/{tool}"))?;
        }
        Ok(())
    }

    /// Copies a program and the libraries that it is linked with.
    pub(crate) fn program(&mut self, program: &Path, to: &str) -> anyhow::Result<()> {
        let copy = || format!("{} could not be copied", program.display());
        std::fs::copy(program, self.path.join(to)).with_context(copy)?;
        self.libraries_of(program)
    }

    /// Like [`Root::program`], without the debug information, which would fill the guest's memory.
    pub(crate) fn stripped(&mut self, program: &Path, to: &str) -> anyhow::Result<()> {
        let status = Command::new("strip")
            .arg("--strip-debug")
            .arg("-o")
            .arg(self.path.join(to))
            .arg(program)
            .status();
        if !status
            .context("strip could not be started (package binutils)")?
            .success()
        {
            bail!("{} could not be stripped", program.display());
        }
        self.libraries_of(program)
    }

    /// Writes a text file, executable when it says so.
    pub(crate) fn text(&self, to: &str, text: &str) -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path.join(to);
        std::fs::write(&path, text)?;
        if text.starts_with("#!") {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    /// Unpacks a kernel module; `index` keeps the order of loading.
    pub(crate) fn module(&self, index: usize, module: &Path) -> anyhow::Result<()> {
        let name = module
            .file_name()
            .and_then(|name| name.to_str())
            .context("a module without a name")?;
        let to = self
            .path
            .join("modules")
            .join(format!("{index:03}-{}", name.trim_end_matches(".xz")));
        let unpacked = Command::new("xz")
            .args(["--decompress", "--stdout"])
            .arg(module)
            .output();
        let unpacked = unpacked.context("xz could not be started (package xz-utils); run `make setup`")?;
        if !unpacked.status.success() {
            bail!(
                "{}: {}",
                module.display(),
                String::from_utf8_lossy(&unpacked.stderr).trim()
            );
        }
        Ok(std::fs::write(to, unpacked.stdout)?)
    }

    fn libraries_of(&mut self, program: &Path) -> anyhow::Result<()> {
        let output = Command::new("ldd")
            .arg(program)
            .output()
            .context("ldd could not be started")?;
        for library in libraries(&String::from_utf8_lossy(&output.stdout)) {
            if self.libraries.insert(library.clone()) {
                let to = self.path.join(guest_path(&library));
                std::fs::create_dir_all(to.parent().unwrap_or(self.path))?;
                std::fs::copy(&library, &to)
                    .with_context(|| format!("{} could not be copied", library.display()))?;
            }
        }
        Ok(())
    }
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    // The system's own first: a version manager's wrapper script is not the tool.
    system
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join(tool))
        .find(|file| file.is_file())
}

/// Reads what `ldd` prints: "\tlibc.so.6 => /lib/…/libc.so.6 (0x…)" and "\t/lib64/ld-linux-x86-64.so.2 (0x…)".
/// A static program has none.
fn libraries(output: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let line = line.trim();
        let path = line
            .split_once(" => ")
            .map_or(line, |(_, path)| path)
            .split(" (")
            .next()?;
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    output.lines().filter_map(path).collect()
}

/// `/lib/…` is a link to `/usr/lib/…` in the guest.
fn guest_path(library: &Path) -> PathBuf {
    let path = library.strip_prefix("/").unwrap_or(library);
    if path.starts_with("lib") || path.starts_with("lib64") {
        Path::new("usr").join(path)
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_prints() {
        let output = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found = libraries(output);
        assert_eq!(
            found,
            [
                Path::new("/lib/x86_64-linux-gnu/libc.so.6"),
                Path::new("/lib64/ld-linux-x86-64.so.2")
            ]
        );
        assert_eq!(
            guest_path(&found[0]),
            Path::new("usr/lib/x86_64-linux-gnu/libc.so.6")
        );
        assert_eq!(libraries("\tstatically linked\n"), Vec::<PathBuf>::new());
    }
}
