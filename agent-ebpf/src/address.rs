//! Addresses and networks as the maps hold them: 16 bytes, IPv4 as `::ffff:a.b.c.d`.

use core::cmp::Ordering;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP address in network order, always canonical: an IPv4 address is its IPv4-mapped form.
// Two words rather than 16 bytes: the kernel programs hold addresses in registers, and have few.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address([u64; 2]);

const _: () = assert!(size_of::<Address>() == 16);

impl Address {
    /// The unspecified address, which nobody sends from (RFC 4291, 2.5.2).
    pub const NOWHERE: Self = Self([0; 2]);

    /// The address of these 16 octets; an IPv4 address must come in its mapped form.
    #[inline(always)]
    pub const fn new([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]: [u8; 16]) -> Self {
        Self([u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p])])
    }

    /// The mapped form of an IPv4 address.
    #[inline(always)]
    pub const fn v4(octets: [u8; 4]) -> Self {
        let [a, b, c, d] = octets;
        Self([0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d])])
    }

    /// The 16 octets in network order.
    #[inline(always)]
    pub const fn octets(self) -> [u8; 16] {
        (((self.high() as u128) << 64) | self.low() as u128).to_be_bytes()
    }

    /// The address as two words, to be put together again by [`Self::from_words`].
    #[inline(always)]
    pub const fn words(self) -> [u64; 2] {
        self.0
    }

    /// The address of what [`Self::words`] gave.
    #[inline(always)]
    pub const fn from_words(words: [u64; 2]) -> Self {
        Self(words)
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.high() == 0 && (self.low() >> 32) == 0xffff
    }

    /// Whether it is one of the node's own by definition: `127.0.0.0/8`, `::1`.
    #[inline(always)]
    pub const fn is_loopback(self) -> bool {
        self.is_v4() && (self.low() >> 24) & 0xff == 127 || self.high() == 0 && self.low() == 1
    }

    /// The address as IPv4 or IPv6.
    pub fn ip(self) -> IpAddr {
        Ipv6Addr::from(self.octets()).to_canonical()
    }

    /// Whom a penalty on this address hits: an IPv4 address itself, an IPv6 address's /64.
    #[inline(always)]
    pub const fn neighbourhood(self) -> Self {
        if self.is_v4() { self } else { Self([self.0[0], 0]) }
    }

    /// One of 2^`bits` places, at most 2^32, over which addresses are spread evenly.
    #[inline(always)]
    pub const fn place(self, bits: u32) -> u32 {
        (self.mixed() >> (u64::BITS - bits)) as u32
    }

    /// A number whose upper half depends on all bits of the address.
    #[inline(always)]
    pub(crate) const fn mixed(self) -> u64 {
        // Knuth's multiplicative hashing (The Art of Computer Programming 3, 6.4): a bit depends on those below it.
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let both = self.0[0].wrapping_mul(GOLDEN) ^ self.0[1];
        (both ^ both >> 32).wrapping_mul(GOLDEN)
    }

    /// Another address for each, as a secret number has it: so that nobody knows whose [`Self::place`] is whose.
    #[inline(always)]
    #[must_use]
    pub const fn salted(self, salt: u64) -> Self {
        Self([self.0[0] ^ salt, self.0[1]])
    }

    #[inline(always)]
    const fn high(self) -> u64 {
        u64::from_be(self.0[0])
    }

    #[inline(always)]
    const fn low(self) -> u64 {
        u64::from_be(self.0[1])
    }

    #[inline(always)]
    const fn from_halves(high: u64, low: u64) -> Self {
        Self([high.to_be(), low.to_be()])
    }
}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Address {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.high(), self.low()).cmp(&(other.high(), other.low()))
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Self::v4(address.octets())
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::v4(address.octets()),
            IpAddr::V6(address) => Self::new(address.octets()),
        }
    }
}

impl core::fmt::Debug for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&self.ip(), f)
    }
}

impl core::fmt::Display for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&self.ip(), f)
    }
}

/// A CIDR network: an address and how many of its leading bits count.
///
/// Of an IPv4 network the 96 bits of the mapping count too, so `10.0.0.0/8` has length 104 here, and no IPv6
/// network contains an IPv4 address unless it was meant to.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network {
    address: Address,
    length: u8,
    _padding: [u8; 7],
}

const _: () = assert!(size_of::<Network>() == 24);

impl Network {
    /// The network of `address` with a prefix of its own family: up to 32 for IPv4, up to 128 for IPv6; longer
    /// prefixes count as the longest. Host bits are cleared.
    pub const fn new(address: Address, prefix: u8) -> Self {
        let length = if address.is_v4() {
            96 + if prefix < 32 { prefix } else { 32 }
        } else if prefix < 128 {
            prefix
        } else {
            128
        };
        let high = address.high() & mask(length);
        let low = address.low() & mask(length.saturating_sub(64));
        Self { address: Address::from_halves(high, low), length, _padding: [0; 7] }
    }

    /// The network that holds nothing but `address`.
    pub const fn host(address: Address) -> Self {
        Self::new(address, 128)
    }

    /// Its first address.
    pub const fn address(self) -> Address {
        self.address
    }

    /// Its prefix length in its own family: `/32` of IPv4 is 32.
    pub const fn prefix(self) -> u8 {
        if self.address.is_v4() && self.length >= 96 { self.length - 96 } else { self.length }
    }

    /// How many of the 128 bits count: the prefix length of a longest-prefix-match key.
    pub const fn bits(self) -> u32 {
        self.length as u32
    }

    /// Whether `address` lies inside.
    #[inline(always)]
    pub const fn contains(&self, address: Address) -> bool {
        let high = (self.address.high() ^ address.high()) & mask(self.length);
        let low = (self.address.low() ^ address.low()) & mask(self.length.saturating_sub(64));
        high | low == 0
    }
}

/// The top `length` bits of 64; all of them from 64 on.
#[inline(always)]
const fn mask(length: u8) -> u64 {
    match length {
        0 => 0,
        1..64 => u64::MAX << (64 - length),
        64.. => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn an_ipv4_address_and_its_mapped_form_are_the_same() {
        assert_eq!(address("192.0.2.1"), address("::ffff:192.0.2.1"));
        assert_eq!(address("::ffff:192.0.2.1").ip(), "192.0.2.1".parse::<IpAddr>().unwrap());
        assert!(address("192.0.2.1").is_v4());
        assert!(!address("::fffe:192.0.2.1").is_v4());
        assert!(!address("1::ffff:192.0.2.1").is_v4());
    }

    #[test]
    fn a_network_holds_its_addresses_up_to_the_border_of_its_prefix() {
        for (network, prefix, inside, outside) in [
            ("192.0.2.0", 24, "192.0.2.255", "192.0.3.0"),
            ("192.0.2.1", 32, "192.0.2.1", "192.0.2.0"),
            ("0.0.0.0", 0, "255.255.255.255", "::1"),
            ("2001:db8::", 64, "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::"),
            ("2001:db8::", 63, "2001:db8:0:1::", "2001:db8:0:2::"),
            ("2001:db8::", 65, "2001:db8::7fff:ffff:ffff:ffff", "2001:db8::8000:0:0:0"),
            ("2001:db8::1", 128, "2001:db8::1", "2001:db8::"),
            ("8000::", 1, "ffff::", "7fff::"),
        ] {
            let network = Network::new(address(network), prefix);
            assert!(network.contains(address(inside)), "{network:?} {inside}");
            assert!(!network.contains(address(outside)), "{network:?} {outside}");
            assert_eq!(network.prefix(), prefix);
        }
    }

    #[test]
    fn the_whole_of_ipv6_holds_everything() {
        let all = Network::new(address("::"), 0);
        assert!(all.contains(address("ffff::")) && all.contains(address("1.2.3.4")));
    }

    #[test]
    fn host_bits_and_excess_length_do_not_matter() {
        assert_eq!(Network::new(address("192.0.2.77"), 24), Network::new(address("192.0.2.0"), 24));
        assert_eq!(Network::new(address("192.0.2.77"), 200), Network::host(address("192.0.2.77")));
        assert_eq!(Network::new(address("2001:db8::ff"), 120), Network::new(address("2001:db8::"), 120));
    }

    #[test]
    fn the_neighbourhood_of_an_ipv6_address_is_its_64_and_of_an_ipv4_address_itself() {
        assert_eq!(address("2001:db8:1:2:3:4:5:6").neighbourhood(), address("2001:db8:1:2::"));
        assert_eq!(address("192.0.2.1").neighbourhood(), address("192.0.2.1"));
    }
}
