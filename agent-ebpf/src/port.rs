//! Ports, and which of them are protected.

use crate::Protocol;

/// A TCP or UDP port in network order.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port([u8; 2]);

const _: () = assert!(size_of::<Port>() == 2);

impl Port {
    /// The port of these two octets as they stand in a packet.
    #[inline(always)]
    pub const fn from_octets(octets: [u8; 2]) -> Self {
        Self(octets)
    }

    /// The two octets as they stand in a packet.
    #[inline(always)]
    pub const fn octets(self) -> [u8; 2] {
        self.0
    }

    /// The port with this number.
    pub const fn new(number: u16) -> Self {
        Self(number.to_be_bytes())
    }

    /// Its number.
    #[inline(always)]
    pub const fn number(self) -> u16 {
        u16::from_be_bytes(self.0)
    }
}

impl core::fmt::Debug for Port {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&self.number(), f)
    }
}

/// What a port is to the datapath: a set of roles, one bit each.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PortClass(u8);

impl PortClass {
    /// Not ours.
    pub const NONE: Self = Self(0);
    /// sshd listens here on TCP.
    pub const TCP_LOGIN: Self = Self(1);
    /// An endpoint here was sent what it may not receive.
    const TCP_VIOLATED: Self = Self(1 << 1);
    const UDP_VIOLATED: Self = Self(1 << 2);
    const TCP_GATED: Self = Self(1 << 3);
    const UDP_GATED: Self = Self(1 << 4);
    /// The agent listens here for knocks.
    pub const UDP_KNOCK: Self = Self(1 << 5);
    /// At this port of other nodes the agent may vouch for who connects.
    pub const TCP_VOUCHED: Self = Self(1 << 6);
    /// What trusted relays connect here is led to the node's relay.
    pub const TCP_STEERED: Self = Self(1 << 7);

    /// Of a port at which an endpoint of this protocol was sent what it may not receive; the kernel programs set it.
    #[inline(always)]
    pub const fn violated(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::TCP_VIOLATED,
            Protocol::Udp => Self::UDP_VIOLATED,
        }
    }

    /// Of a port before which a gate stands for this protocol.
    #[inline(always)]
    pub const fn gated(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::TCP_GATED,
            Protocol::Udp => Self::UDP_GATED,
        }
    }

    /// [`Self::violated`] of either protocol.
    pub(crate) const VIOLATED: Self = Self::TCP_VIOLATED.and(Self::UDP_VIOLATED);
    /// [`Self::gated`] of either protocol.
    pub(crate) const GATED: Self = Self::TCP_GATED.and(Self::UDP_GATED);

    /// What is for a port's own sake, whoever the packet is from: all but what was learnt.
    pub(crate) const KEPT: Self = Self::TCP_LOGIN.and(Self::GATED).and(Self::UDP_KNOCK);

    /// The roles that the port has for this protocol: of those all are then asked by one number.
    #[must_use]
    #[inline(always)]
    pub const fn only(self, protocol: Protocol) -> Self {
        let any = match protocol {
            Protocol::Tcp => Self::TCP_LOGIN.and(Self::TCP_VIOLATED).and(Self::TCP_GATED),
            Protocol::Udp => Self::UDP_VIOLATED.and(Self::UDP_GATED).and(Self::UDP_KNOCK),
        };
        Self(self.0 & any.0)
    }

    /// The roles of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the port has one of these roles.
    #[inline(always)]
    pub const fn is_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

/// The classes of all ports, one byte a port: the one entry of the map `PORTS`.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ports([PortClass; 1 << 16]);

const _: () = assert!(size_of::<Ports>() == 1 << 16);

impl Ports {
    /// No port is ours.
    pub const fn none() -> Self {
        Self([PortClass::NONE; 1 << 16])
    }

    /// The class of a port.
    #[inline(always)]
    pub const fn class(&self, port: Port) -> PortClass {
        // The verifiers of 6.1 and 6.12 forget the range of a number whose octets are swapped; read from memory, it has
        // that of its size again.
        self.0[core::hint::black_box(port.number()) as usize]
    }

    /// Where the aligned word lies, in bytes, that holds a port's class, and the bits of the class in it.
    #[inline(always)]
    pub const fn word_of(port: Port, class: PortClass) -> (usize, u64) {
        const WORD: usize = size_of::<u64>();
        let number = core::hint::black_box(port.number()) as usize;
        let place = if cfg!(target_endian = "little") { number % WORD } else { WORD - 1 - number % WORD };
        (number - number % WORD, (class.0 as u64) << (8 * place))
    }

    /// Gives a port a class.
    pub const fn set(&mut self, port: Port, class: PortClass) {
        self.0[port.number() as usize] = class;
    }
}

impl core::fmt::Debug for Ports {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let ours = self.0.iter().enumerate().filter(|(_, class)| **class != PortClass::NONE);
        f.debug_map().entries(ours).finish()
    }
}
