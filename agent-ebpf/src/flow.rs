//! Flows: the connections that belong to sessions.

use core::net::SocketAddr;

use crate::{Address, Port, Protocol, SessionId};

/// The kernel's name of a socket, unique on the node until it reboots (`SO_COOKIE`).
pub type SocketCookie = u64;

/// A 5-tuple as the node sees it: remote is the client, local is the node.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowKey {
    remote: Address,
    local: Address,
    remote_port: Port,
    local_port: Port,
    protocol: u8,
    _padding: [u8; 3],
}

const _: () = assert!(size_of::<FlowKey>() == 40);

impl FlowKey {
    /// The flow of `protocol` between these ends.
    #[inline(always)]
    pub const fn new(protocol: Protocol, remote: (Address, Port), local: (Address, Port)) -> Self {
        Self {
            remote: remote.0,
            local: local.0,
            remote_port: remote.1,
            local_port: local.1,
            protocol: protocol as u8,
            _padding: [0; 3],
        }
    }

    /// The TCP connection between these ends.
    pub fn tcp(remote: SocketAddr, local: SocketAddr) -> Self {
        let end = |end: SocketAddr| (Address::from(end.ip()), Port::new(end.port()));
        Self::new(Protocol::Tcp, end(remote), end(local))
    }

    /// The client's end.
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.remote.ip(), self.remote_port.number())
    }

    /// The node's end.
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(self.local.ip(), self.local_port.number())
    }
}

/// Whose flow it is, and the socket that carries it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    session: SessionId,
    cookie: SocketCookie,
    leg: u8,
    _reserved: [u8; 7],
}

const _: () = assert!(size_of::<Flow>() == 24);

/// Which part of the way from the user to sshd a flow is.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leg {
    /// All of it.
    Whole = 0,
    /// From a balancer to the relay: it says where its user is, and its packets do not.
    Outer = 1,
    /// From the relay to sshd, over loopback, where no device sees it.
    Inner = 2,
}

impl Flow {
    /// A flow of `session`, carried by the socket with this cookie.
    pub const fn of(session: SessionId, cookie: SocketCookie) -> Self {
        Self { session, cookie, leg: Leg::Whole as u8, _reserved: [0; 7] }
    }

    /// The same as this part of its way.
    #[must_use]
    pub const fn on(self, leg: Leg) -> Self {
        Self { leg: leg as u8, ..self }
    }

    /// Which part of its way it is. One that is not known is none that a device may see.
    #[inline(always)]
    pub const fn leg(&self) -> Leg {
        match self.leg {
            0 => Leg::Whole,
            1 => Leg::Outer,
            _ => Leg::Inner,
        }
    }

    /// A connection that is cut though it never had a session.
    pub const fn cut(cookie: SocketCookie) -> Self {
        Self::of(SessionId::NONE, cookie)
    }

    /// The session; [`SessionId::NONE`] if the connection was cut without ever having had one.
    #[inline(always)]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The socket.
    #[inline(always)]
    pub const fn cookie(&self) -> SocketCookie {
        self.cookie
    }
}
