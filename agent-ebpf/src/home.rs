//! What most packets are asked about of the node, in one place.

use crate::{Address, Node};

/// A copy of the answers that are asked for the most, which other maps have in full. What is zero says nothing.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Home {
    addresses: [Address; Self::ADDRESSES],
    spares_nobody: u64,
    node: Node,
    _reserved: [u64; 3],
}

const _: () = assert!(size_of::<Home>() == 128);

impl Home {
    const ADDRESSES: usize = 4;

    /// One that knows nothing.
    pub const fn unknown() -> Self {
        Self {
            addresses: [Address::new([0; 16]); _],
            spares_nobody: 0,
            node: Node::unknown(),
            _reserved: [0; 3],
        }
    }

    /// The same, with the first of the node's own addresses, of each family two.
    #[must_use]
    pub fn with_addresses<'a>(self, own: impl IntoIterator<Item = &'a Address> + Clone) -> Self {
        let of =
            |is_v4: bool| own.clone().into_iter().filter(move |it| it.is_v4() == is_v4 && !it.is_loopback());
        let mut home = Self { addresses: Self::unknown().addresses, ..self };
        let first = of(true).take(2).chain(of(false).take(2));
        home.addresses.iter_mut().zip(first).for_each(|(slot, address)| *slot = *address);
        home
    }

    /// The same, where nobody is in `NEVER_DROP`, or where somebody may be.
    #[must_use]
    pub const fn sparing_nobody(self, nobody: bool) -> Self {
        Self { spares_nobody: nobody as u64, ..self }
    }

    /// The same, where this holds for the node as a whole.
    #[must_use]
    pub const fn with_node(self, node: Node) -> Self {
        Self { node, ..self }
    }

    /// What holds for the node as a whole, if it is known here.
    #[inline(always)]
    pub fn node(&self) -> Option<&Node> {
        self.node.is_known().then_some(&self.node)
    }

    /// Whether an address is one of those that are known here to be the node's.
    #[inline(always)]
    pub fn has(&self, address: Address) -> bool {
        let is_it = |own: &Address| *own == address;
        // One that is no address at all is nobody's, though it fills the empty slots.
        address.words() != [0, 0] && self.addresses.iter().any(is_it)
    }

    /// Whether it is known here that nobody is in `NEVER_DROP`.
    #[inline(always)]
    pub const fn spares_nobody(&self) -> bool {
        self.spares_nobody != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mode;

    #[test]
    fn it_knows_two_addresses_of_each_family_and_nothing_that_is_not_so() {
        let address = |text: &str| Address::from(text.parse::<std::net::IpAddr>().unwrap());
        let own = ["127.0.0.1", "192.0.2.1", "192.0.2.2", "192.0.2.3", "::1", "2001:db8::1"].map(address);
        let home = Home::unknown().with_addresses(&own);
        let known: Vec<bool> = own.iter().map(|it| home.has(*it)).collect();
        assert_eq!(known, [false, true, true, false, false, true]);
        assert!(!home.has(address("::")) && !home.has(address("192.0.2.4")));
        assert!(!home.with_addresses(&own[..1]).has(own[1]), "it is no longer the node's");
        assert!(home.node().is_none() && home.with_node(Node::in_mode(Mode::Off)).node().is_some());
        assert!(!home.spares_nobody() && home.sparing_nobody(true).spares_nobody());
    }
}
