//! Keeps programs behind the interfaces that need them.

use std::collections::{BTreeMap, BTreeSet};

use signet_abi::PARKING_DEVICE;
use signet_datapath::{Attachment, Datapath, DatapathError, Hook};
use signet_endpoints::{Ifindex, InterfaceName};

/// The tunnel device that signet-keyd makes.
const TUNNEL: &str = "sgwg0";

/// What an interface is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Endpoint,
    Uplink,
    Tunnel,
    Parking,
}

/// What was achieved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attached {
    /// Workload interfaces that are judged.
    pub(crate) endpoints: BTreeMap<InterfaceName, Ifindex>,
    /// The parking device, if what comes back from it is taken to where it was taken from.
    pub(crate) parking: Option<Ifindex>,
    /// What could not be done.
    pub(crate) errors: Vec<String>,
    /// `program interface`, for people.
    pub(crate) list: Vec<String>,
}

/// The datapath and what this run has attached.
#[derive(Debug)]
pub(crate) struct Attacher {
    datapath: Datapath,
    uplinks: Vec<InterfaceName>,
    done: BTreeSet<(Role, InterfaceName, Ifindex)>,
}

impl Attacher {
    /// Takes over what an earlier run has attached: its programs are replaced by this version's. An interface that
    /// no workload names any more stays judged, which drops everything: only its owner knows whether it may be open.
    pub(crate) fn new(mut datapath: Datapath, uplinks: Vec<InterfaceName>) -> Result<Self, DatapathError> {
        let mut refreshed = BTreeSet::new();
        for Attachment {
            hook,
            ifindex,
            interface,
        } in datapath.attached()?
        {
            let Some(name) = interface else { continue };
            let result = match hook {
                Hook::FromContainer | Hook::ToContainer if !refreshed.insert(ifindex) => Ok(()),
                Hook::FromContainer | Hook::ToContainer => datapath.attach_endpoint(&name).map(drop),
                Hook::FromNetdev | Hook::ToNetdev if uplinks.iter().any(|uplink| uplink.as_str() == name) => {
                    Ok(())
                }
                Hook::FromNetdev | Hook::ToNetdev => datapath.detach_uplink(ifindex).map(drop),
                Hook::FromTunnel | Hook::FromParking => Ok(()),
            };
            if let Err(error) = result {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    interface = name,
                    "left by an earlier run"
                );
            }
        }
        Ok(Self {
            datapath,
            uplinks,
            done: BTreeSet::new(),
        })
    }

    /// Whether an earlier run left maps, be it that they go on or that they were of another version.
    pub(crate) fn has_past(&self) -> bool {
        self.datapath.adopted() || !self.datapath.replaced().is_empty()
    }

    /// Attaches again what is attached already, at the next [`Attacher::attach`]: somebody may have meddled.
    pub(crate) fn recheck(&mut self) {
        self.done.clear();
    }

    /// Attaches to those of the wanted interfaces that are there. An interface that was made again has a new number
    /// and is attached to anew.
    pub(crate) fn attach(
        &mut self,
        workloads: &BTreeSet<InterfaceName>,
        interfaces: &BTreeMap<InterfaceName, Ifindex>,
    ) -> Attached {
        let mut attached = Attached::default();
        self.done
            .retain(|(_, name, index)| interfaces.get(name) == Some(index));
        for uplink in self.uplinks.clone() {
            match interfaces.get(&uplink) {
                Some(index) => self.ensure(Role::Uplink, &uplink, *index, &mut attached),
                None => attached
                    .errors
                    .push(format!("uplink {uplink} is not there: waiting for it")),
            }
        }
        if let Some((name, index)) = interfaces.iter().find(|(name, _)| name.as_str() == TUNNEL) {
            self.ensure(Role::Tunnel, name, *index, &mut attached);
        }
        if let Some((name, index)) = interfaces
            .iter()
            .find(|(name, _)| name.as_str() == PARKING_DEVICE)
        {
            self.ensure(Role::Parking, name, *index, &mut attached);
        }
        for name in workloads {
            if self.uplinks.contains(name) || [TUNNEL, PARKING_DEVICE, "lo"].contains(&name.as_str()) {
                attached.errors.push(format!(
                    "interface {name} is the node's own and cannot be a workload's"
                ));
            } else if let Some(index) = interfaces.get(name) {
                self.ensure(Role::Endpoint, name, *index, &mut attached);
            }
        }
        match self.datapath.attached() {
            Ok(list) => attached.list = list.iter().filter_map(describe).collect(),
            Err(error) => attached.errors.push(chain(&error)),
        }
        attached
    }

    fn ensure(&mut self, role: Role, name: &InterfaceName, index: Ifindex, attached: &mut Attached) {
        let key = (role, name.clone(), index);
        if !self.done.contains(&key) {
            let result = match role {
                Role::Endpoint => self.datapath.attach_endpoint(name.as_str()),
                Role::Uplink => self.datapath.attach_uplink(name.as_str()),
                Role::Tunnel => self.datapath.attach_tunnel(name.as_str()),
                Role::Parking => self.datapath.attach_parking(name.as_str()),
            };
            match result {
                // Made again between the listing and now: its event comes.
                Ok(interface) if interface.index != index.get() => return,
                Ok(_) => {
                    tracing::info!(
                        interface = name.as_str(),
                        ifindex = index.get(),
                        ?role,
                        "attached"
                    );
                    self.done.insert(key);
                }
                Err(error) => {
                    attached.errors.push(chain(&error));
                    // What an earlier run attached goes on judging, and the endpoint with it.
                    if !self.is_judged(index) {
                        return;
                    }
                }
            }
        }
        match role {
            Role::Endpoint => {
                attached.endpoints.insert(name.clone(), index);
            }
            Role::Parking => attached.parking = Some(index),
            Role::Uplink | Role::Tunnel => {}
        }
    }

    fn is_judged(&self, index: Ifindex) -> bool {
        let has = |attachments: &[Attachment], hook| {
            attachments
                .iter()
                .any(|attachment| attachment.ifindex == index.get() && attachment.hook == hook)
        };
        self.datapath
            .attached()
            .is_ok_and(|list| has(&list, Hook::FromContainer) && has(&list, Hook::ToContainer))
    }
}

fn describe(attachment: &Attachment) -> Option<String> {
    attachment
        .interface
        .as_ref()
        .map(|name| format!("{} {name}", attachment.hook))
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
