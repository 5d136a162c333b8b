//! What counts as one source where strangers are counted: an IPv4 address, or the /64 of an IPv6 address.

use std::net::{IpAddr, Ipv6Addr};

use pinning::Address;

/// The source that an address belongs to, by the address that begins it.
pub(crate) fn source(address: Address) -> IpAddr {
    match address.ip() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_counts_by_address_and_ipv6_by_network() {
        let of = |text: &str| source(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
