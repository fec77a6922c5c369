//! Removes a lab, whatever state it is in.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::lock::Lock;
use crate::paths::{RUN_ROOT, bpf_root, netns_root};
use crate::{LabError, LabName, LabPaths, control, net};

/// The names of all labs of which something is there, sorted: a run folder, namespaces or pins.
pub fn labs() -> Result<Vec<LabName>, LabError> {
    let mut found = BTreeSet::new();
    for name in net::list("sg-")? {
        found.extend(
            name.strip_prefix("sg-")
                .and_then(|rest| rest.split_once('-'))
                .map(|(lab, _)| lab.to_owned()),
        );
    }
    for root in [Path::new(RUN_ROOT), bpf_root()] {
        let entries = fs::read_dir(root).into_iter().flatten().flatten();
        found.extend(entries.filter_map(|entry| entry.file_name().into_string().ok()));
    }
    Ok(found
        .iter()
        .filter_map(|name| LabName::parse(name).ok())
        .collect())
}

/// Removes everything of a lab: supervisor, every process in its namespaces, namespaces, pins, files. Works on what
/// it finds, not on what a state file says; says whether there was anything.
pub fn down(lab: &LabName) -> Result<bool, LabError> {
    if !rustix::process::geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    let paths = LabPaths::new(lab);
    let lock = Lock::take(&paths)?;
    let found = down_locked(&paths)?;
    lock.remove(&paths);
    // Whoever claimed it has nothing left to claim.
    let _ = fs::remove_file(paths.claim());
    // The folder of all labs goes with the last one.
    let _ = fs::remove_dir(RUN_ROOT);
    Ok(found)
}

/// [`down`] for a caller that holds the lock.
pub(crate) fn down_locked(paths: &LabPaths) -> Result<bool, LabError> {
    let lab = paths.lab();
    let namespaces = net::list(&paths.netns_prefix())?;
    let found = !namespaces.is_empty() || paths.run_dir().exists() || paths.bpffs().exists();
    // Without grace: it must not start anything again.
    let supervisor_gone = net::kill_all(|proc| control::is_supervisor(proc, lab), false);
    let inside = Inside::new(paths, &namespaces);
    let processes_gone = net::kill_all(|proc| inside.has(proc), true);
    if !supervisor_gone || !processes_gone {
        let left = "some of its processes do not end".to_owned();
        return Err(LabError::Left {
            lab: lab.clone(),
            left,
        });
    }
    remove(&paths.bpffs())?;
    let _ = fs::remove_dir(bpf_root());
    net::delete(&namespaces)?;
    remove(&paths.run_dir())?;
    Ok(found)
}

/// Tells which processes are in a lab's namespaces, or about to enter one.
struct Inside {
    inodes: HashSet<u64>,
    entering: Vec<u8>,
}

impl Inside {
    fn new(paths: &LabPaths, namespaces: &[String]) -> Self {
        let inodes = namespaces
            .iter()
            .filter_map(|name| net::inode(&netns_root().join(name)).ok())
            .collect();
        let entering = format!("--net={}/{}", netns_root().display(), paths.netns_prefix()).into_bytes();
        Self { inodes, entering }
    }

    fn has(&self, proc: &Path) -> bool {
        // A kernel thread or a process that has ended has no readable namespace.
        let inside = fs::metadata(proc.join("ns/net")).is_ok_and(|ns| self.inodes.contains(&ns.ino()));
        inside || fs::read(proc.join("cmdline")).is_ok_and(|line| self.is_entering(&line))
    }

    fn is_entering(&self, command_line: &[u8]) -> bool {
        let mut arguments = command_line.split(|byte| *byte == 0);
        arguments
            .next()
            .is_some_and(|program| program.ends_with(b"nsenter"))
            && arguments
                .next()
                .is_some_and(|argument| argument.starts_with(&self.entering))
    }
}

/// Removes a folder with all that is in it; one that is not there is no fault.
fn remove(path: &Path) -> Result<(), LabError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LabError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
