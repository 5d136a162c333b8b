//! Why a packet passes or is dropped.

/// What happens to a packet.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// It goes on, and other programs still have their say.
    Pass = 0,
    /// It ends here.
    Drop = 1,
}

impl Action {
    /// The word that listings use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
        }
    }
}

/// Why a packet passes or is dropped; each has a counter.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// Not an IP packet, or so broken that the stack will not take it for one.
    NotIp = 0,
    /// No protected port, or the node or session is off.
    NotProtected = 1,
    /// On its way through the node to somewhere else.
    NotLocal = 2,
    /// A fragment that is not the first; the first was judged.
    Fragment = 3,
    /// Of a session, and from where it is pinned to.
    Pinned = 4,
    /// Of no session: sshd has yet to decide, or has decided without us. Or a knock, of which the agent decides.
    LoginAttempt = 5,
    /// To a gated port from an address with a grant for it.
    Granted = 6,
    /// It would have been dropped, but its source is never dropped.
    NeverDrop = 7,
    /// It would have been dropped, but the mode is audit.
    Audit = 8,
    /// Of a session that is pinned elsewhere.
    AddressMismatch = 9,
    /// Of a session whose deadline has passed.
    SessionExpired = 10,
    /// Of a session that was cut, or of none that is known any more.
    SessionCut = 11,
    /// To a gated port from an address without a grant.
    NoGrant = 12,
    /// A new connection from a source under penalty, or a knock of one that knocks too often.
    Penalty = 13,
    /// A further subflow of a multipath connection, which no session vouches for.
    MptcpJoin = 14,
    /// To the node, but without readable ports; to a login port, but without readable TCP flags or options, or on loopback, which
    /// no device leads to; to where knocks are heard, but no knock.
    Malformed = 15,
}

impl Reason {
    /// All reasons in the order of their counters.
    pub const ALL: [Self; 16] = [
        Self::NotIp,
        Self::NotProtected,
        Self::NotLocal,
        Self::Fragment,
        Self::Pinned,
        Self::LoginAttempt,
        Self::Granted,
        Self::NeverDrop,
        Self::Audit,
        Self::AddressMismatch,
        Self::SessionExpired,
        Self::SessionCut,
        Self::NoGrant,
        Self::Penalty,
        Self::MptcpJoin,
        Self::Malformed,
    ];

    /// Room in `COUNTERS` for reasons to come; the counters of overruled reasons start here.
    pub const ROOM: u32 = 32;

    /// Entries of `COUNTERS`: the second half holds what the first half of earlier agents' maps has counted.
    pub const COUNTERS: u32 = 4 * Self::ROOM;

    /// What the reason does to a packet.
    #[inline(always)]
    pub const fn action(self) -> Action {
        match self {
            Self::NotIp
            | Self::NotProtected
            | Self::NotLocal
            | Self::Fragment
            | Self::Pinned
            | Self::LoginAttempt
            | Self::Granted
            | Self::NeverDrop
            | Self::Audit => Action::Pass,
            Self::AddressMismatch
            | Self::SessionExpired
            | Self::SessionCut
            | Self::NoGrant
            | Self::Penalty
            | Self::MptcpJoin
            | Self::Malformed => Action::Drop,
        }
    }

    /// The word that listings, events and metrics use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotIp => "not_ip",
            Self::NotProtected => "not_protected",
            Self::NotLocal => "not_local",
            Self::Fragment => "fragment",
            Self::Pinned => "pinned",
            Self::LoginAttempt => "login_attempt",
            Self::Granted => "granted",
            Self::NeverDrop => "never_drop",
            Self::Audit => "audit",
            Self::AddressMismatch => "address_mismatch",
            Self::SessionExpired => "session_expired",
            Self::SessionCut => "session_cut",
            Self::NoGrant => "no_grant",
            Self::Penalty => "penalty",
            Self::MptcpJoin => "mptcp_join",
            Self::Malformed => "malformed",
        }
    }

    /// The reason of a record's byte; `None` if there is no such reason.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        if (byte as usize) < Self::ALL.len() { Some(Self::ALL[byte as usize]) } else { None }
    }

    /// Its counter in `COUNTERS`.
    #[inline(always)]
    pub const fn counter(self) -> u32 {
        self as u32
    }

    /// The counter in `COUNTERS` of the packets that it would have dropped.
    #[inline(always)]
    pub const fn overruled_counter(self) -> u32 {
        Self::ROOM + self as u32
    }
}

const _: () = assert!(Reason::ALL.len() <= Reason::ROOM as usize);

/// Where `COUNTERS` holds what a counter had come to in the maps of earlier agents; no kernel program counts there.
pub const fn carried(counter: u32) -> u32 {
    Reason::COUNTERS / 2 + counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_by_its_byte() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            assert_eq!(Reason::from_byte(reason as u8), Some(reason));
        }
        assert_eq!(Reason::from_byte(16), None);
        assert_eq!(Reason::from_byte(255), None);
    }

    #[test]
    fn exactly_the_reasons_of_the_contract_drop() {
        let dropping: Vec<_> =
            Reason::ALL.into_iter().filter(|r| r.action() == Action::Drop).map(Reason::name).collect();
        assert_eq!(
            dropping,
            [
                "address_mismatch",
                "session_expired",
                "session_cut",
                "no_grant",
                "penalty",
                "mptcp_join",
                "malformed"
            ]
        );
    }
}
