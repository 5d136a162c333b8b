//! A connection that a session opens to somewhere else.

use core::net::SocketAddr;

use crate::{Address, Port, SessionId};

/// Told when the first packet of it is about to leave.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Departure {
    session: SessionId,
    from: Address,
    to: Address,
    from_port: Port,
    to_port: Port,
    _reserved: [u8; 4],
}

const _: () = assert!(size_of::<Departure>() == 48);

impl Departure {
    /// A session's, between these ends: the node's own, and the other.
    #[inline(always)]
    pub const fn of(session: SessionId, from: (Address, Port), to: (Address, Port)) -> Self {
        Self { session, from: from.0, to: to.0, from_port: from.1, to_port: to.1, _reserved: [0; 4] }
    }

    /// Whose it is.
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The node's own end.
    pub fn from(&self) -> SocketAddr {
        SocketAddr::new(self.from.ip(), self.from_port.number())
    }

    /// The other end.
    pub fn to(&self) -> SocketAddr {
        SocketAddr::new(self.to.ip(), self.to_port.number())
    }
}

impl core::fmt::Debug for Departure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Departure")
            .field("session", &self.session)
            .field("from", &self.from())
            .field("to", &self.to())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_come_back() {
        let address = |text: &str| Address::from(text.parse::<std::net::IpAddr>().unwrap());
        let (from, to) = ((address("192.0.2.1"), Port::new(40_000)), (address("2001:db8::2"), Port::new(22)));
        let departure = Departure::of(SessionId::new(7), from, to);
        assert_eq!(departure.from().to_string(), "192.0.2.1:40000");
        assert_eq!(departure.to().to_string(), "[2001:db8::2]:22");
        assert_eq!(departure.session(), SessionId::new(7));
    }
}
