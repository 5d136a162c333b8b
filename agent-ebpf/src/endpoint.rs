//! Endpoints: the sockets that sessions open for others to reach.

use core::net::SocketAddr;

use crate::{Address, Port, Protocol, SessionId, SocketCookie};

/// What a socket remembers of the session that made it (socket storage `TAGS`).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    session: SessionId,
    open: u8,
    any_port: u8,
    _padding: [u8; 6],
}

const _: () = assert!(size_of::<Tag>() == 16);

impl Tag {
    /// A socket that `session` has made, and that is no endpoint so far.
    #[inline(always)]
    pub const fn of(session: SessionId) -> Self {
        Self { session, open: 0, any_port: 0, _padding: [0; 6] }
    }

    /// The same socket as an endpoint.
    #[inline(always)]
    pub const fn opened(self) -> Self {
        Self { open: 1, ..self }
    }

    /// The session.
    #[inline(always)]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// Whether the socket is an endpoint.
    #[inline(always)]
    pub const fn is_open(&self) -> bool {
        self.open != 0
    }

    /// Makes it an endpoint, or none.
    #[inline(always)]
    pub const fn set_open(&mut self, open: bool) {
        self.open = open as u8;
    }

    /// Whether its port was left to the kernel: what clients do that send from several places, and servers seldom.
    #[inline(always)]
    pub const fn has_any_port(&self) -> bool {
        self.any_port != 0
    }

    /// Remembers whether its port was left to the kernel.
    #[inline(always)]
    pub const fn set_any_port(&mut self, any: bool) {
        self.any_port = any as u8;
    }
}

/// An endpoint as it is listed, by its socket's cookie.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint {
    session: SessionId,
    local: Address,
    generation: u64,
    port: Port,
    protocol: u8,
    any_port: u8,
    _padding: [u8; 4],
    _reserved: [u8; 8],
}

const _: () = assert!(size_of::<Endpoint>() == 48);

impl Endpoint {
    /// A session's socket that others reach at this address and port; the unspecified address is all of the node's.
    #[inline(always)]
    pub const fn new(tag: &Tag, protocol: Protocol, local: Address, port: Port) -> Self {
        let (session, protocol, any_port) = (tag.session, protocol as u8, tag.any_port);
        Self { session, local, generation: 0, port, protocol, any_port, _padding: [0; 4], _reserved: [0; 8] }
    }

    /// Whether its port was left to the kernel.
    pub const fn has_any_port(&self) -> bool {
        self.any_port != 0
    }

    /// The session.
    #[inline(always)]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// Where it is reached; port 0 if the kernel chose one without a word to us.
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(self.local.ip(), self.port.number())
    }

    /// Its protocol; `None` if a newer kernel program wrote one that is not known here.
    pub const fn protocol(&self) -> Option<Protocol> {
        match self.protocol {
            6 => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            _ => None,
        }
    }

    /// How often whom it answers to has changed.
    #[inline(always)]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The byte offset of the generation; the kernel adds there.
    pub const GENERATION_AT: usize = core::mem::offset_of!(Self, generation);
}

/// Somebody who sent an endpoint what it may not receive: whence, whither.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Violation {
    source: Address,
    destination: Address,
    port: Port,
    protocol: u8,
    _padding: [u8; 5],
}

const _: () = assert!(size_of::<Violation>() == 40);

impl Violation {
    /// Of a packet from `source` to this address and port.
    #[inline(always)]
    pub const fn new(source: Address, destination: Address, protocol: Protocol, port: Port) -> Self {
        Self { source, destination, port, protocol: protocol as u8, _padding: [0; 5] }
    }
}

/// The endpoint that was sent it, as it was then.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Violated {
    cookie: SocketCookie,
    generation: u64,
}

const _: () = assert!(size_of::<Violated>() == 16);

impl Violated {
    /// The endpoint with this cookie, in this generation.
    #[inline(always)]
    pub const fn new(cookie: SocketCookie, generation: u64) -> Self {
        Self { cookie, generation }
    }

    /// Its socket.
    #[inline(always)]
    pub const fn cookie(&self) -> SocketCookie {
        self.cookie
    }

    /// Whether the endpoint is still what it was then.
    #[inline(always)]
    pub const fn is_still(&self, endpoint: &Endpoint) -> bool {
        endpoint.generation == self.generation
    }
}

/// Somebody to whom a socket has sent of its own accord.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Asked {
    cookie: SocketCookie,
    address: Address,
    port: Port,
    _padding: [u8; 6],
}

const _: () = assert!(size_of::<Asked>() == 32);

impl Asked {
    /// The socket with this cookie has sent to this address and port.
    #[inline(always)]
    pub const fn new(cookie: SocketCookie, address: Address, port: Port) -> Self {
        Self { cookie, address, port, _padding: [0; 6] }
    }
}

/// A session's socket to which a packet has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receiver {
    /// What it remembers.
    pub tag: Tag,
    /// Its name.
    pub cookie: SocketCookie,
    /// Whom it is connected to, if it is.
    pub peer: Option<(Address, Port)>,
}
