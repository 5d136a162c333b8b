//! What is in the kernel's prefilter, and for whom: no bit goes that another address needs.

use agent_ebpf::PrefilterBits;
use std::collections::HashMap;

/// The bits of all addresses with a grant.
#[derive(Default)]
pub(super) struct Prefilter {
    /// Of each word those of every address that has its bits there.
    words: HashMap<u32, Vec<u64>>,
}

impl Prefilter {
    /// Adds an address's bits; what their word is from now on.
    pub(super) fn add(&mut self, bits: PrefilterBits) -> u64 {
        let masks = self.words.entry(bits.word()).or_default();
        masks.push(bits.mask());
        all(masks)
    }

    /// Takes an address's bits away, but for those of others; what their word is from now on.
    pub(super) fn remove(&mut self, bits: PrefilterBits) -> u64 {
        let Some(masks) = self.words.get_mut(&bits.word()) else { return 0 };
        if let Some(place) = masks.iter().position(|mask| *mask == bits.mask()) {
            masks.swap_remove(place);
        }
        let left = all(masks);
        if masks.is_empty() {
            self.words.remove(&bits.word());
        }
        left
    }
}

fn all(masks: &[u64]) -> u64 {
    masks.iter().fold(0, |all, mask| all | mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_ebpf::Address;

    #[test]
    fn bits_of_others_stay() {
        let bits = |host: u32| PrefilterBits::of(Address::v4(host.to_be_bytes()));
        let one = bits(1);
        let other =
            (2..).map(bits).find(|it| it.word() == one.word() && it.mask() & one.mask() != 0).unwrap();
        let mut prefilter = Prefilter::default();
        assert_eq!(prefilter.add(one), one.mask());
        assert_eq!(prefilter.add(other), one.mask() | other.mask());
        assert_eq!(prefilter.add(one), one.mask() | other.mask());
        assert_eq!(prefilter.remove(one), one.mask() | other.mask());
        assert_eq!(prefilter.remove(one), other.mask());
        assert_eq!(prefilter.remove(other), 0);
        assert_eq!(prefilter.remove(other), 0);
    }
}
