//! Cutting live connections in the kernel, as `ss -K` does.
//!
//! Xray has no call for it: removing a user only stops new connections.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::{SockDiagDestroy, SockDiagMessage};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};

/// So many ports are asked for one by one.
const PORTS: usize = 4;

/// Closes the established TCP connections from `addresses` to local `ports`, in this network namespace; returns how
/// many. Blocks for as long as the kernel needs to list them.
pub(crate) fn close(ports: &[u16], addresses: &HashSet<IpAddr>) -> io::Result<usize> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let wanted: HashSet<u16> = ports.iter().copied().collect();
    let mut closed = 0;
    for (family, any) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        // A few ports are asked for by themselves; of many the kernel lists everything once.
        let asked: &[u16] = if ports.len() > PORTS { &[0] } else { ports };
        for port in asked {
            let of_port = SocketId { source_port: *port, ..any.clone() };
            for id in list(&socket, family, of_port)? {
                let theirs = id.destination_address.to_canonical();
                let ours = wanted.contains(&id.source_port) && addresses.contains(&theirs);
                if ours && destroy(&socket, family, id)? {
                    closed += 1;
                }
            }
        }
    }
    Ok(closed)
}

fn request(family: u8, states: StateFlags, socket_id: SocketId) -> SockDiagMessage {
    SockDiagMessage::InetRequest(InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states,
        socket_id,
    })
}

fn send<T: NetlinkSerializable>(socket: &Socket, flags: u16, payload: NetlinkPayload<T>) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, payload);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0).map(drop)
}

/// Hands every message of the answer to `each` until it returns `true`.
fn receive<T: NetlinkDeserializable>(
    socket: &Socket,
    mut each: impl FnMut(NetlinkPayload<T>) -> io::Result<bool>,
) -> io::Result<()> {
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        if messages(&bytes, &mut each)? {
            return Ok(());
        }
    }
}

/// Hands the messages of a packet to `each`; says whether one of them was the last.
fn messages<T: NetlinkDeserializable>(
    mut rest: &[u8],
    each: &mut impl FnMut(NetlinkPayload<T>) -> io::Result<bool>,
) -> io::Result<bool> {
    while !rest.is_empty() {
        let message = NetlinkMessage::<T>::deserialize(rest).map_err(io::Error::other)?;
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
        // Messages are aligned to four bytes.
        rest = rest.get(length.div_ceil(4).saturating_mul(4)..).unwrap_or_default();
        if each(message.payload)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn list(socket: &Socket, family: u8, id: SocketId) -> io::Result<Vec<SocketId>> {
    send(
        socket,
        NLM_F_REQUEST | NLM_F_DUMP,
        NetlinkPayload::from(request(family, StateFlags::ESTABLISHED, id)),
    )?;
    let mut found = Vec::new();
    receive::<SockDiagMessage>(socket, |payload| match payload {
        NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
            found.push(response.header.socket_id);
            Ok(false)
        }
        NetlinkPayload::Error(e) => e.code.map_or(Ok(true), |_| Err(e.to_io())),
        NetlinkPayload::Done(_) => Ok(true),
        _ => Ok(false),
    })?;
    Ok(found)
}

/// `false` when the connection ended by itself meanwhile.
fn destroy(socket: &Socket, family: u8, id: SocketId) -> io::Result<bool> {
    let message = SockDiagDestroy::new(request(family, StateFlags::ESTABLISHED, id));
    send(socket, NLM_F_REQUEST | NLM_F_ACK, NetlinkPayload::from(message))?;
    let mut done = false;
    receive::<SockDiagDestroy>(socket, |payload| match payload {
        NetlinkPayload::Error(e) if e.code.is_none() => {
            done = true;
            Ok(true)
        }
        NetlinkPayload::Error(e) => match e.to_io() {
            gone if gone.kind() == io::ErrorKind::NotFound => Ok(true),
            refused => Err(refused),
        },
        _ => Ok(false),
    })?;
    Ok(done)
}

/// Whether this process may do it.
pub(crate) fn permitted() -> bool {
    const CAP_NET_ADMIN: u64 = 1 << 12;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & CAP_NET_ADMIN != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The library reads what the kernel says; a kernel of another kind must not end the process.
        #[test]
        fn no_packet_panics(length in 0u32..200, kind in 0u16..30, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut packet = [length.to_ne_bytes().as_slice(), &kind.to_ne_bytes()].concat();
            packet.extend_from_slice(&bytes);
            for packet in [packet.as_slice(), bytes.as_slice()] {
                let _ = messages::<SockDiagMessage>(packet, &mut |_| Ok(false));
                let _ = messages::<SockDiagDestroy>(packet, &mut |_| Ok(false));
            }
        }
    }
}
