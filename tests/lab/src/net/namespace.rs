//! Network namespaces by name, kept by `ip netns` under /run/netns.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::LabError;
use crate::paths::netns_root;

/// Makes namespaces.
pub(crate) fn create(names: &[String]) -> Result<(), LabError> {
    let lines: Vec<_> = names.iter().map(|name| format!("netns add {name}")).collect();
    ip_batch(None, &lines)
}

/// Removes namespaces; those that are not there are no fault.
pub(crate) fn delete(names: &[String]) -> Result<(), LabError> {
    for name in names {
        let done = ip_batch(None, &[format!("netns del {name}")]);
        if netns_root().join(name).exists() {
            done?;
        }
    }
    Ok(())
}

/// The names of all namespaces that begin with a prefix, sorted.
pub(crate) fn list(prefix: &str) -> Result<Vec<String>, LabError> {
    let entries = match std::fs::read_dir(netns_root()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(LabError::io("read", netns_root())(error)),
    };
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    Ok(names)
}

/// The inode that tells a namespace from all others while it lives.
pub fn inode(netns: &Path) -> io::Result<u64> {
    Ok(std::fs::metadata(netns)?.ino())
}

/// Runs a function in a namespace, on a thread of its own; sockets that it makes stay in that namespace.
pub fn within<T: Send>(netns: &Path, run: impl FnOnce() -> T + Send) -> io::Result<T> {
    let file = File::open(netns)?;
    std::thread::scope(|scope| {
        let inside = scope.spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(run())
        });
        inside
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
    })
}

/// Feeds lines to `ip -batch`, in a namespace or in this one.
pub(crate) fn ip_batch(netns: Option<&str>, lines: &[String]) -> Result<(), LabError> {
    let mut command = Command::new("ip");
    if let Some(netns) = netns {
        command.args(["-n", netns]);
    }
    command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let shown = || netns.map_or_else(|| "ip -batch".to_owned(), |netns| format!("ip -n {netns} -batch"));
    let failed = |output: String| LabError::Command {
        command: shown(),
        output,
    };
    let mut child = command
        .spawn()
        .map_err(|error| failed(format!("{error} (the package `iproute2` has it)")))?;
    let text = lines.join("\n") + "\n";
    let fed = child
        .stdin
        .take()
        .map_or(Ok(()), |mut stdin| stdin.write_all(text.as_bytes()));
    let output = child
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() && fed.is_ok() {
        return Ok(());
    }
    Err(failed(told(&String::from_utf8_lossy(&output.stderr), lines)))
}

/// `ip` says "Command failed -:3"; put line 3 beside it.
fn told(stderr: &str, lines: &[String]) -> String {
    let number = stderr
        .rsplit_once("-:")
        .and_then(|(_, rest)| rest.trim().parse::<usize>().ok());
    let line = number.and_then(|number| lines.get(number.checked_sub(1)?));
    match line {
        Some(line) => format!("{} (line: {line})", stderr.trim()),
        None => stderr.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_batch_shows_the_line_that_failed() {
        let lines = ["link set lo up".to_owned(), "addr add nonsense".to_owned()];
        assert_eq!(
            told("Error: bad address\nCommand failed -:2\n", &lines),
            "Error: bad address\nCommand failed -:2 (line: addr add nonsense)"
        );
        assert_eq!(told("something else", &lines), "something else");
    }
}
