use crate::endpoint::{EndpointTable, NetnsInode};
use crate::selector::{Sha256, UnixPath};
use crate::{CgroupPath, Selector, Selectors};

/// What was read of one process; a thing that could not be had, or could not be believed, is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Effective user at `connect`, and still.
    pub uid: u32,
    /// Effective group at `connect`, and still.
    pub gid: u32,
    /// The executable's path, where it is the same file in our mount namespace.
    pub path: Option<UnixPath>,
    /// The executable's content.
    pub sha256: Option<Sha256>,
    /// Supplementary groups, as at the time of attestation.
    pub groups: Vec<u32>,
    /// Executables of the processes above it, the parent's first; not further than [`MAX_ANCESTORS`](crate::MAX_ANCESTORS).
    pub ancestors: Vec<UnixPath>,
    /// The control group.
    pub cgroup: Option<CgroupPath>,
    /// The network namespace.
    pub netns: Option<NetnsInode>,
}

impl Facts {
    /// The facts as selectors, on a node with these endpoints.
    pub fn selectors(&self, endpoints: &EndpointTable) -> Selectors {
        let endpoint = self.netns.and_then(|netns| endpoints.get(netns));
        [
            Some(Selector::UnixUid(self.uid)),
            Some(Selector::UnixGid(self.gid)),
            self.path.clone().map(Selector::UnixPath),
            self.sha256.map(Selector::UnixSha256),
            endpoint.cloned().map(Selector::Endpoint),
        ]
        .into_iter()
        .flatten()
        .chain(self.groups.iter().copied().map(Selector::UnixSupplementaryGid))
        .chain(self.ancestors.iter().cloned().map(Selector::UnixParentPath))
        .chain(self.cgroup.iter().cloned().map(Selector::CgroupPath))
        .chain(
            self.cgroup
                .as_ref()
                .and_then(CgroupPath::unit)
                .map(Selector::SystemdUnit),
        )
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_facts_give_no_selectors() {
        let netns = NetnsInode::new(42);
        let mut facts = Facts {
            uid: 1,
            gid: 2,
            path: None,
            sha256: None,
            groups: Vec::new(),
            ancestors: Vec::new(),
            cgroup: None,
            netns,
        };
        let table: EndpointTable = [(netns.unwrap(), "shop/web".parse().unwrap())]
            .into_iter()
            .collect();
        assert_eq!(
            facts.selectors(&EndpointTable::default()).to_string(),
            "unix:uid:1, unix:gid:2"
        );
        assert_eq!(
            facts.selectors(&table).to_string(),
            "unix:uid:1, unix:gid:2, endpoint:shop/web"
        );
        facts.netns = NetnsInode::new(43);
        facts.path = Some("/bin/x".parse().unwrap());
        assert_eq!(
            facts.selectors(&table).to_string(),
            "unix:uid:1, unix:gid:2, unix:path:/bin/x"
        );
        facts.path = None;
        facts.groups = vec![4];
        facts.ancestors = vec!["/bin/sh".parse().unwrap(), "/bin/sh".parse().unwrap()];
        facts.cgroup = Some("/system.slice/web.service/1".parse().unwrap());
        assert_eq!(
            facts.selectors(&table).to_string(),
            "unix:uid:1, unix:gid:2, unix:supplementary_gid:4, unix:parent:path:/bin/sh, \
             cgroup:path:/system.slice/web.service/1, systemd:unit:web.service"
        );
    }
}
