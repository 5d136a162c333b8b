//! Endpoints: the sockets that sessions open for others to reach.

use core::net::SocketAddr;

use crate::{Address, Nanoseconds, Port, Protocol, SessionId, SocketCookie};

/// What a socket remembers of the session that made it (socket storage `TAGS`).
// The flags are one word: the kernel programs make it on their stack, which is to be written in aligned pieces.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    session: SessionId,
    flags: u64,
}

const _: () = assert!(size_of::<Tag>() == 16);

impl Tag {
    const UDP: u64 = 1;
    const OPEN: u64 = 1 << 1;
    const ANY_PORT: u64 = 1 << 2;

    /// A socket that `session` has made, and that is no endpoint so far. UDP-Lite (RFC 3828) counts as UDP, MPTCP as TCP.
    #[inline(always)]
    pub const fn of(session: SessionId, protocol: Protocol) -> Self {
        let flags = match protocol {
            Protocol::Tcp => 0,
            Protocol::Udp => Self::UDP,
        };
        Self { session, flags }
    }

    /// The same socket as another session's.
    #[inline(always)]
    pub const fn with_session(self, session: SessionId) -> Self {
        Self { session, ..self }
    }

    /// The same socket as an endpoint.
    #[inline(always)]
    pub const fn opened(self) -> Self {
        Self { flags: self.flags | Self::OPEN, ..self }
    }

    /// The same socket, with a port that was asked for or, with `any`, left to the kernel.
    #[inline(always)]
    pub const fn with_any_port(self, any: bool) -> Self {
        let flags = if any { self.flags | Self::ANY_PORT } else { self.flags & !Self::ANY_PORT };
        Self { flags, ..self }
    }

    /// The session.
    #[inline(always)]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// Its protocol.
    #[inline(always)]
    pub const fn protocol(&self) -> Protocol {
        if self.flags & Self::UDP != 0 { Protocol::Udp } else { Protocol::Tcp }
    }

    /// Whether the socket is an endpoint.
    #[inline(always)]
    pub const fn is_open(&self) -> bool {
        self.flags & Self::OPEN != 0
    }

    /// Whether its port was left to the kernel: what clients do that send from several places, and servers seldom.
    #[inline(always)]
    pub const fn has_any_port(&self) -> bool {
        self.flags & Self::ANY_PORT != 0
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
    /// A session's socket that others reach at this address and port; the unspecified address is all of the node's. Its
    /// generation is a number that none had before.
    #[inline(always)]
    pub const fn new(tag: &Tag, local: Address, port: Port, generation: u64) -> Self {
        let (session, protocol, any_port) = (tag.session, tag.protocol() as u8, tag.has_any_port() as u8);
        Self { session, local, generation, port, protocol, any_port, _padding: [0; 4], _reserved: [0; 8] }
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
        Protocol::from_number(self.protocol)
    }

    /// Another one whenever whom it answers to may have changed.
    #[inline(always)]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whom it answers to may have changed.
    #[inline(always)]
    pub const fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }
}

/// The endpoint that was sent what it may not receive, as it was then.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Violated {
    cookie: SocketCookie,
    generation: u64,
    until: Nanoseconds,
}

const _: () = assert!(size_of::<Violated>() == 24);

impl Violated {
    /// For how long it counts. Whatever may have changed unnoticed, the socket is asked again then.
    const LASTING: Nanoseconds = 5_000_000_000;

    /// The endpoint with this cookie, in this generation.
    #[inline(always)]
    pub const fn new(cookie: SocketCookie, generation: u64, now: Nanoseconds) -> Self {
        Self { cookie, generation, until: now.saturating_add(Self::LASTING) }
    }

    /// Its socket.
    #[inline(always)]
    pub const fn cookie(&self) -> SocketCookie {
        self.cookie
    }

    /// Whether the endpoint is still what it was then, and that not long ago.
    #[inline(always)]
    pub const fn is_still(&self, endpoint: &Endpoint, now: Nanoseconds) -> bool {
        endpoint.generation == self.generation && now < self.until
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
    /// Whom it is connected to, if it is; the kernel gives it nothing of anybody else's then.
    pub peer: Option<Address>,
}
