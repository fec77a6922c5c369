//! Records of the ring buffers, from bytes in the machine's own order.

use signet_abi::{Address, Flow, NodeId, SecurityIdentity, Signal};

/// Takes fields off the front of a record.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of a record that is exactly `size` bytes long.
    pub(crate) fn of(record: &'a [u8], size: usize) -> Option<Self> {
        (record.len() == size).then_some(Self(record))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_ne_bytes)
    }
}

pub(crate) fn signal(record: &[u8]) -> Option<Signal> {
    let mut fields = Fields::of(record, size_of::<Signal>())?;
    Some(Signal {
        local: SecurityIdentity(fields.u32()?),
        remote: SecurityIdentity(fields.u32()?),
        node: NodeId(fields.u32()?),
        family: fields.u8()?,
        cause: fields.u8()?,
        reserved: fields.take()?,
        at: fields.u64()?,
    })
}

pub(crate) fn flow(record: &[u8]) -> Option<Flow> {
    let mut fields = Fields::of(record, size_of::<Flow>())?;
    Some(Flow {
        at: fields.u64()?,
        source: Address(fields.take()?),
        destination: Address(fields.take()?),
        source_identity: SecurityIdentity(fields.u32()?),
        destination_identity: SecurityIdentity(fields.u32()?),
        node: NodeId(fields.u32()?),
        rule: fields.u32()?,
        ifindex: fields.u32()?,
        length: fields.u32()?,
        source_port: fields.take()?,
        destination_port: fields.take()?,
        protocol: fields.u8()?,
        reason: fields.u8()?,
        hook: fields.u8()?,
        tcp_flags: fields.u8()?,
    })
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn a_signal_is_read_field_by_field() {
        let mut record = [0_u8; 24];
        record[offset_of!(Signal, local)] = 1;
        record[offset_of!(Signal, remote)] = 2;
        record[offset_of!(Signal, node)] = 3;
        record[offset_of!(Signal, family)] = 6;
        record[offset_of!(Signal, cause)] = 1;
        record[offset_of!(Signal, at)] = 9;
        let signal = signal(&record).unwrap();
        assert_eq!((signal.local.0, signal.remote.0, signal.node.0), (1, 2, 3));
        assert_eq!((signal.family, signal.cause, signal.at), (6, 1, 9));
    }

    #[test]
    fn a_flow_is_read_field_by_field() {
        let mut record = [0_u8; 72];
        record[offset_of!(Flow, at)] = 1;
        record[offset_of!(Flow, source) + 15] = 2;
        record[offset_of!(Flow, destination) + 15] = 3;
        record[offset_of!(Flow, source_identity)] = 4;
        record[offset_of!(Flow, destination_identity)] = 5;
        record[offset_of!(Flow, node)] = 6;
        record[offset_of!(Flow, rule)] = 7;
        record[offset_of!(Flow, ifindex)] = 8;
        record[offset_of!(Flow, length)] = 9;
        record[offset_of!(Flow, source_port) + 1] = 10;
        record[offset_of!(Flow, destination_port) + 1] = 11;
        record[offset_of!(Flow, protocol)] = 12;
        record[offset_of!(Flow, reason)] = 13;
        record[offset_of!(Flow, hook)] = 14;
        record[offset_of!(Flow, tcp_flags)] = 15;
        let flow = flow(&record).unwrap();
        assert_eq!((flow.at, flow.source.0[15], flow.destination.0[15]), (1, 2, 3));
        assert_eq!((flow.source_identity.0, flow.destination_identity.0), (4, 5));
        assert_eq!((flow.node.0, flow.rule, flow.ifindex, flow.length), (6, 7, 8, 9));
        assert_eq!((flow.source_port, flow.destination_port), ([0, 10], [0, 11]));
        assert_eq!(
            (flow.protocol, flow.reason, flow.hook, flow.tcp_flags),
            (12, 13, 14, 15)
        );
    }

    #[test]
    fn a_record_of_another_length_is_refused() {
        assert_eq!(signal(&[0; 23]), None);
        assert_eq!(signal(&[0; 25]), None);
        assert_eq!(flow(&[0; 71]), None);
    }
}
