//! One request to the kernel's WireGuard over generic netlink, with buffers that are zeroized: requests carry private
//! and preshared keys, and the kernel's answers do too.
//!
//! The socket is blocking. The kernel answers a generic netlink request before `send` returns, so nothing is waited
//! for but the kernel's own locks; callers run this on a blocking thread.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "enums of the netlink crates, whose variants are the kernel's to add"
)]

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkDeserializable, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_wireguard::WireguardMessage;
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::message::wipe;

/// The kernel never sends more at once (`NLMSG_GOODSIZE`, and 32 KiB for dumps).
const BUFFER: usize = 65_536;
/// Messages of one answer that are read at most: 65,536 peers with many AllowedIPs fit.
const MAX_MESSAGES: usize = 262_144;

/// What kind of answer a request has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// An acknowledgement.
    Ack,
    /// Any number of messages.
    Dump,
}

/// Whether the kernel has WireGuard; loads its module if need be.
pub(super) fn is_supported() -> io::Result<bool> {
    match family(&connect()?) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends one request and returns the messages of the answer. The caller wipes them.
pub(super) fn exchange(mut request: WireguardMessage, answer: Answer) -> io::Result<Vec<WireguardMessage>> {
    let result = exchange_inner(&request, answer);
    wipe(&mut request);
    result
}

fn exchange_inner(request: &WireguardMessage, answer: Answer) -> io::Result<Vec<WireguardMessage>> {
    let socket = connect()?;
    let mut message = GenlMessage::from_payload(request.clone());
    message.set_resolved_family_id(family(&socket)?);
    let flags = match answer {
        Answer::Ack => NLM_F_ACK,
        Answer::Dump => NLM_F_DUMP,
    };
    let mut message = NetlinkMessage::from(message);
    let sent = send(&socket, &mut message, flags);
    if let NetlinkPayload::InnerMessage(inner) = &mut message.payload {
        wipe(&mut inner.payload);
    }
    sent?;
    let mut messages = Vec::new();
    receive(&socket, |message: GenlMessage<WireguardMessage>| {
        messages.push(message.payload);
    })?;
    Ok(messages)
}

fn connect() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// The number that this kernel gave the "wireguard" family.
fn family(socket: &Socket) -> io::Result<u16> {
    let request = GenlMessage::from_payload(GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: vec![GenlCtrlAttrs::FamilyName("wireguard".to_owned())],
    });
    send(socket, &mut NetlinkMessage::from(request), NLM_F_ACK)?;
    let mut id = None;
    receive(socket, |message: GenlMessage<GenlCtrl>| {
        id = message.payload.nlas.iter().find_map(|nla| match nla {
            GenlCtrlAttrs::FamilyId(id) => Some(*id),
            _ => None,
        });
    })?;
    id.ok_or_else(|| io::Error::from(Errno::NOENT))
}

fn send<M: NetlinkSerializable>(
    socket: &Socket,
    message: &mut NetlinkMessage<M>,
    flags: u16,
) -> io::Result<()> {
    message.header.flags = NLM_F_REQUEST | flags;
    message.finalize();
    let mut buffer = Zeroizing::new(vec![0; message.buffer_len()]);
    message.serialize(&mut buffer);
    socket.send(&buffer, 0)?;
    Ok(())
}

/// Reads until the acknowledgement or the end of the dump.
fn receive<M: NetlinkDeserializable>(socket: &Socket, mut each: impl FnMut(M)) -> io::Result<()> {
    let mut buffer = Zeroizing::new(vec![0_u8; BUFFER]);
    let mut seen = 0;
    loop {
        let length = socket.recv(&mut buffer.as_mut_slice(), 0)?;
        let mut rest = buffer
            .get(..length)
            .ok_or_else(|| invalid("a datagram was truncated"))?;
        while !rest.is_empty() {
            let frame = NetlinkBuffer::new_checked(rest).map_err(|error| invalid(&error.to_string()))?;
            let next = (frame.length() as usize).next_multiple_of(4);
            let message =
                NetlinkMessage::<M>::deserialize(rest).map_err(|error| invalid(&error.to_string()))?;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(message) => each(message),
                NetlinkPayload::Overrun(_) => return Err(invalid("the kernel's answer was overrun")),
                _ => {}
            }
            seen += 1;
            if seen > MAX_MESSAGES {
                return Err(invalid("the kernel's answer does not end"));
            }
            rest = rest.get(next..).unwrap_or_default();
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
