//! What is true of every address.

use std::net::IpAddr;

use pinning::Address;

/// Panics unless the address is in its one form: it reads back as itself, and no IPv4 hides in IPv6.
pub fn require_canonical(address: Address) {
    assert_eq!(Address::from(address.ip()), address);
    assert_eq!(address.to_string().parse(), Ok(address));
    if let IpAddr::V6(v6) = address.ip() {
        assert_eq!(v6.to_ipv4_mapped(), None, "{address} is IPv4");
    }
}
