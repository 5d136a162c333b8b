//! The observed address: the client's IP as the system can vouch for it, and how it was observed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An IP address in its one canonical form: an IPv4-mapped IPv6 address is IPv4; there is no zone and no port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(IpAddr);

impl Address {
    /// The address as the standard library's type, already canonical.
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// Sixteen bytes in network order, IPv4 as `::ffff:a.b.c.d`: the form of the kernel maps.
    pub fn mapped(self) -> [u8; 16] {
        match self.0 {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self(ip.to_canonical())
    }
}

/// The address of a socket's peer; its port and zone are dropped.
impl From<SocketAddr> for Address {
    fn from(socket: SocketAddr) -> Self {
        Self::from(socket.ip())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A text that is not an IP address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IP address")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    /// Reads a bare address; a zone (`%eth0`) behind an IPv6 address is dropped.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bare = match text.split_once('%') {
            Some((address, zone)) if !zone.is_empty() && address.contains(':') => address,
            _ => text,
        };
        let not_an_address = |_| AddressError(text.chars().take(64).collect());
        bare.parse::<IpAddr>().map(Self::from).map_err(not_an_address)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How an address was observed, and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum How {
    /// The socket's own peer.
    Direct,
    /// A PROXY protocol v1 header from a trusted hop.
    ProxyV1 {
        /// The hop that sent the header.
        via: Address,
    },
    /// A PROXY protocol v2 header from a trusted hop.
    ProxyV2 {
        /// The hop that sent the header.
        via: Address,
    },
    /// `X-Forwarded-For` from a trusted hop.
    XForwardedFor {
        /// The hop that sent the request.
        via: Address,
    },
    /// A trusted bastion's signed statement.
    Relay {
        /// The bastion's configured name.
        name: String,
    },
}

impl fmt::Display for How {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => out.write_str("direct"),
            Self::ProxyV1 { via } => write!(out, "proxy-v1 via {via}"),
            Self::ProxyV2 { via } => write!(out, "proxy-v2 via {via}"),
            Self::XForwardedFor { via } => write!(out, "x-forwarded-for via {via}"),
            Self::Relay { name } => write!(out, "relay {name}"),
        }
    }
}

/// A text that names no way of observing an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no way of observing an address")]
pub struct HowError(String);

impl FromStr for How {
    type Err = HowError;

    /// Reads what [`How`] displays.
    fn from_str(text: &str) -> Result<Self, HowError> {
        let unknown = || HowError(text.chars().take(64).collect());
        let hop = |rest: &str| rest.parse::<Address>().ok().ok_or_else(unknown);
        match text.split_once(' ') {
            None if text == "direct" => Ok(Self::Direct),
            Some(("relay", name)) if !name.is_empty() => Ok(Self::Relay { name: name.to_owned() }),
            Some((kind, rest)) => match (kind, rest.strip_prefix("via ")) {
                ("proxy-v1", Some(via)) => Ok(Self::ProxyV1 { via: hop(via)? }),
                ("proxy-v2", Some(via)) => Ok(Self::ProxyV2 { via: hop(via)? }),
                ("x-forwarded-for", Some(via)) => Ok(Self::XForwardedFor { via: hop(via)? }),
                _ => Err(unknown()),
            },
            None => Err(unknown()),
        }
    }
}

impl Serialize for How {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for How {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An observed address: where the client is, and how that is known. An address nobody vouches for has no value of
/// this type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Observed {
    /// The client's address.
    pub address: Address,
    /// How it was observed.
    pub how: How,
}

impl Observed {
    /// The address of the socket's own peer.
    pub fn direct(address: impl Into<Address>) -> Self {
        Self { address: address.into(), how: How::Direct }
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.address, self.how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let mapped: Address = "::ffff:198.51.111.1".parse().unwrap();
        assert_eq!(mapped, "198.51.111.1".parse().unwrap());
        assert_eq!(mapped.to_string(), "198.51.111.1");
        assert!(mapped.ip().is_ipv4());
    }

    #[test]
    fn zones_and_ports_are_dropped() {
        let linked: Address = "fe80::1%eth0".parse().unwrap();
        assert_eq!(linked.to_string(), "fe80::1");
        let socket: SocketAddr = "[fe80::1%3]:22".parse().unwrap();
        assert_eq!(Address::from(socket), linked);
    }

    #[test]
    fn what_is_not_a_bare_address_is_an_error() {
        for text in [
            "",
            "localhost",
            "10.0.0.1:22",
            "[::1]",
            "10.0.0.1/32",
            "010.0.0.1",
            "1.2.3.4%eth0",
            " ::1",
            "::1%",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_kernel_form_maps_ipv4() {
        let address: Address = "198.51.111.1".parse().unwrap();
        assert_eq!(address.mapped(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 111, 1]);
        let address: Address = "2001:db8::1".parse().unwrap();
        assert_eq!(address.mapped()[..4], [0x20, 0x01, 0x0d, 0xb8]);
    }

    #[test]
    fn every_way_of_observing_reads_back() {
        let via = "10.0.0.1".parse().unwrap();
        for (how, text) in [
            (How::Direct, "direct"),
            (How::ProxyV1 { via }, "proxy-v1 via 10.0.0.1"),
            (How::ProxyV2 { via }, "proxy-v2 via 10.0.0.1"),
            (How::XForwardedFor { via }, "x-forwarded-for via 10.0.0.1"),
            (How::Relay { name: "bastion 1".into() }, "relay bastion 1"),
        ] {
            assert_eq!(how.to_string(), text);
            assert_eq!(text.parse::<How>().unwrap(), how);
            assert_eq!(serde_json::from_str::<How>(&serde_json::to_string(&how).unwrap()).unwrap(), how);
        }
        for text in ["", "relay ", "proxy-v1", "proxy-v1 10.0.0.1", "proxy-v3 via 10.0.0.1", "direct x"] {
            assert!(text.parse::<How>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_observed_address_says_how() {
        let observed = Observed::direct("::ffff:192.0.2.1".parse::<IpAddr>().unwrap());
        assert_eq!(observed.to_string(), "192.0.2.1 (direct)");
        assert_eq!(serde_json::to_string(&observed).unwrap(), r#"{"address":"192.0.2.1","how":"direct"}"#);
    }
}
