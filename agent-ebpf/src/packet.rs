//! Finds addresses and ports in a frame: Ethernet, VLAN tags, IPv4, IPv6 with extension headers, TCP and UDP.
//!
//! What each odd packet counts as is decided once, here, behind extension headers in [`crate::Found`], and of TCP's flags in
//! [`crate::Step`]:
//!
//! - Broken IP headers (wrong version, too short, a total length below the header's) are [`Content::NotIp`]: the
//!   stack drops them itself. So is anything behind a third VLAN tag.
//! - What lies behind the length that the IP header claims is padding and is not read. A claimed length of 0 means
//!   "to the end of the frame": the kernel's own large receive offload (BIG TCP) makes such packets.
//! - Fragments other than the first carry no ports and are [`Content::Fragment`].
//! - A first fragment or whole packet of TCP or UDP without readable ports is [`Content::Malformed`], and so is a
//!   chain of IPv6 extension headers that is cut off or longer than [`crate::EXTENSION_HEADERS`].
//! - A TCP header whose flags are cut off, or a SYN's that is cut off anywhere, is [`Step::Unreadable`]. The stack drops
//!   such a whole packet itself; of a first fragment the rest would follow unseen (RFC 1858, 3).

use crate::found::{Found, Kind};
use crate::frame::FARTHEST;
use crate::{Address, Frame, Port, Step};

/// What knocks begin with: their name and version.
pub const KNOCK: [u8; 8] = *b"ctknock\x01";

/// How many VLAN tags (802.1Q, 802.1ad) a frame may carry.
const VLAN_TAGS: usize = 2;

/// What a device's frames begin with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Layer {
    /// An Ethernet header.
    Ethernet,
    /// The IP header: WireGuard, tun and other devices without link-layer addresses.
    Ip,
}

/// A transport protocol with ports, by its IP protocol number.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    /// TCP.
    Tcp = 6,
    /// UDP.
    Udp = 17,
}

impl Protocol {
    /// The protocol of this number; `None` if it is another one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

/// The beginning of a TCP segment or a UDP datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Which of the two.
    pub protocol: Protocol,
    /// The sender's port.
    pub source: Port,
    /// The receiver's port.
    pub destination: Port,
    at: usize,
}

/// What a packet carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// No IP that the stack would take.
    NotIp,
    /// The continuation of a packet whose first fragment was judged.
    Fragment,
    /// A protocol without ports.
    Portless,
    /// TCP or UDP whose ports cannot be read, or too long a chain of extension headers.
    Malformed,
    /// TCP or UDP.
    Segment(Segment),
}

/// A frame with its headers found. Addresses are read when asked for, since most packets are passed before.
///
/// Flat, with every field set in every case: an enum's unused payload is undefined, and the verifier minds. And of plain
/// numbers, since what the verifier knows of them it is made to [forget](Frame::forget).
pub struct Packet<'f, F: Frame + ?Sized> {
    frame: &'f F,
    /// That of the IP header; 0 if there is none.
    version: u8,
    /// The offset of the IP header.
    at: usize,
    /// The offset behind the last byte that the IP header claims.
    end: usize,
    found: Found,
}

impl<'f, F: Frame + ?Sized> Packet<'f, F> {
    /// Finds the headers of a frame.
    #[inline(always)]
    pub fn parse(frame: &'f F, layer: Layer) -> Self {
        let packet = match layer {
            Layer::Ethernet => Self::ethernet(frame),
            Layer::Ip => Self::bare(frame),
        };
        match packet {
            Some(packet) => packet,
            None => Self { frame, version: 0, at: 0, end: 0, found: Found::only(Kind::NOT_IP) },
        }
    }

    /// What it carries.
    #[inline(always)]
    pub fn content(&self) -> Content {
        match self.found.kind {
            Kind::TCP => Content::Segment(self.segment(Protocol::Tcp)),
            Kind::UDP => Content::Segment(self.segment(Protocol::Udp)),
            Kind::NOT_IP => Content::NotIp,
            Kind::FRAGMENT => Content::Fragment,
            Kind::PORTLESS => Content::Portless,
            _ => Content::Malformed,
        }
    }

    #[inline(always)]
    fn segment(&self, protocol: Protocol) -> Segment {
        let Found { ports: [a, b, c, d], at, .. } = self.found;
        Segment { protocol, source: Port::from_octets([a, b]), destination: Port::from_octets([c, d]), at }
    }

    /// The sender's address; unspecified if the packet is not IP.
    #[inline(always)]
    pub fn source(&self) -> Address {
        self.address(0)
    }

    /// The receiver's address; unspecified if the packet is not IP.
    #[inline(always)]
    pub fn destination(&self) -> Address {
        self.address(1)
    }

    /// The addresses of sender and receiver; `None` if the packet is not IP.
    #[inline(always)]
    pub fn addresses(&self) -> Option<(Address, Address)> {
        match self.version {
            4 => {
                // One read has both.
                let [a, b, c, d, e, f, g, h] = self.frame.read(self.at + 12)?;
                Some((Address::v4([a, b, c, d]), Address::v4([e, f, g, h])))
            }
            6 => Some((self.address_v6(self.at + 8)?, self.address_v6(self.at + 24)?)),
            _ => None,
        }
    }

    /// Whether its frame is for all on the wire or for a group of them (IEEE 802.3, 3.2.3), and so for the node as well.
    #[inline(always)]
    pub fn is_to_group(&self) -> bool {
        let has_ethernet = self.at > 0;
        has_ethernet && self.frame.read::<2>(0).is_some_and(|[first, _]| first & 1 == 1)
    }

    /// Whether a UDP datagram begins as knocks do.
    #[inline(always)]
    pub fn is_knock(&self, segment: &Segment) -> bool {
        const HEADER: usize = 8;

        let at = segment.at + HEADER;
        at + KNOCK.len() <= self.end && self.frame.word(at) == Some(u64::from_ne_bytes(KNOCK))
    }

    /// What a TCP segment does to its connection.
    #[inline(always)]
    pub fn step(&self, segment: &Segment) -> Step {
        self.frame.step(segment.at, self.end)
    }

    #[inline(always)]
    fn ethernet(frame: &'f F) -> Option<Self> {
        let mut ethertype: [u8; 2] = frame.read(12)?;
        let mut at = 14;
        for _ in 0..VLAN_TAGS {
            if !matches!(ethertype, [0x81, 0x00] | [0x88, 0xa8]) {
                break;
            }
            ethertype = frame.read(at + 2)?;
            at += 4;
        }
        let at = usize::from(frame.forget(at as u16));
        match ethertype {
            [0x08, 0x00] => Self::ipv4(frame, at),
            [0x86, 0xdd] => Self::ipv6(frame, at),
            _ => None,
        }
    }

    #[inline(always)]
    fn bare(frame: &'f F) -> Option<Self> {
        let [version, _] = frame.read(0)?;
        match version >> 4 {
            4 => Self::ipv4(frame, 0),
            6 => Self::ipv6(frame, 0),
            _ => None,
        }
    }

    /// RFC 791, 3.1.
    #[inline(always)]
    fn ipv4(frame: &'f F, at: usize) -> Option<Self> {
        let header: [u8; 10] = frame.read(at)?;
        let length = usize::from(header[0] & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 || length < 20 || (total != 0 && total < length) {
            return None;
        }
        let end = claimed_end(at, total);
        let fragment = u16::from_be_bytes([header[6] & 0x1f, header[7]]);
        let found = match header[9] {
            _ if fragment != 0 => Found::only(Kind::FRAGMENT),
            6 => Found::segment(frame, Protocol::Tcp, at + length, end),
            17 => Found::segment(frame, Protocol::Udp, at + length, end),
            _ => Found::only(Kind::PORTLESS),
        };
        if !found.is_segment() {
            // What has ports behind it is whole.
            let _rest_is_there: [u8; 10] = frame.read(at + 10)?;
        }
        Some(Self {
            frame,
            version: forgotten(frame, 4),
            at,
            end: usize::from(frame.forget(end as u16)),
            found,
        })
    }

    /// RFC 8200, 3 and 4.
    #[inline(always)]
    fn ipv6(frame: &'f F, at: usize) -> Option<Self> {
        let header: [u8; 8] = frame.read(at)?;
        let _rest_is_there: [u8; 32] = frame.read(at + 8)?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let end = claimed_end(at + 40, payload);
        let found = frame.behind_extensions(header[6], at + 40, end);
        Some(Self {
            frame,
            version: forgotten(frame, 6),
            at,
            end: usize::from(frame.forget(end as u16)),
            found,
        })
    }

    #[inline(always)]
    fn address(&self, index: usize) -> Address {
        let address = match self.version {
            4 => self.frame.read(self.at + 12 + index * 4).map(Address::v4),
            6 => self.address_v6(self.at + 8 + index * 16),
            _ => None,
        };
        match address {
            Some(address) => address,
            None => Address::new([0; 16]),
        }
    }

    #[inline(always)]
    fn address_v6(&self, at: usize) -> Option<Address> {
        Some(Address::from_words([self.frame.word(at)?, self.frame.word(at + 8)?]))
    }
}

/// The offset behind `length` bytes from `start`; of no length, behind everything.
#[inline(always)]
fn claimed_end(start: usize, length: usize) -> usize {
    if length == 0 { FARTHEST } else { (start + length).min(FARTHEST) }
}

/// A number that the verifier does not know.
#[inline(always)]
fn forgotten<F: Frame + ?Sized>(frame: &F, number: u8) -> u8 {
    frame.forget(u16::from(number)) as u8
}
