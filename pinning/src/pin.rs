//! Pinned addresses: a certificate's `source-address` list, read exactly as OpenSSH reads it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Address;

/// The most entries a `source-address` list may have to be read at all.
const MAX_ENTRIES: usize = 1024;
/// The most entries a list may have when a role demands a pin: a pin is a place, and many single addresses are as wide
/// as a network.
const MAX_ENTRIES_OF_A_REQUIRED_PIN: usize = 64;
/// OpenSSH's own limit for one entry: `INET6_ADDRSTRLEN + 3` (`addr_match_cidr_list` in addrmatch.c).
const MAX_ENTRY_LEN: usize = 49;

/// A network as `source-address` names it: an address and a prefix length, no host bits set.
///
/// It is compared within its own family only. `::ffff:192.0.2.1/128` is an IPv6 network; IPv4 clients, whose
/// [`Address`] is canonical, are never inside it, and neither are they inside `::/0`. sshd behaves the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr(IpNet);

impl Cidr {
    /// The network of one address alone.
    pub fn single(address: Address) -> Self {
        Self(IpNet::from(address.ip()))
    }

    /// Whether the address is inside the network.
    pub fn contains(&self, address: Address) -> bool {
        self.0.contains(&address.ip())
    }

    /// The network as `ipnet`'s type.
    pub fn net(&self) -> IpNet {
        self.0
    }

    /// The length of the prefix in bits: at most 32 for IPv4, 128 for IPv6.
    pub fn prefix_len(&self) -> u8 {
        self.0.prefix_len()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Why a text is not a network in the sense of `source-address`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Nothing between two commas, or nothing at all.
    #[error("an entry is empty")]
    Empty,
    /// Neither an address nor an address with a prefix length.
    #[error("{0:?} is not an address or network")]
    NotANetwork(String),
    /// `10.0.0.1/8`: bits behind the prefix are set.
    #[error("{0:?} has bits set behind its prefix length")]
    HostBits(String),
}

impl FromStr for Cidr {
    type Err = CidrError;

    /// Reads `address` or `address/length`. Unlike OpenSSH, whose resolver takes `010.0.0.1` for octal, an IPv4 address
    /// with leading zeros is an error.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        if text.is_empty() {
            return Err(CidrError::Empty);
        }
        let shown = || text.chars().take(64).collect::<String>();
        let not_a_network = || CidrError::NotANetwork(shown());
        if text.len() > MAX_ENTRY_LEN {
            return Err(not_a_network());
        }
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let ip = address.parse::<IpAddr>().ok().ok_or_else(not_a_network)?;
        let net = match length {
            None => Some(IpNet::from(ip)),
            // `parse` alone would take a sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().and_then(|bits| IpNet::new(ip, bits).ok())
            }
            Some(_) => None,
        };
        let net = net.ok_or_else(not_a_network)?;
        if net.trunc() == net { Ok(Self(net)) } else { Err(CidrError::HostBits(shown())) }
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a `source-address` list is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// One of its entries is.
    #[error("source-address: {0}")]
    Entry(#[from] CidrError),
    /// It has more entries than anybody means.
    #[error("source-address has more than {MAX_ENTRIES} entries")]
    TooMany,
}

/// The pinned addresses of a certificate: at least one network, in the certificate's order. Serialises as a list of
/// CIDR texts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pins(Vec<Cidr>);

impl Pins {
    /// Pins to one address alone.
    pub fn single(address: Address) -> Self {
        Self(vec![Cidr::single(address)])
    }

    /// Whether the address is inside one of the networks.
    pub fn contains(&self, address: Address) -> bool {
        self.0.iter().any(|cidr| cidr.contains(address))
    }

    /// The networks, never empty.
    pub fn networks(&self) -> &[Cidr] {
        &self.0
    }

    /// The same networks, of which the narrowest that contains the address comes first; the others keep their order.
    /// So a reader with room for a few networks never leaves out the one in use.
    #[must_use]
    pub fn led_by(&self, address: Address) -> Self {
        let holds = self.0.iter().enumerate().filter(|(_, cidr)| cidr.contains(address));
        let Some((narrowest, _)) =
            holds.max_by_key(|(index, cidr)| (cidr.prefix_len(), std::cmp::Reverse(*index)))
        else {
            return self.clone();
        };
        let mut networks = self.0.clone();
        networks[..=narrowest].rotate_right(1);
        Self(networks)
    }

    /// What makes these pins wider than a role allows, if anything does. Every entry counts by itself: beside
    /// `0.0.0.0/0`, a /32 narrows nothing. A list of more than 64 entries is too wide whatever they are.
    pub fn exceeding(&self, width: PinWidth) -> Option<String> {
        if self.0.len() > MAX_ENTRIES_OF_A_REQUIRED_PIN {
            let entries = self.0.len();
            return Some(format!("{entries} networks, more than {MAX_ENTRIES_OF_A_REQUIRED_PIN}"));
        }
        self.0.iter().find(|cidr| !width.admits(cidr)).map(Cidr::to_string)
    }
}

impl FromStr for Pins {
    type Err = PinError;

    /// Reads a `source-address` list: entries between commas, no blanks, none empty.
    fn from_str(text: &str) -> Result<Self, PinError> {
        if text.split(',').nth(MAX_ENTRIES).is_some() {
            return Err(PinError::TooMany);
        }
        Ok(Self(text.split(',').map(str::parse).collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for Pins {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, cidr) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(out, "{comma}{cidr}")?;
        }
        Ok(())
    }
}

impl Serialize for Pins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let networks = Vec::<Cidr>::deserialize(deserializer)?;
        if networks.is_empty() || networks.len() > MAX_ENTRIES {
            return Err(serde::de::Error::invalid_length(networks.len(), &"1 to 1024 networks"));
        }
        Ok(Self(networks))
    }
}

/// How wide a demanded pin may be: the shortest prefix length allowed, per family. The default is one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct PinWidth {
    /// Shortest IPv4 prefix, 0 to 32.
    pub ipv4: u8,
    /// Shortest IPv6 prefix, 0 to 128.
    pub ipv6: u8,
}

impl Default for PinWidth {
    fn default() -> Self {
        Self { ipv4: 32, ipv6: 128 }
    }
}

impl PinWidth {
    fn admits(self, cidr: &Cidr) -> bool {
        match cidr.net() {
            IpNet::V4(net) => net.prefix_len() >= self.ipv4,
            IpNet::V6(net) => net.prefix_len() >= self.ipv6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(text: &str) -> Pins {
        text.parse().unwrap()
    }

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn a_list_reads_as_openssh_reads_it() {
        let list = pins("198.51.111.1,10.0.0.0/8,2001:db8::/32,::1");
        assert_eq!(list.to_string(), "198.51.111.1/32,10.0.0.0/8,2001:db8::/32,::1/128");
        assert!(list.contains(address("198.51.111.1")) && list.contains(address("10.255.0.1")));
        assert!(list.contains(address("2001:db8:1::1")) && list.contains(address("::1")));
        assert!(!list.contains(address("198.51.111.2")) && !list.contains(address("::2")));
    }

    #[test]
    fn what_openssh_rejects_is_an_error() {
        for text in [
            "",
            ",",
            "10.0.0.1,",
            ",10.0.0.1",
            "10.0.0.1,,10.0.0.2",
            "10.0.0.1, 10.0.0.2",
            " 10.0.0.1",
            "!10.0.0.1",
            "host",
            "10.0.0.1/8",
            "2001:db8::1/32",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "10.0.0.0/255.0.0.0",
            "*",
            "10.*",
            "fe80::1%eth0",
            "[::1]",
            "10.0.0.1:22",
            "10.1",
            "010.0.0.1",
            "10.0.0.0/00000000000000000000000000000000000000000000000008",
        ] {
            assert!(text.parse::<Pins>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_longest_spelling_of_a_network_is_read() {
        let longest = "0000:0000:0000:0000:0000:ffff:255.255.255.255/128";
        assert_eq!(longest.len(), MAX_ENTRY_LEN);
        assert_eq!(pins(longest).to_string(), "::ffff:255.255.255.255/128");
    }

    #[test]
    fn errors_name_the_entry() {
        let error = "10.0.0.1,10.0.0.1/8".parse::<Pins>().unwrap_err();
        assert_eq!(error.to_string(), "source-address: \"10.0.0.1/8\" has bits set behind its prefix length");
        let error = "10.0.0.1,".parse::<Pins>().unwrap_err();
        assert_eq!(error.to_string(), "source-address: an entry is empty");
    }

    #[test]
    fn families_never_match_each_other() {
        assert!(!pins("::ffff:192.0.2.1/128").contains(address("192.0.2.1")));
        assert!(!pins("::ffff:0:0/96").contains(address("::ffff:192.0.2.1")));
        assert!(!pins("::/0").contains(address("192.0.2.1")));
        assert!(!pins("0.0.0.0/0").contains(address("2001:db8::1")));
    }

    #[test]
    fn a_list_has_at_most_1024_entries() {
        let list = |count| vec!["10.0.0.1"; count].join(",");
        assert!(list(1024).parse::<Pins>().is_ok());
        assert_eq!(list(1025).parse::<Pins>(), Err(PinError::TooMany));
    }

    #[test]
    fn every_entry_must_be_within_the_width() {
        let one = PinWidth::default();
        assert_eq!(pins("198.51.111.1,2001:db8::1").exceeding(one), None);
        assert_eq!(pins("198.51.111.1,0.0.0.0/0").exceeding(one).unwrap(), "0.0.0.0/0");
        assert_eq!(pins("198.51.111.0/31").exceeding(one).unwrap(), "198.51.111.0/31");
        assert_eq!(pins("2001:db8::/127").exceeding(one).unwrap(), "2001:db8::/127");
        let privacy = PinWidth { ipv6: 64, ..one };
        assert_eq!(pins("2001:db8::/64").exceeding(privacy), None);
        assert_eq!(pins("2001:db8::/63").exceeding(privacy).unwrap(), "2001:db8::/63");
        assert_eq!(pins("10.0.0.0/31").exceeding(privacy).unwrap(), "10.0.0.0/31");
    }

    #[test]
    fn a_list_of_very_many_single_addresses_is_too_wide() {
        let list = |count: u8| (0..count).map(|last| format!("10.0.0.{last}")).collect::<Vec<_>>().join(",");
        assert_eq!(pins(&list(64)).exceeding(PinWidth::default()), None);
        assert_eq!(pins(&list(65)).exceeding(PinWidth::default()).unwrap(), "65 networks, more than 64");
    }

    #[test]
    fn the_network_in_use_leads() {
        let list = pins("10.0.0.0/8,2001:db8::1,10.1.0.0/16,192.0.2.1");
        assert_eq!(
            list.led_by(address("10.1.2.3")).to_string(),
            "10.1.0.0/16,10.0.0.0/8,2001:db8::1/128,192.0.2.1/32"
        );
        assert_eq!(list.led_by(address("10.2.0.1")), list);
        assert_eq!(list.led_by(address("203.0.113.1")), list);
    }

    #[test]
    fn pins_serialise_as_a_list() {
        let json = serde_json::to_string(&pins("198.51.111.1,::1")).unwrap();
        assert_eq!(json, r#"["198.51.111.1/32","::1/128"]"#);
        assert_eq!(serde_json::from_str::<Pins>(&json).unwrap(), pins("198.51.111.1,::1"));
        assert!(serde_json::from_str::<Pins>("[]").is_err());
        let list = |count| serde_json::to_string(&vec!["10.0.0.1"; count]).unwrap();
        assert!(serde_json::from_str::<Pins>(&list(1024)).is_ok());
        assert!(serde_json::from_str::<Pins>(&list(1025)).is_err());
    }
}
