//! Gates: ports of the node's own services that answer only where a session is; and the grants that open them.

use crate::{Address, Nanoseconds, Port, Protocol, SessionId};

/// A set of gates, by their numbers: those that a session opens, or those that stand before a port.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Gates(u64);

impl Gates {
    /// How many gates there can be.
    pub const MOST: usize = 64;

    /// None.
    pub const NONE: Self = Self(0);

    /// The same, and the gate of this number, below [`Self::MOST`].
    #[must_use]
    pub const fn with(self, number: usize) -> Self {
        Self(self.0 | 1 << number)
    }

    /// Both.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether there are none.
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether one of them is among `others`.
    #[inline(always)]
    pub const fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Whether all of `others` are among them.
    pub const fn has_all(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// A port before which gates stand: a key of `GATES`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GatedPort {
    port: Port,
    protocol: u8,
    _padding: u8,
}

const _: () = assert!(size_of::<GatedPort>() == 4);

impl GatedPort {
    /// A port of `protocol`.
    #[inline(always)]
    pub const fn new(protocol: Protocol, port: Port) -> Self {
        Self { port, protocol: protocol as u8, _padding: 0 }
    }

    /// Both in one number, for [`Self::from_number`].
    #[inline(always)]
    pub const fn number(self) -> u32 {
        (self.protocol as u32) << 16 | self.port.number() as u32
    }

    /// The port of what [`Self::number`] gave.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        Self { port: Port::new(number as u16), protocol: (number >> 16) as u8, _padding: 0 }
    }

    /// Its protocol and number; `None` if a newer agent knows more protocols than this one.
    pub const fn parts(self) -> Option<(Protocol, Port)> {
        match Protocol::from_number(self.protocol) {
            Some(protocol) => Some((protocol, self.port)),
            None => None,
        }
    }
}

/// What one source address may reach: the value of `GRANTS`.
///
/// It only says which sessions to ask. Whether these still open anything the kernel sees at each packet by the sessions
/// themselves, so no grant outlives them, whether the agent lives or not.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    knocked: Nanoseconds,
    sessions: [SessionId; Grant::SESSIONS],
}

const _: () = assert!(size_of::<Grant>() == 64);

impl Grant {
    /// How many sessions a grant names; of more at one address the agent names those that open the most, the longest.
    pub const SESSIONS: usize = 7;

    /// For how long a session without a connection opens gates after the last packet to one of its endpoints.
    const IDLE: Nanoseconds = 300_000_000_000;

    /// The grant by these sessions, the first [`Self::SESSIONS`] of them.
    pub fn of(sessions: &[SessionId]) -> Self {
        let mut grant = Self { knocked: 0, sessions: [SessionId::NONE; Self::SESSIONS] };
        for (slot, session) in grant.sessions.iter_mut().zip(sessions) {
            *slot = *session;
        }
        grant
    }

    /// The same, to whom the gates before login ports are open until then, for a knock.
    #[must_use]
    pub const fn knocked(self, until: Nanoseconds) -> Self {
        Self { knocked: until, ..self }
    }

    /// Until when a knock has opened the gates before login ports; 0: nobody has knocked.
    pub const fn knocked_until(&self) -> Nanoseconds {
        self.knocked
    }

    /// Whether a knock still counts.
    #[inline(always)]
    pub const fn is_knocked(&self, now: Nanoseconds) -> bool {
        now < self.knocked
    }

    /// Whether a session's endpoints were last used too long ago, if ever (0).
    #[inline(always)]
    pub const fn is_idle(last: Nanoseconds, now: Nanoseconds) -> bool {
        last == 0 || now.saturating_sub(last) >= Self::IDLE
    }

    /// The sessions; the first empty slot ends them.
    #[inline(always)]
    pub const fn sessions(&self) -> &[SessionId; Self::SESSIONS] {
        &self.sessions
    }
}

/// Which bits of the map `PREFILTER`, all in one word, say that an address may have a grant. Most addresses that have none
/// end there: it is a blocked Bloom filter (Putze, Sanders, Singler 2007), in which each address has three bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PrefilterBits {
    word: u32,
    mask: u64,
}

impl PrefilterBits {
    /// The map's words of 64 bits: 256 KiB, which stay in a processor's second cache.
    pub const WORDS: u32 = 1 << 15;

    /// The bits of an address.
    #[inline(always)]
    pub const fn of(address: Address) -> Self {
        const WORD: u32 = PrefilterBits::WORDS.trailing_zeros();
        const BIT: u32 = u64::BITS.trailing_zeros();

        let mixed = address.mixed();
        Self {
            word: (mixed >> (u64::BITS - WORD)) as u32,
            mask: one(mixed, WORD) | one(mixed, WORD + BIT) | one(mixed, WORD + 2 * BIT),
        }
    }

    /// The word that they are in.
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self.word
    }

    /// They, in that word.
    #[inline(always)]
    pub const fn mask(self) -> u64 {
        self.mask
    }

    /// Whether all of them are set in their word.
    #[inline(always)]
    pub const fn are_in(self, word: u64) -> bool {
        word & self.mask == self.mask
    }
}

/// The bit of a word that the six bits of a number say which follow the first `behind`.
#[inline(always)]
const fn one(mixed: u64, behind: u32) -> u64 {
    const BIT: u32 = u64::BITS.trailing_zeros();

    1 << (mixed >> (u64::BITS - BIT - behind) & (u64::BITS as u64 - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the addresses without a grant get past the bits of a hundred thousand that have one.
    fn passed(granted: impl Fn(u64) -> Address, others: impl Fn(u64) -> Address) -> usize {
        let mut words = vec![0; PrefilterBits::WORDS as usize];
        for bits in (0..100_000).map(|number| PrefilterBits::of(granted(number))) {
            words[bits.word() as usize] |= bits.mask();
        }
        let is_in = |bits: PrefilterBits| bits.are_in(words[bits.word() as usize]);
        assert!((0..100_000).all(|number| is_in(PrefilterBits::of(granted(number)))));
        (0..100_000).filter(|number| is_in(PrefilterBits::of(others(*number)))).count()
    }

    #[test]
    fn hardly_anybody_gets_past_the_bits_of_others_near_or_far() {
        let v4 = |first: u32, number: u64| Address::v4((first + number as u32).to_be_bytes());
        let v6 = |network: u64| Address::from_words([(0x2001_0db8_0000_0000 | network).to_be(), 0]);
        for passed in [
            passed(|number| v4(10 << 24, number), |number| v4(192 << 24, number * 7919)),
            passed(|number| v4(10 << 24, number), |number| v4(10 << 24 | 100_000, number)),
            passed(|number| v4(10 << 24, number * 256), |number| v4(10 << 24 | 1, number * 256)),
            passed(v6, |number| v6(number + 100_000)),
            passed(v6, |number| v4(10 << 24, number)),
        ] {
            assert!(passed < 1_000, "{passed} of 100000");
        }
    }

    #[test]
    fn gates_are_sets() {
        let (web, database) = (Gates::NONE.with(0), Gates::NONE.with(63));
        assert!(web.and(database).has_any(database) && web.and(database).has_all(web));
        assert!(!web.has_any(database) && !web.has_all(web.and(database)));
        assert!(Gates::NONE.is_empty() && !web.is_empty());
    }

    #[test]
    fn a_grant_names_its_first_sessions_and_a_knock_ends() {
        let sessions: Vec<_> = (1..=9).map(SessionId::new).collect();
        let grant = Grant::of(&sessions);
        assert_eq!(grant.sessions()[..], sessions[..Grant::SESSIONS]);
        assert!(!grant.is_knocked(0));
        assert!(grant.knocked(5).is_knocked(4) && !grant.knocked(5).is_knocked(5));
    }
}
