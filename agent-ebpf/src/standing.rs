//! How a source stands to a session.

use crate::{Address, HeldEndpoints, Mode, Reason, SessionId, SessionState, Tables};

/// What a session says of a source, before anybody asks what it is that the source has sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// `Pinned`, or why not: the session is over, cut or not there, or pinned elsewhere.
    pub reason: Reason,
    /// The session's own mode.
    pub mode: Mode,
    /// Which of the session's endpoints are held to its pins.
    pub endpoints: HeldEndpoints,
}

impl Standing {
    /// How `source` stands to a session. A session that is missing was cut.
    #[inline(always)]
    pub fn of(id: SessionId, source: Address, tables: &impl Tables) -> Self {
        let Some(session) = tables.session(id) else {
            return Self { reason: Reason::SessionCut, mode: Mode::Enforce, endpoints: HeldEndpoints::All };
        };
        let reason = if session.state() == SessionState::Cut {
            Reason::SessionCut
        } else if session.is_over(|| tables.now()) {
            Reason::SessionExpired
        } else if session.admits(source) {
            Reason::Pinned
        } else {
            Reason::AddressMismatch
        };
        Self { reason, mode: session.mode(), endpoints: session.endpoints() }
    }

    /// The same as a number.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.reason as u32 | (self.mode as u32) << 8 | (self.endpoints as u32) << 16
    }

    /// What has this [`Standing::number`]; of numbers that nothing has, the strictest.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        const PINNED: u8 = Reason::Pinned as u8;
        const EXPIRED: u8 = Reason::SessionExpired as u8;
        const CUT: u8 = Reason::SessionCut as u8;

        let reason = match number as u8 {
            PINNED => Reason::Pinned,
            EXPIRED => Reason::SessionExpired,
            CUT => Reason::SessionCut,
            _ => Reason::AddressMismatch,
        };
        let mode = Mode::from_byte((number >> 8) as u8);
        Self { reason, mode, endpoints: HeldEndpoints::from_byte((number >> 16) as u8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_is_the_same_after_it_was_a_number() {
        let reasons = [Reason::Pinned, Reason::AddressMismatch, Reason::SessionExpired, Reason::SessionCut];
        for reason in reasons {
            for mode in [Mode::Off, Mode::Audit, Mode::Enforce] {
                for endpoints in [HeldEndpoints::None, HeldEndpoints::Udp, HeldEndpoints::All] {
                    let standing = Standing { reason, mode, endpoints };
                    assert_eq!(Standing::from_number(standing.number()), standing);
                }
            }
        }
        assert_eq!(Standing::from_number(u32::MAX).reason, Reason::AddressMismatch);
        assert_eq!(Standing::from_number(u32::MAX).mode, Mode::Enforce);
    }
}
