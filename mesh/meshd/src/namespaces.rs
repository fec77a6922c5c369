//! The network namespaces of local workloads, held while their numbers are told.
//!
//! The inode number of a namespace is its own for as long as it lives, and then any other's. The agent attests processes by
//! it, so a number must not be told for longer than its namespace is there. A descriptor keeps the namespace, and with it
//! the number, until it is told no more. That also keeps the interfaces of a namespace that was deleted; so its path is looked
//! at every few moments, and when it leads elsewhere the namespace is let go.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fstat, fstatfs, open, stat};
use signet_endpoints::{Workload, WorkloadName};

/// `NSFS_MAGIC` of linux/magic.h.
const NSFS: i64 = 0x6e73_6673;

/// The namespaces that are held.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    held: BTreeMap<WorkloadName, Held>,
    /// What was wrong the last time: each is logged once.
    wrong: Vec<String>,
}

#[derive(Debug)]
struct Held {
    path: PathBuf,
    /// (device, inode): nobody else has them while this is open.
    number: (u64, u64),
    _namespace: OwnedFd,
}

impl Namespaces {
    /// Holds the namespaces that these workloads name now, and lets go of all others. Says what is named and is none, or cannot
    /// be looked at, so that no process in it is attested by it; what is not there yet is not worth a word.
    pub(crate) fn hold<'a>(&mut self, workloads: impl IntoIterator<Item = &'a Workload>) -> Vec<String> {
        let mut before = std::mem::take(&mut self.held);
        let mut wrong = Vec::new();
        for workload in workloads {
            let Some(path) = &workload.netns else { continue };
            let name = workload.name.clone();
            let kept = before
                .remove(&name)
                .filter(|held| held.path == *path && held.is_current());
            match kept.map_or_else(|| Held::open(path), |held| Ok(Some(held))) {
                Ok(Some(held)) => {
                    self.held.insert(name, held);
                }
                Ok(None) => wrong.push(format!(
                    "workload {name}: {} is no network namespace",
                    path.display()
                )),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    tracing::debug!(workload = %name, "no network namespace yet");
                }
                Err(error) => wrong.push(format!(
                    "workload {name}: cannot open its network namespace {}, so no process in it gets its identity: {error}",
                    path.display()
                )),
            }
        }
        let news = wrong.iter().filter(|line| !self.wrong.contains(line)).count();
        if news > 0 {
            tracing::warn!(
                workloads = news,
                "network namespaces that workloads name cannot be used; `signet status` says which and why"
            );
        }
        self.wrong.clone_from(&wrong);
        wrong
    }

    /// The inode numbers.
    pub(crate) fn inodes(&self) -> BTreeMap<WorkloadName, u64> {
        let inodes = self.held.iter().map(|(name, held)| (name.clone(), held.number.1));
        inodes.collect()
    }

    /// Whether every path still leads to what is held.
    pub(crate) fn is_current(&self) -> bool {
        self.held.values().all(Held::is_current)
    }
}

impl Held {
    /// None for something else than a namespace. Nothing is opened for reading: what lies there may be anything.
    fn open(path: &Path) -> std::io::Result<Option<Self>> {
        let namespace = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let stat = fstat(&namespace)?;
        Ok(is_nsfs(&namespace)?.then(|| Self {
            path: path.to_owned(),
            number: (stat.st_dev, stat.st_ino),
            _namespace: namespace,
        }))
    }

    fn is_current(&self) -> bool {
        stat(&self.path).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.number)
    }
}

#[expect(
    clippy::useless_conversion,
    reason = "the field's type differs between architectures"
)]
fn is_nsfs(file: &OwnedFd) -> std::io::Result<bool> {
    Ok(i64::from(fstatfs(file)?.f_type) == NSFS)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use signet_source::Set;

    use super::*;

    fn workloads(netns: &Path) -> Set {
        let text = format!(
            "apiVersion: signet.io/v1alpha1\nkind: Workload\nmetadata: {{name: web, namespace: shop}}\n\
             spec: {{node: n1, serviceAccount: web, addresses: [10.0.0.1], interface: sgv-web, netns: {}}}\n",
            netns.display()
        );
        Set::parse([("f.yaml", text.as_str())]).unwrap()
    }

    #[test]
    fn a_namespace_is_told_while_its_path_leads_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("netns");
        let set = workloads(&path);
        let mut namespaces = Namespaces::default();
        assert_eq!(namespaces.hold(set.workloads()), [""; 0], "not there yet");
        assert!(namespaces.inodes().is_empty());

        symlink("/proc/self/ns/net", &path).unwrap();
        assert_eq!(namespaces.hold(set.workloads()), [""; 0]);
        let own = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
        assert_eq!(namespaces.inodes().into_values().collect::<Vec<_>>(), [own]);
        assert!(namespaces.is_current());

        std::fs::remove_file(&path).unwrap();
        assert!(!namespaces.is_current());
        namespaces.hold(set.workloads());
        assert!(namespaces.inodes().is_empty());
    }

    #[test]
    fn what_cannot_be_looked_at_is_told_and_what_is_not_there_yet_is_not() {
        let folder = tempfile::tempdir().unwrap();
        // Root is refused nothing by modes: a link to itself cannot be opened by anybody.
        let path = folder.path().join("netns");
        symlink(&path, &path).unwrap();
        let mut namespaces = Namespaces::default();
        for _ in 0..2 {
            let said = namespaces.hold(workloads(&path).workloads());
            assert!(said[0].contains("cannot open its network namespace"), "{said:?}");
            assert_eq!(namespaces.wrong, said);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(namespaces.hold(workloads(&path).workloads()), [""; 0]);
        assert!(namespaces.wrong.is_empty());
    }

    #[test]
    fn a_file_that_is_no_namespace_has_no_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("netns");
        std::fs::write(&path, "").unwrap();
        let mut namespaces = Namespaces::default();
        let said = namespaces.hold(workloads(&path).workloads());
        assert!(said[0].ends_with("netns is no network namespace"), "{said:?}");
        assert!(namespaces.inodes().is_empty());
    }
}
