//! The maps that this daemon writes.

use std::path::Path;

use signet_abi::{Direction, IpcacheValue, PolicyKey};
use signet_endpoints::{Capacity, Cidr, KernelState, PolicySlot, Step};
use signet_maps::{ConfigMap, EndpointsMap, IpcacheMap, IpcachePrefix, MapError, PolicyMap, PolicyPrefix};

/// Open maps. No other process writes them.
#[derive(Debug)]
pub(crate) struct Kernel {
    ipcache: IpcacheMap,
    endpoints: EndpointsMap,
    policy: PolicyMap,
    config: ConfigMap,
    /// Whether something may have been written whose policy epoch was not: by this run, or by one before it.
    unfinished: bool,
    /// For settings that have none yet.
    parking_secret: u64,
}

impl Kernel {
    pub(crate) fn open(pins: &Path, parking_secret: u64) -> Result<Self, MapError> {
        Ok(Self {
            parking_secret,
            ipcache: IpcacheMap::open(pins)?,
            endpoints: EndpointsMap::open(pins)?,
            policy: PolicyMap::open(pins)?,
            config: ConfigMap::open(pins)?,
            unfinished: true,
        })
    }

    /// What the maps hold now.
    pub(crate) fn read(&self) -> Result<KernelState, MapError> {
        let ipcache = self.ipcache.entries()?.into_iter().filter_map(|(prefix, value)| {
            Cidr::from_abi(prefix.key().address, prefix.length()).map(|cidr| (cidr, value))
        });
        let policy = self.policy.entries()?.into_iter().map(|(prefix, value)| {
            (
                PolicySlot {
                    key: prefix.key(),
                    bits: prefix.length(),
                },
                value,
            )
        });
        let mut config = self.config.get()?;
        if config.parking_secret == 0 {
            config.parking_secret = self.parking_secret;
        }
        Ok(KernelState {
            config,
            endpoints: self.endpoints.entries()?.into_iter().collect(),
            ipcache: ipcache.collect(),
            // What no program can look up is not there, for all that matters.
            policy: policy
                .filter(|(slot, _)| policy_prefix(*slot).is_some())
                .collect(),
            unfinished: self.unfinished,
        })
    }

    pub(crate) fn capacity(&self) -> Capacity {
        let entries = |capacity: u32| usize::try_from(capacity).unwrap_or(usize::MAX);
        Capacity {
            ipcache: entries(self.ipcache.capacity()),
            endpoints: entries(self.endpoints.capacity()),
            policy: entries(self.policy.capacity()),
        }
    }

    /// Does one step; [`Step::Settle`] is the caller's to wait for.
    pub(crate) fn execute(&mut self, step: &Step) -> Result<(), MapError> {
        match step {
            Step::PutEndpoint(..)
            | Step::RemoveEndpoint(_)
            | Step::PutIpcache(..)
            | Step::RemoveIpcache(_)
            | Step::SetConfig(_) => self.unfinished = true,
            // No packet meets what no endpoint uses.
            Step::PutPolicy(..) | Step::RemovePolicy(_) | Step::Settle => {}
        }
        self.write(step)?;
        if matches!(step, Step::SetConfig(_)) {
            self.unfinished = false;
        }
        Ok(())
    }

    fn write(&mut self, step: &Step) -> Result<(), MapError> {
        match step {
            Step::PutPolicy(slot, value) => match policy_prefix(*slot) {
                Some(prefix) => self.policy.insert(&prefix, value),
                None => Ok(()),
            },
            Step::RemovePolicy(slot) => match policy_prefix(*slot) {
                Some(prefix) => self.policy.remove(&prefix).map(drop),
                None => Ok(()),
            },
            Step::PutEndpoint(address, endpoint) => self.endpoints.insert(address, endpoint),
            Step::RemoveEndpoint(address) => self.endpoints.remove(address).map(drop),
            Step::PutIpcache(cidr, value) => self.put_ipcache(*cidr, *value),
            Step::RemoveIpcache(cidr) => match ipcache_prefix(*cidr) {
                Some(prefix) => self.ipcache.remove(&prefix).map(drop),
                None => Ok(()),
            },
            Step::SetConfig(config) => self.config.set(config),
            Step::Settle => Ok(()),
        }
    }

    fn put_ipcache(&mut self, cidr: Cidr, value: IpcacheValue) -> Result<(), MapError> {
        match ipcache_prefix(cidr) {
            Some(prefix) => self.ipcache.insert(&prefix, &value),
            None => Ok(()),
        }
    }
}

fn ipcache_prefix(cidr: Cidr) -> Option<IpcachePrefix> {
    IpcachePrefix::new(cidr.address().into(), cidr.length())
}

/// The slot as a key of the map; `None` for one that no program can look up, which plans never contain.
fn policy_prefix(slot: PolicySlot) -> Option<PolicyPrefix> {
    let PolicyKey {
        policy,
        identity,
        protocol,
        port,
        ..
    } = slot.key;
    let direction = [Direction::Ingress, Direction::Egress]
        .into_iter()
        .find(|direction| *direction as u8 == slot.key.direction)?;
    match slot.bits {
        PolicyKey::PREFIX_BASE => Some(PolicyPrefix::everything(policy, identity, direction)),
        PolicyKey::PREFIX_PROTOCOL..=PolicyKey::PREFIX_FULL => {
            let bits = u8::try_from(slot.bits - PolicyKey::PREFIX_PROTOCOL).ok()?;
            PolicyPrefix::ports(
                policy,
                identity,
                direction,
                protocol,
                u16::from_be_bytes(port),
                bits,
            )
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use signet_abi::{PolicyId, SecurityIdentity};

    use super::*;

    #[test]
    fn every_slot_of_a_plan_has_the_maps_key() {
        let key = PolicyKey {
            policy: PolicyId(3),
            identity: SecurityIdentity(256),
            direction: Direction::Egress as u8,
            protocol: 6,
            port: 0x1f90_u16.to_be_bytes(),
        };
        for bits in [80, 88, 96] {
            let mask = u16::MAX.checked_shl(96 - bits).unwrap_or(0);
            let key = PolicyKey {
                port: (0x1f90 & mask).to_be_bytes(),
                ..key
            };
            let prefix = policy_prefix(PolicySlot { key, bits }).unwrap();
            assert_eq!((prefix.key(), prefix.length()), (key, bits));
        }
        let whole = PolicyKey {
            protocol: 0,
            port: [0; 2],
            ..key
        };
        let prefix = policy_prefix(PolicySlot { key: whole, bits: 72 }).unwrap();
        assert_eq!((prefix.key(), prefix.length()), (whole, 72));
        assert!(
            policy_prefix(PolicySlot {
                key: PolicyKey { direction: 7, ..key },
                bits: 96
            })
            .is_none()
        );
    }

    #[test]
    fn every_block_has_the_maps_key() {
        for (text, bits) in [
            ("10.244.1.0/24", 120),
            ("0.0.0.0/0", 96),
            ("fd00::/8", 8),
            ("::/0", 0),
            ("fd00::1/128", 128),
        ] {
            let cidr = Cidr::parse(text).unwrap();
            let prefix = ipcache_prefix(cidr).unwrap();
            assert_eq!(
                (prefix.key().address, prefix.length()),
                (cidr.address(), bits),
                "{text}"
            );
            assert_eq!(Cidr::from_abi(prefix.key().address, prefix.length()), Some(cidr));
        }
    }
}
