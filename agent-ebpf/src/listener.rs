//! Where the listeners of the node's relay are kept, to which the connections of trusted relays are led.

use crate::Address;

/// How many there are: one for each family, since a socket of IPv6 that has an address takes nothing of IPv4 (ipv6(7)).
pub const RELAY_LISTENERS: u32 = 2;

/// The place of the one for connections to this address.
#[must_use]
#[inline(always)]
pub const fn relay_slot(local: Address) -> u32 {
    if local.is_v4() { 0 } else { 1 }
}
