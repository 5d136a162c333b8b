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

/// Which bit of the map `PREFILTER` says whether an address may have a grant. Most of those that have none end there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PrefilterBit(u32);

impl PrefilterBit {
    /// How many bits there are: 128 KiB, which stay in a processor's second cache.
    pub const ALL: u32 = 1 << 20;

    /// The map's words of 64 bits.
    pub const WORDS: u32 = Self::ALL / u64::BITS;

    /// The bit of an address.
    #[inline(always)]
    pub const fn of(address: Address) -> Self {
        Self(address.place(Self::ALL.trailing_zeros()))
    }

    /// The word that it is in.
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self.0 / u64::BITS
    }

    /// Its place in that word.
    #[inline(always)]
    pub const fn mask(self) -> u64 {
        1 << (self.0 % u64::BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_of_neighbouring_addresses_are_spread() {
        let bits: std::collections::BTreeSet<_> = (0..10_000u32)
            .map(|host| PrefilterBit::of(Address::v4((10 << 24 | host).to_be_bytes())))
            .collect();
        assert!(bits.len() > 9_800, "{} bits for 10000 addresses", bits.len());
        assert!(bits.iter().all(|bit| bit.word() < PrefilterBit::WORDS));
        let networks: std::collections::BTreeSet<_> = (0..10_000u64)
            .map(|network| {
                PrefilterBit::of(Address::from_words([(0x2001_0db8_0000_0000 | network).to_be(), 0]))
            })
            .collect();
        assert!(networks.len() > 9_800, "{} bits for 10000 networks", networks.len());
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
