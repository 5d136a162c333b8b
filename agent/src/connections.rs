//! The node's own TCP connections, as the kernel lists them (sock_diag(7)).

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags};
use netlink_sys::{Socket, SocketAddr as NetlinkAddress, protocols::NETLINK_SOCK_DIAG};
use std::io;
use std::net::SocketAddr;

/// A connection that a socket of this network namespace holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connection {
    /// The node's end, canonical.
    pub local: SocketAddr,
    /// The other end, canonical.
    pub peer: SocketAddr,
    /// The socket's cookie.
    pub cookie: u64,
}

impl Connection {
    /// Whether it comes from elsewhere to loopback: only the relay connects so (IP_TRANSPARENT, ip(7)).
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        is_relayed(self.local, self.peer)
    }
}

/// The same of a connection by its ends, canonical.
#[must_use]
pub fn is_relayed(local: SocketAddr, peer: SocketAddr) -> bool {
    local.ip().is_loopback() && !peer.ip().is_loopback()
}

/// Lists the connections that were accepted on one of the local ports.
///
/// # Errors
/// The kernel refused the question or answered what cannot be understood.
pub fn list(ports: &[u16]) -> io::Result<Vec<Connection>> {
    let accepted = StateFlags::ESTABLISHED
        | StateFlags::FIN_WAIT1
        | StateFlags::FIN_WAIT2
        | StateFlags::CLOSE_WAIT
        | StateFlags::LAST_ACK
        | StateFlags::CLOSING;
    let mut found = Vec::new();
    for &port in ports {
        for socket in sockets(port, accepted.clone())? {
            found.extend(connection(&socket));
        }
    }
    Ok(found)
}

/// The connection between these ends, if it is open: both ends have agreed on it, and the other has not ended it.
///
/// # Errors
/// As [`list`].
pub fn between(local: SocketAddr, peer: SocketAddr) -> io::Result<Option<Connection>> {
    /// `TCP_ESTABLISHED` of `net/tcp_states.h`.
    const ESTABLISHED: u8 = 1;

    let Some(id) = id(local, peer) else { return Ok(None) };
    let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
    let socket = opened()?;
    socket.send(&request(family, id, StateFlags::ESTABLISHED, NLM_F_REQUEST), 0)?;
    let (datagram, _) = socket.recv_from_full()?;
    let mut found = Vec::new();
    match collect(&datagram, local.port(), &mut found) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let found = found.iter().filter(|it| it.header.state == ESTABLISHED).find_map(connection);
    Ok(found.filter(|it| (it.local, it.peer) == (local, peer)))
}

/// What the kernel knows a socket by, whatever its cookie; none for ends of different families.
fn id(local: SocketAddr, peer: SocketAddr) -> Option<SocketId> {
    let mut id = if local.is_ipv4() { SocketId::new_v4() } else { SocketId::new_v6() };
    (id.source_port, id.destination_port) = (local.port(), peer.port());
    (id.source_address, id.destination_address) = (local.ip(), peer.ip());
    id.cookie = [0xff; 8];
    (local.is_ipv4() == peer.is_ipv4()).then_some(id)
}

/// Whether somebody waits for connections at the local port.
///
/// # Errors
/// As [`list`].
pub fn is_listened_at(port: u16) -> io::Result<bool> {
    Ok(!sockets(port, StateFlags::LISTEN)?.is_empty())
}

/// The sockets at a local port that are in one of these states.
fn sockets(port: u16, states: StateFlags) -> io::Result<Vec<InetResponse>> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        dump(family, port, states.clone(), &mut found)?;
    }
    Ok(found)
}

fn dump(family: u8, port: u16, states: StateFlags, found: &mut Vec<InetResponse>) -> io::Result<()> {
    let mut id = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
    id.source_port = port;
    let socket = opened()?;
    socket.send(&request(family, id, states, NLM_F_REQUEST | NLM_F_DUMP), 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        if collect(&datagram, port, found)? {
            return Ok(());
        }
    }
}

fn opened() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddress::new(0, 0))?;
    Ok(socket)
}

fn request(family: u8, socket_id: SocketId, states: StateFlags, flags: u16) -> Vec<u8> {
    let request =
        InetRequest { family, protocol: IPPROTO_TCP, extensions: ExtensionFlags::empty(), states, socket_id };
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Takes the sockets out of one datagram of the answer; true once the answer is complete.
fn collect(datagram: &[u8], port: u16, found: &mut Vec<InetResponse>) -> io::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
        if let NetlinkPayload::Done(_) = message.payload {
            return Ok(true);
        }
        if let NetlinkPayload::Error(error) = message.payload {
            return Err(error.to_io());
        }
        if let NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) = message.payload {
            // The kernel goes by the port only where it likes to.
            found.extend(Some(*response).filter(|it| it.header.socket_id.source_port == port));
        }
        let length = usize::try_from(message.header.length).map_err(io::Error::other)?;
        // Messages are aligned to four bytes (netlink(7)).
        rest = rest.get(length.next_multiple_of(4).max(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn connection(response: &InetResponse) -> Option<Connection> {
    let id = &response.header.socket_id;
    if id.destination_port == 0 {
        return None;
    }
    Some(Connection {
        local: SocketAddr::new(id.source_address.to_canonical(), id.source_port),
        peer: SocketAddr::new(id.destination_address.to_canonical(), id.destination_port),
        cookie: u64::from_ne_bytes(id.cookie),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn an_accepted_connection_is_listed_with_its_cookie_and_canonical_addresses() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            let client = TcpStream::connect(("localhost", port))
                .or_else(|_| TcpStream::connect(("::1", port)))
                .unwrap();
            let (server, _) = listener.accept().unwrap();
            let cookie = rustix::net::sockopt::socket_cookie(&server).unwrap();
            let listed = list(&[port]).unwrap();
            let ours: Vec<_> = listed.iter().filter(|connection| connection.cookie == cookie).collect();
            assert_eq!(ours.len(), 1, "{listed:?}");
            assert_eq!(ours[0].peer, client.local_addr().unwrap());
            assert_eq!(between(ours[0].local, ours[0].peer).unwrap(), Some(*ours[0]));
            let other = SocketAddr::new(ours[0].peer.ip(), 1);
            assert_eq!(between(ours[0].local, other).unwrap(), None);
            assert!(is_listened_at(port).unwrap());
            drop(listener);
            assert!(!is_listened_at(port).unwrap());
        }
    }
}
