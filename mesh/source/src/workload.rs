//! From a written workload to one that is always valid.

use std::path::PathBuf;

use signet_endpoints::{InterfaceName, Workload, WorkloadAddress, WorkloadName};
use signet_policy::Name;
use signet_spiffe::NodeName;

use crate::convert::Converter;
use crate::field::Field;
use crate::schema::WorkloadDocument;

/// Longest path of a network namespace, bytes.
const MAX_PATH: usize = 4_095;

pub(crate) fn workload(document: &WorkloadDocument, to: &mut Converter<'_>) -> Option<Workload> {
    let metadata = to.metadata(&document.metadata);
    let written = &document.spec.value;
    let spec = Field::root("spec");
    let node = to.parse(spec.name("node"), &written.node, NodeName::parse);
    let service_account = to.parse(spec.name("serviceAccount"), &written.service_account, Name::parse);
    let interface = to.parse(spec.name("interface"), &written.interface, InterfaceName::parse);
    let field = spec.name("addresses");
    let addresses: Vec<_> = written
        .addresses
        .value
        .iter()
        .enumerate()
        .map(|(index, address)| to.parse(field.index(index), address, WorkloadAddress::parse))
        .collect();
    let netns = match &written.netns {
        Some(path) => Some(to.parse(spec.name("netns"), path, netns_path)?),
        None => None,
    };
    let (namespace, name, labels) = metadata?;
    let addresses = addresses.into_iter().collect::<Option<_>>()?;
    let name = WorkloadName { namespace, name };
    let workload = Workload::new(name, labels, node?, service_account?, interface?, addresses);
    let workload = to.take(field, written.addresses.place, workload)?;
    Some(match netns {
        Some(path) => workload.with_netns(path),
        None => workload,
    })
}

fn netns_path(text: &str) -> Result<PathBuf, &'static str> {
    if text.starts_with('/') && text.len() <= MAX_PATH && !text.contains('\0') {
        Ok(PathBuf::from(text))
    } else {
        Err("must be an absolute path, such as /run/netns/web")
    }
}
