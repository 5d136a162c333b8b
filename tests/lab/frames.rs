//! Packets, made byte by byte: whole ones from a description, and any number of odd ones from a seed.

use std::net::{IpAddr, SocketAddr};

/// A SYN and nothing else among TCP's flags.
pub const SYN: u8 = 0x02;
/// An ACK and nothing else among TCP's flags.
pub const ACK: u8 = 0x10;

/// An IPv6 extension header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extension {
    /// Hop-by-hop options, this many eighths longer than the shortest.
    HopByHop(u8),
    /// A routing header, this many eighths longer than the shortest.
    Routing(u8),
    /// Destination options, this many eighths longer than the shortest.
    Destination(u8),
    /// An authentication header with this many words of integrity check.
    Authentication(u8),
    /// A fragment header with this offset in eighths.
    Fragment(u16),
}

/// What a packet is to look like. Start from [`Frame::tcp`] or [`Frame::udp`] and change what matters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The VLAN tags' EtherTypes, outermost first.
    pub tags: Vec<u16>,
    /// Where it comes from; of the same family as `destination`.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// The IP protocol; 6 and 17 get the header that goes with it.
    pub protocol: u8,
    /// IPv4 options in words of four bytes, at most 10.
    pub option_words: u8,
    /// IPv4's fragment offset in eighths.
    pub fragment: u16,
    /// IPv6's extension headers.
    pub extensions: Vec<Extension>,
    /// TCP's flags.
    pub flags: u8,
    /// TCP's options, padded to words.
    pub tcp_options: Vec<u8>,
    /// What follows the transport header.
    pub payload: Vec<u8>,
    /// What follows the packet in its frame.
    pub padding: usize,
}

impl Frame {
    /// A TCP segment with data.
    pub fn tcp(source: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            tags: Vec::new(),
            source,
            destination,
            protocol: 6,
            option_words: 0,
            fragment: 0,
            extensions: Vec::new(),
            flags: ACK,
            tcp_options: Vec::new(),
            payload: b"data".to_vec(),
            padding: 0,
        }
    }

    /// A UDP datagram.
    pub fn udp(source: SocketAddr, destination: SocketAddr) -> Self {
        Self { protocol: 17, ..Self::tcp(source, destination) }
    }

    /// The request to open a TCP connection, with these options.
    pub fn syn(source: SocketAddr, destination: SocketAddr, tcp_options: &[u8]) -> Self {
        Self {
            flags: SYN,
            tcp_options: tcp_options.to_vec(),
            payload: Vec::new(),
            ..Self::tcp(source, destination)
        }
    }

    /// The packet in an Ethernet frame.
    pub fn ethernet(&self) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for tag in &self.tags {
            bytes.extend(tag.to_be_bytes());
            bytes.extend([0, 7]);
        }
        let ethertype: u16 = if self.source.is_ipv4() { 0x0800 } else { 0x86dd };
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend(self.ip());
        bytes
    }

    /// The packet alone, with its padding.
    pub fn ip(&self) -> Vec<u8> {
        let mut bytes = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.ipv4(source.octets(), destination.octets()),
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.ipv6(source.octets(), destination.octets()),
            (source, destination) => panic!("{source} and {destination} are of two families"),
        };
        bytes.resize(bytes.len() + self.padding, 0);
        bytes
    }

    fn ipv4(&self, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let transport = self.transport();
        let words = 5 + self.option_words.min(10);
        let total = usize::from(words) * 4 + transport.len();
        let mut bytes = vec![0x40 | words, 0];
        bytes.extend((total as u16).to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([64, self.protocol, 0, 0]);
        bytes.extend(source);
        bytes.extend(destination);
        bytes.resize(usize::from(words) * 4, 1);
        bytes.extend(transport);
        bytes
    }

    fn ipv6(&self, source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
        let mut rest = Vec::new();
        for (index, extension) in self.extensions.iter().enumerate() {
            let next = self.extensions.get(index + 1).map_or(self.protocol, |next| next.number());
            rest.extend(extension.bytes(next));
        }
        rest.extend(self.transport());
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend((rest.len() as u16).to_be_bytes());
        bytes.extend([self.extensions.first().map_or(self.protocol, |first| first.number()), 64]);
        bytes.extend(source);
        bytes.extend(destination);
        bytes.extend(rest);
        bytes
    }

    fn transport(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if matches!(self.protocol, 6 | 17) {
            bytes.extend(self.source.port().to_be_bytes());
            bytes.extend(self.destination.port().to_be_bytes());
        }
        match self.protocol {
            6 => {
                let words = self.tcp_options.len().div_ceil(4).min(10);
                bytes.extend([
                    0,
                    0,
                    0,
                    1,
                    0,
                    0,
                    0,
                    0,
                    ((5 + words) as u8) << 4,
                    self.flags,
                    1,
                    0,
                    0,
                    0,
                    0,
                    0,
                ]);
                let options = bytes.len();
                bytes.extend(self.tcp_options.iter().take(40));
                bytes.resize(options + words * 4, 0);
            }
            17 => {
                bytes.extend((8 + self.payload.len() as u16).to_be_bytes());
                bytes.extend([0, 0]);
            }
            _other => {}
        }
        bytes.extend(&self.payload);
        bytes
    }
}

impl Extension {
    fn number(self) -> u8 {
        match self {
            Self::HopByHop(_) => 0,
            Self::Routing(_) => 43,
            Self::Destination(_) => 60,
            Self::Authentication(_) => 51,
            Self::Fragment(_) => 44,
        }
    }

    fn bytes(self, next: u8) -> Vec<u8> {
        let (length, size) = match self {
            Self::HopByHop(more) | Self::Routing(more) | Self::Destination(more) => {
                (more, 8 + usize::from(more) * 8)
            }
            Self::Authentication(words) => (words, 8 + usize::from(words) * 4),
            Self::Fragment(_) => (0, 8),
        };
        let mut bytes = vec![next, length];
        if let Self::Fragment(offset) = self {
            bytes.extend((offset << 3).to_be_bytes());
        }
        bytes.resize(size, 0);
        bytes
    }
}

/// A small generator of numbers (xorshift): the same seed gives the same packets on every machine.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that always fall the same way for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % end.max(1) as u64) as usize
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

/// An option list with a request to join a multipath connection somewhere in it.
pub fn mp_join(dice: &mut Dice) -> Vec<u8> {
    let mut options = Vec::new();
    for _ in 0..dice.below(3) {
        options.extend(
            dice.one_of(&[&[1][..], &[2, 4, 5, 0xb4], &[4, 2], &[8, 10, 0, 0, 0, 1, 0, 0, 0, 0]]).iter(),
        );
    }
    options.extend([30, 12, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    options
}

/// A packet from `source` to `destination`, odd in all the ways that a parser must bear.
pub fn odd(dice: &mut Dice, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut frame = match dice.below(8) {
        0 => Frame::udp(source, destination),
        1 => Frame { protocol: *dice.one_of(&[1, 50, 58, 59, 132]), ..Frame::tcp(source, destination) },
        2 => {
            let options = mp_join(dice);
            Frame::syn(source, destination, &options)
        }
        3..=5 => Frame::syn(source, destination, &[2, 4, 5, 0xb4, 1, 3, 3, 7]),
        _ => Frame::tcp(source, destination),
    };
    if dice.once_in(16) {
        frame.flags = dice.below(256) as u8;
    }
    for _ in 0..dice.below(4).saturating_sub(1) {
        frame.tags.push(*dice.one_of(&[0x8100, 0x88a8]));
    }
    frame.option_words = if dice.once_in(4) { dice.below(11) as u8 } else { 0 };
    frame.fragment = if dice.once_in(12) { dice.below(0x4000) as u16 } else { 0 };
    if dice.once_in(3) {
        frame.extensions = (0..dice.below(11)).map(|_| extension(dice)).collect();
    }
    frame.padding = if dice.once_in(4) { dice.below(40) } else { 0 };
    let mut bytes = frame.ethernet();
    if dice.once_in(10) {
        bytes.truncate(dice.below(bytes.len() + 1));
    }
    if dice.once_in(12) && !bytes.is_empty() {
        let place = dice.below(bytes.len().min(90));
        bytes[place] = dice.below(256) as u8;
    }
    bytes
}

fn extension(dice: &mut Dice) -> Extension {
    let more = dice.below(3) as u8;
    match dice.below(9) {
        0 | 1 => Extension::HopByHop(more),
        2 | 3 => Extension::Routing(more),
        4 | 5 => Extension::Destination(more),
        6 | 7 => Extension::Authentication(more),
        _ => Extension::Fragment(if dice.once_in(2) { 0 } else { dice.below(0x1fff) as u16 }),
    }
}
