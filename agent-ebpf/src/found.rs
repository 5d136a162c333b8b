//! What lies behind a packet's IP headers: TCP's or UDP's ports, or why there are none.

use crate::frame::FARTHEST;
use crate::{Frame, Protocol};

/// How many IPv6 extension headers a packet may carry.
pub const EXTENSION_HEADERS: usize = 8;

/// What lies behind a packet's IP headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    pub(crate) kind: Kind,
    /// Source and destination, as they lie in the packet.
    pub(crate) ports: [u8; 4],
    /// The offset of the transport protocol's header.
    pub(crate) at: usize,
}

/// What a packet carries, as a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kind(u8);

impl Kind {
    pub(crate) const TCP: Self = Self(Protocol::Tcp as u8);
    pub(crate) const UDP: Self = Self(Protocol::Udp as u8);
    // Of protocols that are not told apart.
    pub(crate) const NOT_IP: Self = Self(0xf0);
    pub(crate) const FRAGMENT: Self = Self(0xf1);
    pub(crate) const PORTLESS: Self = Self(0xf2);
    pub(crate) const MALFORMED: Self = Self(0xf3);
}

impl Found {
    #[inline(always)]
    pub(crate) const fn only(kind: Kind) -> Self {
        Self { kind, ports: [0; 4], at: 0 }
    }

    /// TCP's or UDP's beginning at this offset, of a packet that ends at `end`.
    #[inline(always)]
    pub(crate) fn segment<F: Frame + ?Sized>(frame: &F, protocol: Protocol, at: usize, end: usize) -> Self {
        match frame.read_before(at, end) {
            Some(ports) => {
                let kind = Kind(protocol as u8);
                Self { kind, ports, at: usize::from(frame.forget(at as u16)) }
            }
            None => Self::only(Kind::MALFORMED),
        }
    }

    /// Whether it is TCP or UDP whose ports could be read.
    #[inline(always)]
    pub(crate) const fn is_segment(self) -> bool {
        matches!(self.kind, Kind::TCP | Kind::UDP)
    }

    /// The same as a number.
    #[inline(always)]
    pub const fn number(self) -> u64 {
        (self.kind.0 as u64)
            | (self.at as u64 & FARTHEST as u64) << 16
            | (u32::from_ne_bytes(self.ports) as u64) << 32
    }

    /// What has this [`Found::number`].
    #[inline(always)]
    pub const fn from_number(number: u64) -> Self {
        let ports = ((number >> 32) as u32).to_ne_bytes();
        // Farther it cannot be; Linux 6.1 must be told.
        Self { kind: Kind(number as u8), ports, at: (number >> 16) as usize & FARTHEST }
    }

    /// Walks the chain of IPv6 extension headers at this offset, of which the first is `next`, to what a packet that ends at
    /// `end` carries (RFC 8200, 4).
    #[inline(always)]
    pub fn behind_extensions<F: Frame + ?Sized>(frame: &F, next: u8, at: usize, end: usize) -> Self {
        const HOP_BY_HOP: u8 = 0;
        const ROUTING: u8 = 43;
        const FRAGMENT: u8 = 44;
        const AUTHENTICATION: u8 = 51;
        const DESTINATION: u8 = 60;

        let (mut next, mut at) = (next, at);
        for _ in 0..=EXTENSION_HEADERS {
            match next {
                6 => return Self::segment(frame, Protocol::Tcp, at, end),
                17 => return Self::segment(frame, Protocol::Udp, at, end),
                HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION => {}
                _ => return Self::only(Kind::PORTLESS),
            }
            let Some([following, length, high, low]) = frame.read_before(at, end) else {
                return Self::only(Kind::MALFORMED);
            };
            at += match next {
                // Offset in the upper 13 bits; the rest are flags.
                FRAGMENT if u16::from_be_bytes([high, low]) >> 3 != 0 => return Self::only(Kind::FRAGMENT),
                FRAGMENT => 8,
                AUTHENTICATION => (usize::from(length) + 2) * 4,
                _ => (usize::from(length) + 1) * 8,
            };
            at = usize::from(frame.forget(at as u16));
            next = following;
        }
        Self::only(Kind::MALFORMED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_the_same_after_it_was_a_number() {
        for kind in [Kind::TCP, Kind::UDP, Kind::NOT_IP, Kind::FRAGMENT, Kind::PORTLESS, Kind::MALFORMED] {
            for at in [0, 34, FARTHEST] {
                let found = Found { kind, ports: [0x12, 0x34, 0xff, 0x16], at };
                assert_eq!(Found::from_number(found.number()), found);
            }
        }
    }
}
