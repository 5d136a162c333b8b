//! The way on to sshd: a connection within the node whose source is the user's own address.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Longest wait for sshd, which is on this node.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to sshd that is not made yet, but has both of its ends.
pub(super) struct Passage {
    socket: Socket,
    /// The user's end.
    pub(super) user: SocketAddr,
    /// sshd's end. On loopback: the stack itself takes nothing for it that comes by a device (RFC 1122, 3.2.1.3).
    pub(super) sshd: SocketAddr,
}

impl Passage {
    /// Takes the user's address and port for its source; another port if that one is taken.
    pub(super) fn from(user: SocketAddr, login_port: u16) -> io::Result<Self> {
        let loopback: IpAddr = match user.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        let socket = match transparent(user) {
            Err(error) if taken(&error) => transparent(SocketAddr::new(user.ip(), 0)),
            other => other,
        }?;
        let user = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { socket, user, sshd: SocketAddr::new(loopback, login_port) })
    }

    /// Connects to sshd.
    pub(super) fn open(self) -> io::Result<Socket> {
        self.socket.connect_timeout(&self.sshd.into(), PATIENCE)?;
        Ok(self.socket)
    }
}

/// A socket with a source that is not the node's (ip(7), `IP_TRANSPARENT`).
fn transparent(source: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(source), Type::STREAM, Some(Protocol::TCP))?;
    match source {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
        SocketAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
    }
    socket.bind(&source.into())?;
    Ok(socket)
}
