use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::attestor::AttestError;
use crate::proc;
use crate::way::{Changes, Known, WorkloadAttestor};
use crate::{Process, Selector};

/// Longest Kubernetes namespace, bytes (RFC 1123 label).
const MAX_LABEL: usize = 63;
/// Longest Kubernetes pod name, bytes (RFC 1123 subdomain).
const MAX_NAME: usize = 253;

/// Inode number of a network namespace (`stat` of `/proc/PID/ns/net`). Unique among the living ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetnsInode(NonZeroU64);

impl NetnsInode {
    /// `None` for 0, which stands for "not known" where it travels.
    pub fn new(inode: u64) -> Option<Self> {
        NonZeroU64::new(inode).map(Self)
    }
}

/// Namespace and name of a workload endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointName {
    namespace: Box<str>,
    name: Box<str>,
}

/// Why a text is not an endpoint's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointNameError {
    /// No `/`.
    #[error("write it as <namespace>/<name>")]
    NoSlash,
    /// The namespace is not a DNS label.
    #[error("namespace must be 1 to 63 of a-z, 0-9 and `-`, and begin and end with a letter or digit")]
    Namespace,
    /// The name is not a DNS subdomain.
    #[error(
        "name must be 1 to 253 of a-z, 0-9, `-` and `.`, and each part must begin and end with a letter or digit"
    )]
    Name,
}

impl EndpointName {
    /// A name from its parts.
    ///
    /// # Errors
    /// See [`EndpointNameError`].
    pub fn new(namespace: &str, name: &str) -> Result<Self, EndpointNameError> {
        if !is_label(namespace) {
            return Err(EndpointNameError::Namespace);
        }
        if name.len() > MAX_NAME || !name.split('.').all(is_label) {
            return Err(EndpointNameError::Name);
        }
        Ok(Self {
            namespace: namespace.into(),
            name: name.into(),
        })
    }
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= MAX_LABEL
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

impl FromStr for EndpointName {
    type Err = EndpointNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = text.split_once('/').ok_or(EndpointNameError::NoSlash)?;
        Self::new(namespace, name)
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which endpoint each network namespace of this node belongs to.
///
/// A namespace that is claimed for two different endpoints belongs to neither. Whoever fills the table must take a
/// namespace out of it when it goes, because the kernel gives its inode number to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointTable(HashMap<NetnsInode, Owner>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Owner {
    One(EndpointName),
    Contested,
}

/// Gives `endpoint:` selectors, by a table that somebody publishes; nothing until there is one.
#[derive(Clone, Debug)]
pub struct Endpoints(watch::Receiver<Option<Arc<EndpointTable>>>);

impl Endpoints {
    /// By the table of each moment.
    pub fn new(table: watch::Receiver<Option<Arc<EndpointTable>>>) -> Self {
        Self(table)
    }
}

impl WorkloadAttestor for Endpoints {
    fn attest(&self, process: &Process) -> Result<Known, AttestError> {
        let Some(table) = self.0.borrow().clone() else {
            return Ok(Known::nothing_yet());
        };
        let netns = proc::netns(process.pid).map_err(AttestError::Proc)?;
        let netns = netns.filter(|_| process.is_exact);
        let endpoint = netns.and_then(|netns| table.get(netns));
        Ok(Known::all(endpoint.cloned().map(Selector::Endpoint)))
    }

    fn changes(&self) -> Option<Box<dyn Changes>> {
        let mut changes = self.0.clone();
        // What is there already is no change.
        changes.mark_unchanged();
        Some(Box::new(changes))
    }
}

impl EndpointTable {
    /// The endpoint of a network namespace.
    pub fn get(&self, netns: NetnsInode) -> Option<&EndpointName> {
        match self.0.get(&netns)? {
            Owner::One(name) => Some(name),
            Owner::Contested => None,
        }
    }
}

impl FromIterator<(NetnsInode, EndpointName)> for EndpointTable {
    fn from_iter<T: IntoIterator<Item = (NetnsInode, EndpointName)>>(claims: T) -> Self {
        let mut owners: HashMap<NetnsInode, Owner> = HashMap::new();
        for (netns, name) in claims {
            owners
                .entry(netns)
                .and_modify(|owner| {
                    if !matches!(owner, Owner::One(known) if *known == name) {
                        *owner = Owner::Contested;
                    }
                })
                .or_insert_with(|| Owner::One(name.clone()));
        }
        Self(owners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dns() {
        for good in ["shop/web", "a/b", "shop/web-0.web", "0/1"] {
            assert_eq!(good.parse::<EndpointName>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "/",
            "shop",
            "shop/",
            "/web",
            "Shop/web",
            "shop/-web",
            "shop/web.",
            "a/b/c",
            "a.b/c",
            "a/b..c",
        ] {
            assert!(bad.parse::<EndpointName>().is_err(), "{bad:?}");
        }
        let long = "x".repeat(64);
        assert_eq!(EndpointName::new(&long, "web"), Err(EndpointNameError::Namespace));
        assert_eq!(EndpointName::new("shop", &long), Err(EndpointNameError::Name));
        assert_eq!(
            EndpointName::new("shop", &["x"; 127].join(".")).map(|_| ()),
            Ok(())
        );
        assert_eq!(
            EndpointName::new("shop", &["x"; 128].join(".")),
            Err(EndpointNameError::Name)
        );
    }

    #[test]
    fn a_contested_namespace_belongs_to_nobody() {
        let netns = |inode| NetnsInode::new(inode).unwrap();
        let name = |text: &str| text.parse::<EndpointName>().unwrap();
        let table: EndpointTable = [
            (netns(1), name("shop/web")),
            (netns(1), name("shop/web")),
            (netns(2), name("shop/web")),
            (netns(2), name("shop/client")),
            (netns(2), name("shop/web")),
        ]
        .into_iter()
        .collect();
        assert_eq!(table.get(netns(1)), Some(&name("shop/web")));
        assert_eq!(table.get(netns(2)), None);
        assert_eq!(table.get(netns(3)), None);
        assert_eq!(NetnsInode::new(0), None);
    }
}
